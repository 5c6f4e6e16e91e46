from types import SimpleNamespace

from conftest import tiny

from sagan.system import progress as progress_module
from sagan.system.progress import duration, progress
from sagan.training import watch as training_progress
from sagan.training.watch import Progress

TERMS = {"discriminator_real": 1.0, "discriminator_fake": 0.5, "generator": -0.25}


def test_off_a_terminal_a_line_per_interval_and_one_at_the_end(capsys):
    with Progress(tiny(steps=5, log_interval=2).train, 0) as progress:
        for _ in range(5):
            progress.advance([TERMS])
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["2/5", "4/5", "5/5"]
    assert "D 1.50 G -0.25" in lines[0]
    assert lines[-1].endswith("0:00 left")


def test_rate_counts_pictures_of_all_discriminator_updates(capsys):
    with Progress(tiny(discriminator_steps=3).train, 0) as progress:
        progress.advance([TERMS])
        progress._seconds_per_step = 0.5
        assert progress.rate() == {"images_per_second": 24.0}


def test_what_happens_in_the_first_step_alone_is_forgotten(monkeypatch, capsys):
    times = iter([0.0, 90.0, 91.0, 92.0])
    monkeypatch.setattr(
        training_progress, "time", SimpleNamespace(perf_counter=lambda: next(times))
    )
    with Progress(tiny(steps=9).train, 0) as progress:
        for _ in range(3):
            progress.advance([TERMS])
    assert progress.rate() == {"images_per_second": tiny().train.batch_size / 1.0}


def test_durations():
    assert duration(59.6) == "1:00"
    assert duration(3723) == "1:02:03"
    assert duration(200_000) == "2 d 7 h"


def clock(monkeypatch, *times):
    remaining = iter(times)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: next(remaining)))


def test_on_a_terminal_a_bar_shows_only_what_lasts(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    for seconds in (0.1, 2.0):
        clock(monkeypatch, 0.0, seconds)
        with progress("Packing", 1) as advance:
            advance()
        captured = capsys.readouterr()
        assert captured.out == ""
        assert ("Packing" in captured.err) == (seconds > 1)


def test_off_a_terminal_a_line_each_half_minute_says_the_time_left(monkeypatch, capsys):
    clock(monkeypatch, 0.0, 20.0, 40.0, 60.0)
    with progress("Packing", 10) as advance:
        for _ in range(3):
            advance(2)
    assert capsys.readouterr().err == "Packing: 4 of 10, 1:00 left\n"
