"""Command lines as a hostile stranger would type them, and what must hold of each.

The grammar is that of the program: its commands, their flags and kinds are read from it.
"""

import io
import json
import os
import random
import re
import resource
import signal
import sys
import time
import typing
import warnings
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from unittest.mock import patch

from conftest import tiny
from hostile_shelf import DEEP, ESCAPE, RECORD, changed
from test_cli import TINY

from sagan import cli
from sagan.cli.program import app
from sagan.config import EvaluationConfig
from sagan.config.presets import PRESETS
from sagan.errors import printable

WHOLE = ("-1", "0", "1", "2", "3", "4", "8", "16", "17", "32", "33", "64", "999", "100000")
WHOLE += ("2147483648", "4294967297", "999999999999999999", "-999999999999999999", "-0")
REAL = ("-1", "0", "1", "2", "0.5", "0.1", "0.999999", "-0.0", "1e-320", "1e-30", "3.5", "100")
REAL += ("1e5", "1e18", "1e30", "1e308", "-1e308")
NONSENSE = (
    *("9223372036854775807", "9223372036854775808", "9" * 30, "9" * 5000, "NaN", "inf", "-inf"),
    *("1e400", "", " ", "0x10", "1_000", "\u0663", "\u00bd", "1,5", "1.5.2", "true", "[]", "1\n2"),
)
TEXTS = (
    *("", " ", ".", "..", "~", "-", "--", "0", "all", "x" * 300, "x" * 70_000, DEEP, ESCAPE),
    *(
        "\udcff\udcfe",
        "\u4e2d\u6587",
        "\u202eabc",
        "a\nb",
        "%s%n",
        "{}",
        "../../x",
        "hf:",
        "hf:a/b",
    ),
    *("hf:../..", "https://example.com/x", "dark", "light", "dark,light", "NaN", "None", "con"),
)
SEEDS = ("0", "0-3", "3,7", "3-1", "0-99999999999", "9" * 30, "-1", "1,,2", "0-", "1e3", "\u0663")
PATHS = (
    *("", " ", ".", "..", "-", "/dev/null", "/dev/zero", "/dev/full", "/dev/stdin", "/dev/tty"),
    *("/proc/self/mem", "/proc/self/fd/0", "/nowhere/x", "/dev/null/x", "x" * 300, "x/" * 3000),
    *(
        "\udcff\udcfe",
        ESCAPE,
        "\u4e2d\u6587",
        "a\nb",
        "hf:a/b",
        "hf:",
        "avatars64",
        "avatars",
        "~nobody/x",
    ),
)
TRACED = (".onnx", ".pt2")
SUFFIXES = (".png", ".npz", ".safetensors", ".html", ".json", ".mp4", ".webp")
SUFFIXES += (".gif", ".apng", ".sagan", ".npy", ".jpg", "", ".PNG", ".toml", ".png/x", ".jsonl")
WORDS = {
    "--metrics": ("fd", "is", "all", "pr,dc", "fd,fd", ",", "kid,nonsense"),
    "--extractor": ("efficientnet-lite0", "inception", "clip-vit-b-32", "nonsense"),
    "--device": ("cpu", "cuda", "cpu:", "cpu:7", "mps", "tpu", "meta", "cuda:99"),
    "--train.device": ("cpu", "cuda", "cpu:", "cpu:7", "mps", "tpu", "meta"),
    "--at": ("0,0", "3,4", "31,31", "32,32", "-1,-1", "9999999999,0", "1", "1,2,3", "a,b", "1e3,1"),
    "--host": ("127.0.0.1", "localhost", "::1", "999.1.1.1", "example.invalid", "0.0.0.0"),
    "--license": ("mit", "apache-2.0", "nonsense"),
    "--class": ("dark", "light", "0", "1", "2", "-1", "Dark"),
}
USUAL = {
    "train": ("--run={new}", "--train.steps=1", "--evaluation.samples=0", *TINY),
    "ablate": (
        *("--axis=attention", "--run={new}", "--train.steps=1", "--evaluation.samples=0", *TINY),
        "--points=1",
    ),
    "demo": ("--run={new}", "--steps=0"),
    "evaluate": ("--samples=16", "--repeats=1", "--metrics=fd"),
    "sample": ("--seeds=0-1", "--output={new}.png"),
    "interpolate": ("--seeds=0-1", "--frames=2", "--output={new}.webp"),
    "timelapse": ("--output={new}.webp",),
    "attention": ("--output={new}.png",),
    "report": ("--output={new}.html",),
    "export": ("--output={new}.safetensors",),
    "convert": ("--output={new}.safetensors",),
    "data": ("--sample=4",),
    "pack": ("--output={new}.sagan",),
    "push": ("--license=mit", "--output={new}"),
    "serve": ("--port=0",),
    "studio": ("--port=0", "--no-open"),
}
MODEL_COMMANDS = (
    "sample",
    "interpolate",
    "attention",
    "export",
    "convert",
    "push",
    "serve",
    "studio",
)
RUN_COMMANDS = ("timelapse", "report", "check", "status")
SOURCE_COMMANDS = ("data", "pack", "train", "ablate")
WEIGHTS = {"ablate": 1, "demo": 1, "evaluate": 3, "report": 3, "presets": 2, "models": 2}
LONG_COMMANDS = ("train", "ablate", "demo", "evaluate", "report", "data", "export", "check")


