"""A folder of what a command may be pointed at: good files, and those that mean harm."""

import gzip
import itertools
import json
import os
import shutil
import struct
import zlib
from pathlib import Path

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

NOISE = bytes(np.random.default_rng(7).integers(0, 256, 4096, dtype=np.uint8))
DEEP = "[" * 100_000
RECORD = {
    "format": 1,
    "subject": {"kind": "generator", "path": "x", "step": 2, "fingerprint": "8636fa9d61327430"},
    "protocol": {"extractor": "efficientnet-lite0", "resolution": 32, "fake_pictures": 16},
    "values": {
        "FD (EfficientNet-Lite0)": {
            "each": [149.8, 149.9],
            "mean": 149.8,
            "spread": 0.0,
            "within": None,
            "floor": 30.4,
            "better": "lower",
        },
        "precision": {
            "each": [0.5],
            "mean": 0.5,
            "spread": None,
            "within": 0.1,
            "floor": 0.9,
            "better": "higher",
        },
    },
    "details": {"intra-class FD": {"dark": 14.5, "light": 13.5}},
    "notes": ["few pictures"],
    "seeds": ["0-15"],
    "versions": {"torch": "2"},
    "command": "sagan evaluate x",
    "date": "2026-01-01",
    "seconds": 1.5,
}
VALUES = (
    *(None, True, 0, -1, 1, 3, 2**31, 2**53, 2**70, -(2**63), 0.5, -0.0, 1e308, float("nan")),
    *(float("inf"), "", "x", "../x", "1", "nan", "x" * 70_000, [], {}, [[]], [1], ["x"], {"x": 1}),
    *([0] * 10_000, [2**40], [-1, 0], [None, "a"], {"": []}, "\ud800", "\u202eabc", "a\nb"),
)
ESCAPE = "\x1b[2J\x1b]0;owned\x07"


