"""Hostile requests by the thousand to a running ``sagan studio``: what is left of it.

    python -m benchmarks.studio_hostile --requests 10000

The requests are those of ``tests/test_studio_hostile.py``, with other seeds.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
import studio_server
import test_studio_hostile


def main() -> None:
    """Attacks, and prints the count of every status, the memory and what stands on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=10_000)
    options = parser.parse_args()
    statuses: Counter[str] = Counter()
    with studio_server.serving() as server:
        picture = server.draw()
        test_studio_hostile.attack(server, 100, seed=1)
        before = most = server.memory()
        for seed in range(options.requests // 500):
            for answer in test_studio_hostile.attack(server, 500, seed=100 + seed):
                status = answer.split(b" ", 2)[1].decode() if answer else "no answer"
                statuses[status] += 1
            most = max(most, server.memory())
        is_same = server.draw() == picture
        code, errors = server.end()
    print(*(f"{status}: {count:,}" for status, count in sorted(statuses.items())), sep=", ")
    print(f"memory {before / 2**20:.0f} MiB before, {most / 2**20:.0f} MiB at most")
    print(f"the same picture afterwards: {is_same}; exit code {code}; stderr: {errors!r}")


if __name__ == "__main__":
    main()
