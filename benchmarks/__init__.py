"""Speed and memory of ours beside a reference, paired in one process: ``python -m benchmarks``.

``demo_quality.py`` and ``ship.py`` are scripts of their own.
"""

import os

from sagan.system.threads import sleep_while_waiting

# PyTorch's profiler announces itself otherwise, and every block that is older than a profile.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
sleep_while_waiting()
