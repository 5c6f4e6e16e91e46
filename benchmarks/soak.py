"""Runs that are killed, and others that meet faults, until they are finished: what is left?

    python -m benchmarks.soak --runs 100
    python -m benchmarks.soak --faults --minutes 60

Each run is started with the same command again and again. In the end it must have what an
undisturbed run has: the same tensors to the bit, each line of the log once, the same samples, the
evaluations that were due, and no drafts. Deaths come at random moments and at chosen calls: inside
a checkpoint, a sample, a packing, an evaluation, a line of the log, the next start. Faults are a
full disk, a folder that can only be read, signals, a cache that is gone, a log that is cut at a
byte, an evaluation that raises, a checkpoint with a flipped bit.
"""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.soak_child import DEATHS, FAULTS, Blow, strike
from benchmarks.soak_differences import differences
from sagan.runs.folder import checkpoint_files

STEPS = 8
SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "data": {"resolution": 32, "horizontal_flip": True, "augment": ["translation"]},
    "generator": {"base_channels": 8, "latent_dim": 16, "attention": [16]},
    "discriminator": {"base_channels": 8, "attention": [16]},
    "loss": {"lecam": 0.1, "r1": 0.1, "penalty_interval": 4},
    "train": {
        "steps": STEPS,
        "batch_size": 8,
        "ema_decay": 0.5,
        "precision": "float32",
        "log_interval": 1,
        "sample_interval": 4,
        "checkpoint_interval": 2,
        "keep_checkpoints": 2,
    },
    "evaluation": {"interval": 4, "samples": 16, "metrics": ["fd"], "time_share": 1.0},
}
PICTURES = 48
_MOST_STARTS = 12
_LONGEST = 300.0
_KILLED = -signal.SIGKILL
_STOPPED = 75
_SIGNALS = {"TERM": signal.SIGTERM, "HUP": signal.SIGHUP, "INT": signal.SIGINT}
_OUTSIDE = ("cache removed", "log cut", "flipped bit")
_CODES = {
    **dict.fromkeys(("small disk", "full disk", "read-only folder"), (0, 1)),
    **dict.fromkeys(_SIGNALS, (0, _STOPPED, *(-number for number in _SIGNALS.values()), 130)),
    "kill": (0, _KILLED),
}
"""With which codes a start may end, by what befell it; 0 where it says nothing."""


@dataclass
class Story:
    """What befell one run, and what is wrong with it in the end."""

    number: int
    blows: list[tuple[str, int]] = field(default_factory=list)
    """What was to befall each start, and the code with which it ended."""
    wrong: list[str] = field(default_factory=list)

    def told(self) -> str:
        """In one line."""
        blows = ", ".join(f"{blow}: {code}" for blow, code in self.blows)
        return f"run {self.number} ({blows}): {'; '.join(self.wrong) or 'to the bit'}"


