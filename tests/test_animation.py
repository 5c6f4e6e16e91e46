import numpy as np
import pytest
from PIL import Image

from sagan.errors import SaganError
from sagan.sampling.animation import save_animation


@pytest.fixture
def frames():
    """Ten frames of odd sides: a bright square that wanders over a slope of grey."""
    slope = np.linspace(0, 200, 35, dtype=np.uint8)
    frames = np.broadcast_to(slope, (10, 3, 33, 35)).copy()
    for number, frame in enumerate(frames):
        frame[:2, 8:16, 2 * number : 2 * number + 8] = 255
    return frames


def decoded(path):
    if path.suffix == ".mp4":
        import av

        with av.open(str(path)) as container:
            pictures = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    else:
        with Image.open(path) as image:
            assert image.info["loop"] == 0
            pictures = []
            for number in range(image.n_frames):
                image.seek(number)
                image.load()
                assert image.info["duration"] == 40
                pictures.append(np.asarray(image.convert("RGB")))
    return np.stack(pictures).transpose(0, 3, 1, 2)


@pytest.mark.parametrize(
    ("suffix", "tolerance"), [(".apng", 0), (".gif", 2), (".mp4", 2), (".webp", 4)]
)
def test_files_decode_to_the_frames(frames, tmp_path, suffix, tolerance):
    path = save_animation(frames, tmp_path / f"film{suffix}", frames_per_second=25)
    found = decoded(path)
    assert len(found) == 10
    if suffix == ".mp4":
        assert found.shape[2:] == (34, 36)
        assert np.abs(found[:, :, 33].astype(int) - found[:, :, 32]).mean() <= tolerance
        found = found[:, :, :33, :35]
    assert np.abs(found.astype(int) - frames).mean() <= tolerance
    assert list(tmp_path.iterdir()) == [path]


def test_an_mp4_says_its_speed(frames, tmp_path):
    import av

    path = save_animation(frames, tmp_path / "film.mp4", frames_per_second=12.5)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert float(stream.average_rate) == pytest.approx(12.5)
        assert stream.codec_context.pix_fmt == "yuv420p"
        # Matrix and range by their numbers in H.264: BT.601, limited.
        assert (stream.codec_context.colorspace, stream.codec_context.color_range) == (6, 1)


def test_a_gif_keeps_time_and_its_palette(frames, tmp_path):
    path = save_animation(frames, tmp_path / "film.gif", frames_per_second=24)
    durations, palettes = [], set()
    with Image.open(path) as film:
        for number in range(film.n_frames):
            film.seek(number)
            durations.append(film.info["duration"])
            palettes.add(bytes(film.global_palette.palette))
    assert sum(durations) == 420  # 10 / 24 of a second, in whole hundredths
    assert set(durations) == {40, 50}
    assert len(palettes) == 1


@pytest.mark.parametrize("suffix", [".apng", ".gif", ".webp"])
def test_the_last_frame_is_held(frames, tmp_path, suffix):
    path = save_animation(frames, tmp_path / f"film{suffix}", frames_per_second=24, hold=1.5)
    durations = []
    with Image.open(path) as film:
        for number in range(film.n_frames):
            film.seek(number)
            film.load()
            durations.append(film.info["duration"])
    assert sum(durations) == pytest.approx(10_000 / 24 + 1500, abs=5)
    assert durations[-1] > 1500 > 50 > max(durations[:-1]) - 1


def test_an_mp4_repeats_its_last_frame(frames, tmp_path):
    path = save_animation(frames, tmp_path / "film.mp4", frames_per_second=10, hold=0.5)
    found = decoded(path)
    assert len(found) == 15
    assert np.abs(found[14].astype(int) - found[9]).mean() < 1


@pytest.mark.parametrize("suffix", [".APNG", ".gif", ".mp4", ".webp"])
def test_frames_may_come_one_by_one(frames, tmp_path, suffix):
    whole = save_animation(frames, tmp_path / f"whole{suffix}")
    piecemeal = save_animation(iter(frames), tmp_path / f"piecemeal{suffix}")
    assert whole.read_bytes() == piecemeal.read_bytes()


def test_mistakes_are_refused_and_leave_nothing(frames, tmp_path, monkeypatch):
    with pytest.raises(SaganError, match=r"must end in .mp4, .webp, .gif, .apng"):
        save_animation(frames, tmp_path / "film.avi")
    for suffix, rate in (
        (".gif", 0),
        (".gif", 51),
        (".webp", 51),
        (".apng", 101),
        (".mp4", float("nan")),
    ):
        with pytest.raises(SaganError, match="frames per second are out of range"):
            save_animation(frames, tmp_path / f"film{suffix}", frames_per_second=rate)
    for hold in (-1, 61, float("nan")):
        with pytest.raises(SaganError, match="last frame cannot be held"):
            save_animation(frames, tmp_path / "film.gif", hold=hold)
    (tmp_path / "file").touch()
    with pytest.raises(SaganError, match="choose another place"):
        save_animation(frames, tmp_path / "file" / "film.gif")
    monkeypatch.setattr("sagan.sampling.animation.find_spec", lambda _: None)
    with pytest.raises(SaganError, match="run: pip install av"):
        save_animation(frames, tmp_path / "film.mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
