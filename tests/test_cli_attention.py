import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from test_cli import mistake, pixels, run

from sagan.runs import checkpoint as checkpoints
from sagan.runs.folder import checkpoint_files


@pytest.fixture
def picture(tmp_path):
    """A file that is neither square nor of the network's size."""
    path = tmp_path / "photo.jpg"
    noise = np.random.default_rng(0).integers(0, 256, (40, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_generated_and_given_pictures(capsys, tmp_path, trained_run, picture):
    figure = tmp_path / "attention.png"
    assert run("attention", trained_run, "--seed", 3, "-o", figure) == 0
    first, *remarks, last = capsys.readouterr().out.splitlines()
    for words in ("generator at 16 x 16: gamma ", "largest weight", "median overlap of the points"):
        assert words in first
    [remark] = remarks
    assert remark.startswith("  hardly used: it adds 0.")  # after two steps
    assert last == str(figure)
    generated = pixels(figure)
    assert run("attention", trained_run, "--picture", picture, "-o", figure) == 0
    automatic = pixels(figure)
    assert automatic.shape == generated.shape
    assert not np.array_equal(automatic, generated)
    judge = ["attention", trained_run, "--picture", picture, "--class", "light", "-o", figure]
    assert run(*judge, "--at", "3,4", "--at", "20,20") == 0
    assert pixels(figure).shape[0] < automatic.shape[0]
    assert run(*judge, "--grid", 3, "--resolution", 16) == 0
    assert pixels(figure).shape[0] > automatic.shape[0]


def test_a_class_may_be_given_by_its_number(tmp_path, trained_run):
    figures = [tmp_path / "name.png", tmp_path / "number.png"]
    for class_name, figure in zip(("light", "1"), figures, strict=True):
        assert run("attention", trained_run, "--class", class_name, "-o", figure) == 0
    np.testing.assert_array_equal(*map(pixels, figures))


def test_several_pictures_are_drawn_one_below_the_other(tmp_path, trained_run, picture):
    other = tmp_path / "other.png"
    Image.new("RGB", (32, 32), "red").save(other)
    figures = []
    for files in ([picture], [other], [picture, other]):
        figure = tmp_path / "figure.png"
        flags = [part for file in files for part in ("--picture", file)]
        assert run("attention", trained_run, *flags, "-o", figure) == 0
        figures.append(pixels(figure))
    first, second, both = figures
    np.testing.assert_array_equal(both, np.concatenate([first, second]))


def test_several_seeds_are_drawn_one_below_the_other(capsys, tmp_path, trained_run):
    figure = tmp_path / "attention.png"
    heights = {}
    for seeds in ("2", "0-3"):
        assert run("attention", trained_run, "--seeds", seeds, "-o", figure) == 0
        heights[seeds] = pixels(figure).shape[0]
    assert heights["0-3"] == 4 * heights["2"]
    assert run("attention", trained_run, "--seed", 2, "-o", figure) == 0
    assert pixels(figure).shape[0] == heights["2"]
    capsys.readouterr()
    assert "--seeds and --seed exclude" in mistake(
        capsys, "attention", trained_run, "--seeds", "0-3", "--seed", 1
    )
    assert "--seeds: how many 65" in mistake(capsys, "attention", trained_run, "--seeds", "0-64")


def test_raw_rows(capsys, tmp_path, trained_run):
    figure, raw = tmp_path / "attention.png", tmp_path / "rows.npy"
    assert run("attention", trained_run, "--grid", 2, "--raw", raw, "-o", figure) == 0
    assert capsys.readouterr().out.endswith(
        f"\n{figure}\n{raw}: 4 points 8,8 24,8 8,24 24,24 of 64 keys\n"
    )
    rows = np.load(raw)
    assert rows.shape == (4, 64)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows.sum(1), 1, atol=1e-5)


def test_raw_rows_of_several_layers(capsys, tmp_path):
    from conftest import tiny

    from sagan.nn.residual import Generator

    config = replace(tiny(), generator=replace(tiny().generator, attention=(8, 16)))
    network = Generator(config.generator, resolution=32, num_classes=2)
    model = tmp_path / "two.safetensors"
    parts = {"generator": network.state_dict()}
    checkpoints.save(
        checkpoints.Checkpoint(config=config, class_names=("dark", "light"), step=1, parts=parts),
        model,
    )
    figure, raw = tmp_path / "attention.png", tmp_path / "rows.npy"
    assert run("attention", model, "--at", "3,4", "--raw", raw, "-o", figure) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        f"{tmp_path / 'rows-8.npy'}: 1 points 3,4 of 16 keys",
        f"{tmp_path / 'rows-16.npy'}: 1 points 3,4 of 64 keys",
    ]
    assert not raw.exists()
    assert np.load(tmp_path / "rows-8.npy").shape == (1, 16)
    for grid in (["--grid", 16, "--resolution", 16], ["--grid", 8]):
        assert run("attention", model, *grid, "-o", figure) == 0
    capsys.readouterr()
    line = mistake(capsys, "attention", model, "--grid", 9, "-o", figure)
    assert "9 x 9" in line
    assert "8 x 8" in line
    look = ["attention", model, "--picture", figure, "-o", tmp_path / "none.png"]
    assert "no discriminator" in mistake(capsys, *look)