class HangError(BaseException):
    """A line has taken too long."""


@dataclass(frozen=True)
class Line:
    """A command line and what came of it."""

    words: tuple[str, ...]
    code: int = 0
    out: str = ""
    err: str = ""
    fault: str = ""
    """What is wrong; empty where nothing is."""
    seconds: float = 0.0
    growth: int = 0
    """Bytes by which the most memory that this process ever took has grown."""


class Grammar:
    """Makes lines, from numbers that are drawn.

    Args:
        shelf: Where the good and the bad files are.
        seed: The same gives the same lines.
        traces: Whether networks may be traced for other programs, which takes long.
    """

    def __init__(self, shelf, seed, *, traces=False):
        self._shelf = shelf
        self._suffixes = (*SUFFIXES, *TRACED) if traces else SUFFIXES
        self._rng = random.Random(seed)
        names = sorted(name for name in app if not name.startswith("-"))
        self.flags = {name: _flags_of(name) for name in names}
        self._commands = [name for name in names for _ in range(WEIGHTS.get(name, 6))]

    def line(self, command=None):
        """One line: what is usual for a command, with some of it made bad."""
        rng = self._rng
        command = command or rng.choice(self._commands)
        new = str(self._shelf.out / f"made-{next(self._shelf.numbers)}")
        flags = [flag.format(new=new) for flag in USUAL.get(command, ())]
        for _ in range(rng.choice((0, 1, 1, 1, 2, 2, 3))):
            if self.flags[command]:
                flag = rng.choice(list(self.flags[command]))
                flags = [one for one in flags if one.split("=")[0] != flag]
                flags += self._given(command, flag, new)
        if flags and rng.random() < 0.05:
            flags.remove(rng.choice(flags))
        if rng.random() < 0.03:
            flags.insert(rng.randrange(len(flags) + 1), rng.choice(("--nonsense", "--", *TEXTS)))
        words = [*self._subjects(command, new), *flags]
        if rng.random() < 0.03:
            rng.shuffle(words)
        return (command, *(word.replace("\0", "") for word in words))

    def _subjects(self, command, new):
        """What stands in the first places."""
        rng, shelf = self._rng, self._shelf
        if command in (*MODEL_COMMANDS, *RUN_COMMANDS, "evaluate", "train") and rng.random() < 0.4:
            is_run = rng.random() < 0.5
            made = Path(f"{new}-garbled" if is_run else f"{new}-garbled.safetensors")
            if command == "evaluate" and rng.random() < 0.5:
                records = [Path(f"{new}-{n}.json") for n in range(2)]
                for record in records:
                    record.write_text(json.dumps(changed(rng, RECORD)))
                return [f"--compare={record}" for record in records]
            shelf.garbled(rng, made, is_run=is_run)
            if command == "train":
                return [f"--from={made}", f"--data.source={shelf.inputs / 'pictures'}"]
            return [str(made), *["me/model"] * (command == "push")]
        is_good = rng.random() < 0.5
        if command == "evaluate":
            pictures = str(shelf.inputs / "pictures")
            good = rng.choice((str(shelf.inputs / "run"), pictures))
            return [good if is_good else rng.choice(shelf.names("models", "runs", "sources"))]
        if command == "push":
            name = rng.choice(("me/model", "me/model", *TEXTS))
            return [self._model(is_good), name]
        if command in MODEL_COMMANDS:
            return [self._model(is_good)]
        if command in RUN_COMMANDS:
            bad = rng.choice((*shelf.names("runs", "models"), *PATHS))
            return [str(shelf.inputs / "run") if is_good else bad]
        if command in SOURCE_COMMANDS:
            bad = rng.choice((*shelf.names("sources", "texts", "runs"), *PATHS, *PRESETS))
            return [str(shelf.inputs / "pictures") if is_good else bad]
        if command in ("presets", "models"):
            return [rng.choice((*TEXTS, *PRESETS, "avatars64"))] if not is_good else []
        return []

    def _model(self, is_good):
        good = (self._shelf.inputs / "run", self._shelf.inputs / "models" / "good.safetensors")
        bad = (*self._shelf.names("models", "models", "runs", "sources"), *PATHS)
        return str(self._rng.choice(good if is_good else bad))

    def _given(self, command, flag, new):
        """A flag with a value that may be bad."""
        hint = self.flags[command][flag]
        if hint is bool:
            return [self._rng.choice((*[flag] * 8, f"{flag}=x", f"--no-{flag[2:]}"))]
        count = self._rng.choice((1, 1, 1, 2)) if typing.get_origin(hint) is tuple else 1
        return [f"{flag}={self._value(command, flag, hint, new)}" for _ in range(count)]

    def _value(self, command, flag, hint, new):
        rng, kinds = self._rng, _kinds(hint)
        if rng.random() < 0.08:
            return rng.choice((*NONSENSE, *TEXTS))
        if flag == "--metrics":
            return rng.choice(WORDS[flag])
        if flag in ("--output", "--raw") or flag == "--run":
            usual = next((one for one in USUAL.get(command, ()) if one.startswith(flag)), "")
            made = new + rng.choice((*self._suffixes, *[Path(usual).suffix] * 12))
            taken = (*PATHS, *self._shelf.names("runs", "models", "texts"), "/dev/full")
            return rng.choice((made, made, rng.choice(taken)))
        if flag == "--seeds":
            return rng.choice(SEEDS)
        if flag in WORDS and rng.random() < 0.7:
            return rng.choice(WORDS[flag])
        if Path in kinds:
            return rng.choice((*self._shelf.names("models", "runs", "texts", "sources"), *PATHS))
        if flag in ("--against", "--data.source"):
            return rng.choice((*self._shelf.names("sources", "models", "runs"), *PATHS))
        if choices := [kind for kind in kinds if isinstance(kind, str)]:
            return rng.choice((*choices, *choices, "x", ""))
        numbers = WHOLE if int in kinds else REAL if float in kinds else ()
        if numbers and rng.random() < 0.25:
            numbers = NONSENSE
        return rng.choice(numbers or TEXTS)