class Workshop:
    """Where runs are made.

    Args:
        folder: Empty.

    Attributes:
        seconds: What an undisturbed run takes.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._settings = folder / "settings.toml"
        self._in_child(lambda: _make_pictures(folder / "pictures"))
        self._in_child(lambda: _write_settings(self._settings, folder / "pictures"))
        begin = time.monotonic()
        code = self.start("reference", Blow(kind=""))
        self.seconds = time.monotonic() - begin
        if code:
            raise SystemExit(f"an undisturbed run ends with {code}:\n{self.output('reference')}")

    def run(self, name: str) -> Path:
        """The folder of a run."""
        return self._folder / "runs" / name

    def cache(self, name: str) -> Path:
        """The cache of a run, which it shares with none."""
        return self._folder / "caches" / name

    def output(self, name: str) -> str:
        """What the command has printed, all starts together."""
        return (self._folder / f"{name}.txt").read_text(errors="replace")

    def remove(self, name: str) -> None:
        """Removes a run with all that belongs to it."""
        shutil.rmtree(self.run(name), ignore_errors=True)
        shutil.rmtree(self.cache(name), ignore_errors=True)

    def start(self, name: str, blow: Blow, number: int | None = None, after: float = 0.0) -> int:
        """Gives the command once.

        Args:
            name: Of the run.
            blow: What befalls it from within.
            number: A signal that it gets from without.
            after: So many seconds after its start.

        Returns:
            Its exit code; that of a signal is negative.
        """

        def command() -> None:
            from sagan import cli

            os.environ["SAGAN_CACHE"] = str(self.cache(name))
            words = ["train", str(self._settings), "--run", str(self.run(name))]
            sys.argv = ["sagan", *words]
            strike(blow, self.run(name))
            cli.main(words)

        with (self._folder / f"{name}.txt").open("a") as output:
            output.write(f"--- {blow} {number or ''} {after:.2f}\n")
            output.flush()
            return self._in_child(command, output.fileno(), number, after)

    def _in_child(
        self,
        work: Callable[[], object],
        output: int | None = None,
        number: int | None = None,
        after: float = 0.0,
    ) -> int:
        """Works in a fork of this process, which has imported everything and computed nothing."""
        child = os.fork()
        if not child:
            _work_and_exit(work, output)
        begin = time.monotonic()
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            passed = time.monotonic() - begin
            if number is not None and passed >= after:
                os.kill(child, number)
                number = None
            if passed > _LONGEST:
                os.kill(child, signal.SIGKILL)
            time.sleep(0.005)


def _work_and_exit(work: Callable[[], object], output: int | None) -> None:
    code = 70
    try:
        if output is not None:
            os.dup2(output, 1)
            os.dup2(output, 2)
        work()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _make_pictures(folder: Path) -> None:
    """Discs and squares, large and small, in any colours."""
    from PIL import Image, ImageDraw

    rng = random.Random(0)
    for number in range(PICTURES):
        shape, size = rng.choice(("disc", "square")), rng.choice((5, 12))
        picture = Image.new("RGB", (32, 32), tuple(rng.randbytes(3)))
        draw = ImageDraw.Draw(picture)
        x, y = rng.randrange(size, 32 - size), rng.randrange(size, 32 - size)
        box = (x - size, y - size, x + size, y + size)
        (draw.ellipse if shape == "disc" else draw.rectangle)(box, fill=tuple(rng.randbytes(3)))
        place = folder / f"{'small' if size == 5 else 'large'} {shape}" / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        picture.save(place)


def _write_settings(path: Path, pictures: Path) -> None:
    from sagan import config as settings

    values = {**SETTINGS, "data": {**SETTINGS["data"], "source": str(pictures)}}
    path.write_text(settings.to_toml(settings.from_dict(values)), encoding="utf-8")


def killed(workshop: Workshop, number: int, seed: int) -> Story:
    """A run that dies one to five times."""
    rng, story, name = random.Random(f"{seed} {number}"), Story(number), f"killed-{number}"
    deaths = rng.choice((1, 1, 2, 2, 3))
    while deaths and len(story.blows) < _MOST_STARTS:
        deaths -= 1
        if rng.random() < 0.35:
            after = rng.uniform(0, workshop.seconds)
            code = workshop.start(name, Blow(kind=""), signal.SIGKILL, after)
            story.blows.append(("at a random moment", code))
        else:
            blow = Blow(kind=rng.choice(DEATHS), call=rng.randrange(3), share=rng.random())
            story.blows.append((blow.kind, workshop.start(name, blow)))
        if rng.random() < 0.3:
            after = rng.uniform(0, 0.2 * workshop.seconds)
            code = workshop.start(name, Blow(kind=""), signal.SIGKILL, after)
            story.blows.append(("again, early", code))
    story.wrong += [
        f"{blow} ended with {code}" for blow, code in story.blows if code not in (0, _KILLED)
    ]
    _finish(workshop, name, story)
    return story


def faulty(workshop: Workshop, number: int, seed: int) -> Story:
    """A run that meets one to six faults."""
    rng, story, name = random.Random(f"{seed} {number}"), Story(number), f"faulty-{number}"
    kinds = [rng.choice((*FAULTS, *_SIGNALS, *_OUTSIDE, "kill")) for _ in range(rng.randint(1, 6))]
    has_flipped = False
    for kind in kinds:
        moment = rng.uniform(0, workshop.seconds)
        if kind in _OUTSIDE:
            if kind == "flipped bit" and has_flipped:
                continue  # of two checkpoints one has to be good
            has_flipped |= kind == "flipped bit"
            workshop.start(name, Blow(kind=""), signal.SIGKILL, moment)
            _spoil(kind, workshop.run(name), workshop.cache(name), rng)
            story.blows.append((kind, 0))
            continue
        sent = {**_SIGNALS, "kill": signal.SIGKILL}.get(kind)
        blow = Blow(kind="" if sent else kind, call=rng.randrange(8), share=rng.random())
        code = workshop.start(name, blow, sent, moment)
        story.blows.append((kind, code))
        if code not in _CODES.get(kind, (0,)):
            story.wrong.append(f"{kind} ended with {code}")
    _finish(workshop, name, story, log="log cut" not in kinds)
    return story


def _spoil(kind: str, run: Path, cache: Path, rng: random.Random) -> None:
    """What happens to files while nothing runs."""
    if kind == "cache removed":
        shutil.rmtree(cache, ignore_errors=True)
    elif kind == "log cut" and (run / "log.jsonl").exists():
        size = (run / "log.jsonl").stat().st_size
        os.truncate(run / "log.jsonl", rng.randrange(size + 1))
    elif kind == "flipped bit":
        files = checkpoint_files(run)
        if len(files) > 1:
            content = bytearray(files[-1].read_bytes())
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
            files[-1].write_bytes(content)


def _finish(workshop: Workshop, name: str, story: Story, *, log: bool = True) -> None:
    """Lets the run come to its end, and judges it."""
    code = workshop.start(name, Blow(kind=""))
    story.blows.append(("undisturbed", code))
    if code:
        story.wrong.append(f"the last start ended with {code}")
    else:
        story.wrong += differences(workshop.run(name), workshop.run("reference"), STEPS, log=log)
    if "Traceback" in workshop.output(name):
        story.wrong.append("a traceback is printed")
    if story.wrong:
        print(f"{story.told()}\n{workshop.output(name)[-2000:]}", file=sys.stderr, flush=True)
    workshop.remove(name)


def table(stories: list[Story]) -> str:
    """How often each blow was dealt, how often it ended the process, and what came of the runs."""
    dealt, ended = Counter(), Counter()
    for story in stories:
        for blow, code in story.blows[:-1]:
            dealt[blow] += 1
            ended[blow] += code != 0
    lines = [f"{'what befell a start':<28}{'times':>6}{'ended it':>10}"]
    lines += [f"{blow:<28}{dealt[blow]:>6}{ended[blow]:>10}" for blow in sorted(dealt)]
    good = sum(not story.wrong for story in stories)
    lines += ["", f"{good} of {len(stories)} runs are in the end as an undisturbed one"]
    return "\n".join([*lines, *(story.told() for story in stories if story.wrong)])


def main() -> None:
    """Makes runs until there are enough, prints the table, and fails where one is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--faults", action="store_true", help="faults in place of deaths")
    parser.add_argument("--minutes", type=float, default=None, help="in place of --runs")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    import sagan.cli
    import sagan.evaluation.periodic
    import sagan.training.run  # noqa: F401 - so that every start is a fork and takes no time

    torch.set_num_threads(1)
    begin, stories = time.monotonic(), []
    with tempfile.TemporaryDirectory() as folder:
        workshop = Workshop(Path(folder))
        print(f"an undisturbed run takes {workshop.seconds:.1f} s", flush=True)
        befallen = faulty if options.faults else killed
        while (
            len(stories) < options.runs
            if options.minutes is None
            else time.monotonic() - begin < 60 * options.minutes
        ):
            stories.append(befallen(workshop, len(stories), options.seed))
    print(table(stories))
    raise SystemExit(any(story.wrong for story in stories))


if __name__ == "__main__":
    main()