def test_layers_of_one_side_are_all_selected_and_have_files_of_their_own(capsys, tmp_path):
    from conftest import tiny

    from sagan.nn.residual import Discriminator

    blocks = {"channels": (1, 2, 2, 2), "final_resolution": 8, "attention_blocks": (1, 2, 3)}
    settings = replace(tiny().discriminator, attention=(), attention_pooling=False, **blocks)
    config = replace(tiny(), discriminator=settings)
    network = Discriminator(config.discriminator, resolution=32, num_classes=2)
    model, picture = tmp_path / "three.safetensors", tmp_path / "red.png"
    parts = {"discriminator": network.state_dict()}
    checkpoints.save(
        checkpoints.Checkpoint(config=config, class_names=("dark", "light"), step=1, parts=parts),
        model,
    )
    Image.new("RGB", (32, 32), "red").save(picture)
    end = ["--raw", tmp_path / "rows.npy", "-o", tmp_path / "attention.png"]
    look = ["attention", model, "--picture", picture, "--resolution", 8, "--grid", 2, *end]
    assert run(*look) == 0
    assert [line.split(": ")[1] for line in capsys.readouterr().out.splitlines()[-2:]] == [
        "4 points 8,8 24,8 8,24 24,24 of 64 keys"
    ] * 2
    for name in ("8", "8-2"):
        assert np.load(tmp_path / f"rows-{name}.npy").shape == (4, 64)
    assert not (tmp_path / "rows-16.npy").exists()


def test_statistics(capsys, tmp_path, trained_run):
    output = tmp_path / "statistics.json"
    assert run("attention", trained_run, "--statistics", "--samples", 2, "-o", output) == 0
    printed = capsys.readouterr().out
    for word in (
        "generator",
        "2 training pictures",
        "uniform attention",
        "dark",
        "light",
        str(output),
    ):
        assert word in printed
    assert [layer["network"] for layer in json.loads(output.read_text())] == [
        "generator",
        "discriminator",
    ]


def test_timeline(capsys, tmp_path, trained_run):
    figure = tmp_path / "timeline.png"
    assert run("attention", trained_run, "--timeline", "--at", "3,4", "-o", figure) == 0
    assert capsys.readouterr().out == f"{figure}\n"
    assert pixels(figure).shape[1] > 600


def test_the_long_range_share_over_training(capsys, tmp_path, trained_run):
    figure = tmp_path / "reach.png"
    look = ["attention", trained_run, "--statistics", "--timeline", "--samples", 2]
    assert run(*look, "--class", "light", "-o", figure) == 0
    *lines, first, second = capsys.readouterr().out.splitlines()
    assert (first, second) == (str(figure), str(tmp_path / "reach.csv"))
    assert [line.split()[0] for line in lines if line.startswith(("mean ", "light ", "dark "))] == [
        "mean",
        "light",
    ] * 2
    assert pixels(figure).shape[1] > 600
    table = (tmp_path / "reach.csv").read_text().splitlines()
    assert table[0].startswith("variant,network,place,pictures,class,step,run,outside,uniform")
    assert len(table) == 1 + 2 * 2
    wrong = mistake(capsys, *look, "-o", tmp_path / "reach.csv")
    assert "reach.csv" in wrong
    assert "no run folder" in mistake(capsys, "attention", tmp_path / "x", *look[2:])


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--at", "3,4", "--grid", "2"], ["--at", "--grid", "leave one"]),
        (["--seed", "0", "--picture", "a.png"], ["--seed", "--picture"]),
        (["--truncation", "0.5", "--picture", "a.png"], ["--truncation", "--picture"]),
        (["--statistics", "--timeline", "--at", "3,4"], ["--statistics", "--at"]),
        (["--statistics", "--raw", "a.npy"], ["--statistics", "--raw"]),
        (["--timeline", "--picture", "a.png"], ["--timeline", "--picture"]),
        (["--timeline", "--at", "3,4", "--at", "5,6"], ["--timeline", "one point"]),
        (["--samples", "3"], ["--samples", "--statistics"]),
        (["--statistics", "--samples", "0"], ["at least 1"]),
        (["--grid", "0"], ["0 x 0", "1 to 16"]),
        (["--grid", "32"], ["32 x 32", "16 x 16", "1 to 16"]),
        (["--picture", "a.png", "--picture", "b.png", "--raw", "c.npy"], ["--raw", "once"]),
        (["--at", "40,2"], ["40,2", "between 0 and 31"]),
        (["--resolution", "8"], ["no attention at 8", "16"]),
        (["--picture", "no-such.png"], ["no-such.png"]),
        (["--class", "drak"], ["drak", "dark, light"]),
    ],
)
def test_mistakes(capsys, tmp_path, trained_run, flags, words):
    line = mistake(capsys, "attention", trained_run, *flags, "-o", tmp_path / "figure.png")
    for word in words:
        assert word in line
    assert not (tmp_path / "figure.png").exists()


def test_mistakes_with_files(capsys, tmp_path, trained_run, picture):
    end = ["-o", tmp_path / "figure.png"]
    picture.write_bytes(b"no picture")
    assert "photo.jpg" in mistake(capsys, "attention", trained_run, "--picture", picture, *end)
    one = checkpoint_files(trained_run)[-1]
    assert "no run folder" in mistake(capsys, "attention", one, "--timeline", *end)
    assert "no run folder" in mistake(capsys, "attention", tmp_path, "--timeline", *end)


def test_weights_that_are_not_finite_end_in_one_line(capsys, tmp_path, trained_run):
    checkpoint = checkpoints.load(checkpoint_files(trained_run)[-1])
    parts = {
        name: {key: value * np.nan if "attention" in key else value for key, value in part.items()}
        for name, part in checkpoint.parts.items()
    }
    model = tmp_path / "broken.safetensors"
    checkpoints.save(replace(checkpoint, parts=parts), model)
    for flags, name in (([], "none.png"), (["--statistics"], "none.json")):
        line = mistake(capsys, "attention", model, *flags, "-o", tmp_path / name)
        assert "broken.safetensors holds numbers that are not finite, in " in line
        assert not (tmp_path / name).exists()
