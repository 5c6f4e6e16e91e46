from conftest import tiny

from sagan.training.progress import Progress, _duration

TERMS = {"discriminator_real": 1.0, "discriminator_fake": 0.5, "generator": -0.25}


def test_off_a_terminal_a_line_per_interval_and_one_at_the_end(capsys):
    with Progress(tiny(steps=5, log_interval=2).train, 0) as progress:
        for _ in range(5):
            progress.advance(TERMS)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["2/5", "4/5", "5/5"]
    assert "D 1.50 G -0.25" in lines[0]
    assert lines[-1].endswith("0:00 left")


def test_rate_counts_pictures_of_all_discriminator_updates(capsys):
    with Progress(tiny(discriminator_steps=3).train, 0) as progress:
        progress.advance(TERMS)
        progress._seconds_per_step = 0.5
        assert progress.rate() == {"images_per_second": 24.0}


def test_durations():
    assert _duration(59.6) == "1:00"
    assert _duration(3723) == "1:02:03"
    assert _duration(200_000) == "2 d 7 h"