def _flags_of(command):
    """Flags of a command with their kinds."""
    collection = app[command].assemble_argument_collection()
    flags = {one.name: one.hint for one in collection if one.name.startswith("--")}
    leaves = {
        flag: hint
        for flag, hint in flags.items()
        if not any(other.startswith(f"{flag}.") for other in flags)
    }
    # A compiled network takes a minute; to watch, and a demonstration of many steps, take longer.
    slow = ("compile", "--watch", *["--steps"] * (command == "demo"))
    return {flag: hint for flag, hint in leaves.items() if not flag.endswith(slow)}


def _kinds(hint):
    """The plain kinds and words within a hint."""
    inner = typing.get_args(hint)
    return [kind for one in inner for kind in _kinds(one)] if inner else [hint]


class Runner:
    """Runs lines in this process, and judges each.

    Args:
        shelf: What they read and fill.
        seconds: How long a line may compute, or ten times that wait.
        longer: The same for one that trains, measures, traces or draws a page.
    """

    def __init__(self, shelf, seconds=5.0, longer=20.0):
        self._shelf, self._seconds, self._longer = shelf, seconds, longer
        self._before = shelf.snapshot()
        self._outside = []
        self._allowed = re.compile(rf"{re.escape(str(shelf.root))}/|/dev/shm|.*/torchinductor_")
        self._is_watching = False
        sys.addaudithook(self._audit)

    def run(self, words):
        """Runs a line; the shelf is afterwards as it was."""
        most = _most_memory()
        with self._surroundings() as (out, err):
            begin = time.perf_counter()
            code, fault = self._called(words)
            seconds = time.perf_counter() - begin
        printed, told = (_text(stream) for stream in (out, err))
        fault = fault or _judged(words[0], code, printed, told) or self._touched(words)
        growth = _most_memory() - most
        return Line(words, code, printed, told, fault, seconds, growth)

    def _called(self, words):
        limit = self._longer if words[0] in LONG_COMMANDS else self._seconds
        signal.signal(signal.SIGALRM, _hang)
        signal.signal(signal.SIGPROF, _hang)
        signal.setitimer(signal.ITIMER_PROF, limit, 0.5)
        signal.setitimer(signal.ITIMER_REAL, 10 * limit, 0.5)
        try:
            cli.main(list(words))
            code = 0
        except SystemExit as end:
            code = 0 if end.code is None else end.code
        except HangError:
            return -1, f"hangs for {limit:g} s"
        except BaseException as error:
            return -1, _traceback(error)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
        return code, ""

    @contextmanager
    def _surroundings(self):
        root = self._shelf.root
        names = {"HOME": root / "home", "TMPDIR": root / "tmp", "SAGAN_CACHE": root / "cache"}
        folder = os.getcwd()
        streams = [io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2)]
        with ExitStack() as stack:
            enter = stack.enter_context
            # First, since its library reads the environment once, when it is imported.
            enter(patch("huggingface_hub.constants.HF_HUB_OFFLINE", True))
            enter(patch.dict(os.environ, {name: str(path) for name, path in names.items()}))
            enter(patch("tempfile.tempdir", str(root / "tmp")))
            enter(patch("sagan.training.preparation.train_steps", _two_steps))
            enter(patch("sagan.studio.server.open_browser", lambda *_: None))
            demo = _short_demo(self._shelf.inputs / "pictures")
            enter(patch("sagan.demo.preset", lambda _: demo))
            enter(patch("sagan.studio.server.serve_until_ended", lambda *_, **__: None))
            enter(patch("sagan.studio.service.answer_requests", lambda *_, **__: None))
            enter(warnings.catch_warnings())
            warnings.simplefilter("default")
            enter(redirect_stdout(streams[0]))
            enter(redirect_stderr(streams[1]))
            os.chdir(self._shelf.out)
            handlers = {number: signal.getsignal(number) for number in _HEARD}
            self._is_watching = True
            try:
                yield streams
            finally:
                self._is_watching = False
                os.chdir(folder)
                for number, handler in handlers.items():
                    signal.signal(number, handler)

    def _touched(self, words):
        """What the line has changed that it may not."""
        outside, self._outside = self._outside, []
        after = self._shelf.snapshot()
        changed = {
            path
            for path in self._before.keys() | after.keys()
            if self._before.get(path) != after.get(path)
        }
        if changed:
            self._shelf.restore()
            self._before = self._shelf.snapshot()
        named = re.compile("--(run|output|raw)=")
        own = [named.sub("", word) for word in words if named.match(word)]
        own += [word for word in words[1:] if words[0] in ("report", "evaluate")]
        own = [os.path.realpath(place) for place in own if place]
        strange = [path for path in sorted(changed) if not any(path.startswith(p) for p in own)]
        # A folder's time is not compared; what is new in it is found under its own name.
        if strange:
            return f"changes {printable(strange[0])}"
        if outside:
            return f"reaches outside: {printable(outside[0])}"
        return ""

    def _audit(self, event, arguments):
        if not self._is_watching:
            return
        if event in ("socket.connect", "socket.getaddrinfo"):
            place = str(arguments[1] if event == "socket.connect" else arguments[0])
            if not re.search(r"127\.0\.0\.1|localhost|::|0\.0\.0\.0|/", place):
                raise OSError(101, "the network is not for fuzzing")
            return
        if event == "open":
            path, _, flags = arguments
            is_written = flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            paths = [path] if is_written and not isinstance(path, int) else []
        else:
            paths = [arguments[n] for n in _CHANGING.get(event, ())]
        for path in paths:
            place = os.path.realpath(os.fsdecode(path))
            if place != os.devnull and not re.match(self._allowed, place):
                self._outside.append(f"{event} {place}")


_HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)
_CHANGING = {
    "os.rename": (0, 1),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.mkdir": (0,),
    "os.link": (1,),
    "os.symlink": (1,),
    "os.truncate": (0,),
    "os.chmod": (0,),
    "shutil.rmtree": (0,),
}


def _two_steps(*arguments, **named):
    """Training that is interrupted, as by Ctrl-C, after its second step."""
    from sagan.training.loop import train_steps

    for number, terms in enumerate(train_steps(*arguments, **named)):
        if number == 1:
            signal.raise_signal(signal.SIGINT)
        yield terms


def _short_demo(pictures):
    """Settings of a demonstration that takes a second."""
    small = tiny()
    data = replace(small.data, source=str(pictures))
    return replace(small, data=data, evaluation=EvaluationConfig(samples=0))


def _hang(*_):
    raise HangError


def _traceback(error):
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/sagan/" in frame.filename]
    places = [f"{Path(f.filename).name}:{f.lineno}" for f in (ours[-2:] + frames[-1:])]
    return (
        f"traceback {type(error).__name__}: {printable(str(error)[:200])} at {' > '.join(places)}"
    )


def _text(stream):
    stream.flush()
    return stream.buffer.getvalue().decode("utf-8", "surrogateescape")


_SHOWN_RAW = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\uddff]")


def _judged(command, code, out, err):
    """What is wrong with how a line ended."""
    if command == "check" and out:  # what it finds is its result, with a code
        err = f"sagan: {' '.join(out.split())}"
    if code not in (0, 1, 2, 3, 75, 130):
        return f"exit code {code!r}"
    if "Traceback" in err + out:
        return "prints a traceback"
    if found := _SHOWN_RAW.search(out + err):
        return f"prints {printable(found[0])} raw"
    lines = err.splitlines()
    if code in (1, 2, 3) and not (lines and lines[-1].startswith("sagan: ")):
        return "does not say what the mistake is"
    if code in (1, 2, 3) and len(lines[-1]) > 2000:
        return f"a message of {len(lines[-1]):,} letters"
    return ""


def _most_memory():
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