class Shelf:
    """The folder; its paths by what they are.

    Args:
        root: A folder that is empty. ``inputs`` is what commands read; ``out`` what they may fill.
        run: A finished run.
        pictures: A folder of pictures.
    """

    def __init__(self, root, run, pictures):
        self.numbers = itertools.count(1)  # of what is made
        self.root, self.inputs, self.out = root, root / "in", root / "out"
        for folder in (self.inputs, self.out, root / "home", root / "cache", root / "tmp"):
            folder.mkdir()
        shutil.copytree(run, self.inputs / "run")
        shutil.copytree(pictures, self.inputs / "pictures")
        self._spoil_models()
        self._spoil_runs()
        self._spoil_pictures()
        self._spoil_texts()
        self.pristine = root / "pristine"
        shutil.copytree(self.inputs, self.pristine, symlinks=True, copy_function=_copy)

    def names(self, *kinds):
        """Paths of everything, or of some folders of the shelf; hostile ones are the most."""
        return [str(path) for kind in kinds for path in sorted((self.inputs / kind).iterdir())]

    def restore(self):
        """Puts everything back as it was."""
        shutil.rmtree(self.inputs)
        shutil.copytree(self.pristine, self.inputs, symlinks=True, copy_function=_copy)

    def garbled(self, rng, place, *, is_run):
        """Makes a checkpoint or a run of which something is other than it should be.

        Args:
            rng: Chooses what.
            place: What is made.
            is_run: Whether it is to be a run.
        """
        if not is_run:
            content = next(self.inputs.glob("run/checkpoints/*")).read_bytes()
            place.write_bytes(_garbled_checkpoint(rng, content))
            return
        shutil.copytree(self.inputs / "run", place)
        chosen = rng.choice(
            (*("config.toml", "log.jsonl") * 2, "data.json", "checkpoints", "record")
        )
        if chosen == "config.toml":
            text = (place / chosen).read_text()
            (place / chosen).write_text(_garbled_settings(rng, text))
        elif chosen == "log.jsonl":
            lines = (place / chosen).read_text().splitlines()
            number = rng.randrange(len(lines))
            lines[number] = json.dumps(changed(rng, json.loads(lines[number])))
            (place / chosen).write_text("\n".join(lines))
        elif chosen == "data.json":
            (place / chosen).write_text(
                json.dumps(changed(rng, json.loads((place / chosen).read_text())))
            )
        elif chosen == "record":
            (place / "evaluations").mkdir(exist_ok=True)
            record = changed(rng, changed(rng, RECORD))
            (place / "evaluations" / "step-00000002-x.json").write_text(json.dumps(record))
        else:
            for path in place.glob("checkpoints/*"):
                path.write_bytes(_garbled_checkpoint(rng, path.read_bytes()))

    def snapshot(self):
        """What every input is: kind, length and time of its last change, by its path."""
        found = {}
        for folder, folders, files in os.walk(self.inputs):
            for name in folders + files:
                state = os.lstat(os.path.join(folder, name))
                is_folder = name in folders
                facts = () if is_folder else (state.st_size, state.st_mtime_ns, state.st_ino)
                found[os.path.join(folder, name)] = (state.st_mode, *facts)
        return found

    def _spoil_models(self):
        folder = self.inputs / "models"
        folder.mkdir()
        good = next((self.inputs / "run" / "checkpoints").glob("*.safetensors"))
        content = good.read_bytes()
        shutil.copy(good, folder / "good.safetensors")
        (folder / "cut.safetensors").write_bytes(content[: len(content) // 2])
        (folder / "cut-header.safetensors").write_bytes(content[:100])
        (folder / "long-header.safetensors").write_bytes(struct.pack("<Q", 2**62) + content[8:])
        (folder / "noise.safetensors").write_bytes(NOISE)
        for suffix in ("onnx", "pt2", "pth", "pt", "npz", "npy", "index", "html", "sagan"):
            (folder / f"noise.{suffix}").write_bytes(NOISE)
        (folder / "empty.safetensors").write_bytes(b"")
        tensors = load_file(good)
        with safe_open(good, framework="np") as file:
            metadata = file.metadata()
        header = json.loads(metadata["sagan"])

        def spoiled(name, *, of=None, **changes):
            text = json.dumps({**header, **changes}) if of is None else of
            save_file(tensors, folder / f"{name}.safetensors", {**metadata, "sagan": text})

        spoiled("deep", of=DEEP)
        spoiled("no-object", of="3")
        spoiled("names", class_names=3)
        spoiled("names-of-lists", class_names=[[], {}])
        spoiled("names-with-escapes", class_names=[ESCAPE, "b"])
        spoiled("step", step=-5)
        spoiled("step-text", step="\x1b[2J")
        spoiled("newer", version=10**9, versions={"sagan": ESCAPE})
        spoiled("version-list", version=[[]])
        spoiled("config-list", config=[1])
        spoiled("config-deep", config={"data": {"resolution": {"a": [1]}}})
        spoiled("config-huge", config=_changed(header["config"], "generator", base_channels=2**40))
        spoiled("config-wide", config=_changed(header["config"], "generator", base_channels=2**15))
        spoiled("config-nan", config=_changed(header["config"], "generator", batch_norm_eps="nan"))
        metadata = {"sagan": metadata["sagan"]}  # without digests of the tensors
        for name, value in (("nan", np.nan), ("infinite", np.inf)):
            with_it = {key: np.array(tensor) for key, tensor in tensors.items()}
            part = next(
                key for key in with_it if key.startswith("generator_ema") and "weight" in key
            )
            with_it[part].reshape(-1)[0] = value
            save_file(with_it, folder / f"{name}.safetensors", metadata)
        whole = {key: np.array(tensor).astype(np.int32) for key, tensor in tensors.items()}
        save_file(whole, folder / "whole.safetensors", metadata)
        flat = {key: np.array(tensor).reshape(-1)[:1] for key, tensor in tensors.items()}
        save_file(flat, folder / "flat.safetensors", metadata)
        save_file({"x": np.zeros(3)}, folder / "foreign.safetensors")
        (folder / "link.safetensors").symlink_to("good.safetensors")
        (folder / "dead.safetensors").symlink_to("nowhere")
        (folder / "loop.safetensors").symlink_to("loop.safetensors")
        os.mkfifo(folder / "pipe.safetensors")

    def _spoil_runs(self):
        folder = self.inputs / "runs"
        folder.mkdir()

        def copy(name):
            shutil.copytree(self.inputs / "run", folder / name)
            return folder / name

        kinds = '[data]\nresolution = "big"\n[train]\nsteps = [1]\n'
        (copy("wrong-kinds") / "config.toml").write_text(kinds)
        (copy("deep-config") / "config.toml").write_text("a = " + DEEP)
        (copy("no-text") / "config.toml").write_bytes(NOISE)
        (copy("empty-config") / "config.toml").write_text("")
        config = copy("folder-config") / "config.toml"
        config.unlink()
        config.mkdir()
        log = copy("noise-log") / "log.jsonl"
        log.write_bytes(NOISE + b"\n" + DEEP.encode() + b'\n{"step": 1, "generator": "x"}\n')
        records = [
            {"step": 1, "generator": [], "discriminator_real": None, "variety": "much"},
            {"step": 2, "generator": 1e400, ESCAPE: ESCAPE, "images_per_second": {}},
            {"step": 2**52, "event": ["alarm"], "detail": ESCAPE, "alarm": {}},
            {"step": 2, "event": "alarm", "alarm": ESCAPE, "detail": 3, "where": []},
            {"step": 1, "attention.g.16.gamma": "x", "attention.g.16.entropy": [1, {}]},
            {"step": 2, "fd": "x", "measured": 1, "metrics": [], "evaluation": "x"},
        ]
        (copy("odd-log") / "log.jsonl").write_text("\n".join(map(json.dumps, records)))
        for path in copy("cut-checkpoints").glob("checkpoints/*"):
            path.write_bytes(path.read_bytes()[:999])
        shutil.rmtree(copy("no-checkpoints") / "checkpoints")
        (copy("good-record") / "evaluations").mkdir()
        (folder / "good-record" / "evaluations" / "step-00000002-x.json").write_text(
            json.dumps(RECORD)
        )
        for path in copy("noise-samples").glob("samples/*"):
            path.write_bytes(NOISE)
        evaluations = copy("noise-evaluations") / "evaluations"
        evaluations.mkdir(exist_ok=True)
        for name, text in (
            ("deep", DEEP),
            ("list", "[1]"),
            ("odd", '{"numbers": [1], "step": "x"}'),
        ):
            (evaluations / f"step-00000002-{name}.json").write_text(text)
        (copy("noise-survey") / "data.json").write_text(DEEP)
        (copy("odd-survey") / "data.json").write_text('{"fingerprint": 3, "classes": "x"}')
        (copy("odd-origin") / "from.json").write_text('{"model": [1], "taken": 5}')
        (folder / "dead").symlink_to("nowhere")

    def _spoil_pictures(self):
        folder = self.inputs / "sources"
        folder.mkdir()
        good = next(self.inputs.glob("pictures/*/*.png")).read_bytes()
        for name in ("broken", "one", "empty", "piped", "odd-names", "huge", "listed", "tabled"):
            (folder / name).mkdir()
        for number in range(9):
            (folder / "broken" / f"{number}.png").write_bytes(good[: 40 + 5 * number])
        (folder / "one" / "x.png").write_bytes(good)
        os.mkfifo(folder / "piped" / "x.jpg")
        for name in (os.fsencode(f"{ESCAPE}"), b"\xff\xfe", "中文".encode(), b"a\nb"):
            place = os.fsencode(folder / "odd-names") + b"/" + name
            os.mkdir(place)
            Path(os.fsdecode(place), "x.png").write_bytes(good)
        (folder / "huge" / "x.png").write_bytes(_wide_png(13_000))
        for name in ("listed", "tabled"):
            (folder / name / "x.png").write_bytes(good)
        (folder / "listed" / "dataset.json").write_text(DEEP)
        (folder / "tabled" / "metadata.csv").write_bytes(b"file_name,label\nx.png," + NOISE)
        np.savez(folder / "scalar.npz", np.float32(3))
        np.savez(
            folder / "labels.npz",
            images=np.zeros((4, 32, 32, 3), "u1"),
            labels=np.array([0, 1, 2, 2**40]),
        )
        np.savez(folder / "objects.npz", images=np.array([object(), "x"], dtype=object))
        np.savez(folder / "nothing.npz")
        np.save(folder / "zero.npy", np.zeros((0, 32, 32, 3), np.uint8))
        np.save(folder / "nan.npy", np.full((4, 32, 32, 3), np.nan))
        np.save(folder / "flat.npy", np.zeros(5))
        np.save(folder / "good.npy", np.zeros((8, 32, 32, 3), np.uint8))
        (folder / "claims.npy").write_bytes(_npy_header("(2147483648, 32, 32, 3)"))
        (folder / "claims-negative.npy").write_bytes(_npy_header("(-1, 32, 32, 3)"))
        (folder / "train-images-idx3-ubyte.gz").write_bytes(
            gzip.compress(struct.pack(">IIII", 0x803, 2**31, 32, 32) + bytes(2**26), 1)
        )
        for name in ("x.zip", "x.tar", "x.parquet", "x.h5", "x.mdb", "x.sagan", "x.png", "x.gz"):
            (folder / name).write_bytes(NOISE)
        (folder / "trailer.sagan").write_bytes(NOISE + b"sagan" * 9)
        (folder / "empty.png").write_bytes(b"")
        (folder / "dead").symlink_to("nowhere")

    def _spoil_texts(self):
        folder = self.inputs / "texts"
        folder.mkdir()
        (folder / "deep.json").write_text(DEEP)
        (folder / "odd.json").write_text('{"numbers": 3, "title": [1], "protocol": {}}')
        (folder / "good.json").write_text(json.dumps(RECORD))
        (folder / "list.json").write_text("[[1]]")
        (folder / "noise.json").write_bytes(NOISE)
        (folder / "noise.txt").write_bytes(NOISE)
        (folder / "names.txt").write_text(f"a\n{ESCAPE}\na\n")
        (folder / "many.txt").write_text("\n".join(map(str, range(100_000))))
        (folder / "empty.txt").write_text("")
        (folder / "kinds.toml").write_text('[train]\nsteps = "many"\nseed = [[1]]\n')
        (folder / "numbers.toml").write_text("[optimizer]\ngenerator_lr = inf\nbeta1 = nan\n")
        (folder / "unknown.toml").write_text(f'["{"x" * 999}"]\ny = 1\n')
        (folder / "deep.toml").write_text("a = " + DEEP)
        (folder / "noise.toml").write_bytes(NOISE)
        (folder / "good.toml").write_text("[train]\nsteps = 1\n")


def changed(rng, value):
    """A value with one of its parts replaced, removed or doubled."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(list(value))
        others = {name: of for name, of in value.items() if name != key}
        if rng.random() < 0.15:
            return {**others, rng.choice((ESCAPE, "x", "")): value[key]}
        return others if rng.random() < 0.1 else {**value, key: changed(rng, value[key])}
    if isinstance(value, list) and value and rng.random() < 0.7:
        number = rng.randrange(len(value))
        if rng.random() < 0.2:
            return value + value
        return [*value[:number], changed(rng, value[number]), *value[number + 1 :]]
    return rng.choice((*VALUES, ESCAPE))


def _garbled_checkpoint(rng, content):
    """With another header, other bytes, or fewer."""
    (length,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + length])
    how = rng.random()
    if how < 0.5:
        ours = changed(rng, json.loads(header["__metadata__"]["sagan"]))
        header["__metadata__"]["sagan"] = json.dumps(ours)
    elif how < 0.8:
        header = changed(rng, header)
    text = json.dumps(header).encode()
    made = bytearray(struct.pack("<Q", len(text)) + text + content[8 + length :])
    if how >= 0.8:
        for _ in range(rng.choice((1, 10, 1000))):
            made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    if rng.random() < 0.1:
        del made[rng.randrange(len(made)) :]
    return bytes(made)


def _garbled_settings(rng, text):
    """With one value of another kind."""
    lines = text.splitlines()
    number = rng.choice([n for n, line in enumerate(lines) if "=" in line])
    name = lines[number].partition("=")[0]
    value = rng.choice(
        (
            *("-1", "0", "1e308", "nan", "inf", "true", '"x"', "[]", "[1, 2]", "{x = 1}", '""'),
            *("9" * 30, "1979-05-27", '["x"]', "[[1]]", "2147483648", "'\\'", '"\\u001b[2J"'),
            *("1" + "0" * 17, "100000", "3", "7", "0.5", "-0.0"),
        )
    )
    lines[number] = f"{name}= {value}"
    return "\n".join(lines)


def _copy(source, target):
    """As shutil.copy2, but makes a pipe of a pipe."""
    if os.path.islink(source) or os.path.isfile(source):
        return shutil.copy2(source, target, follow_symlinks=False)
    os.mkfifo(target)
    return target


def _changed(config, section, **changes):
    return {**config, section: {**config[section], **changes}}


def _npy_header(shape):
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header = header.ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header


def _wide_png(side):
    """A small file of a very large picture."""

    def chunk(kind, content):
        text = kind + content
        return struct.pack(">I", len(content)) + text + struct.pack(">I", zlib.crc32(text))

    rows = zlib.compress(bytes((1 + (side + 7) // 8) * side), 1)
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
