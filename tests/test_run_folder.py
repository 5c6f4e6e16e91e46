"""What the files of a run folder are called."""

import pytest

from sagan.errors import SaganError
from sagan.runs.folder import (
    checkpoint_called,
    checkpoint_files,
    checkpoint_path,
    is_run,
    sample_files,
    sample_path,
    settings_of,
    step_of,
)

STEPS = (2, 99_999_999, 100_000_000)


@pytest.mark.parametrize("path_of", [checkpoint_path, sample_path])
def test_files_are_in_the_order_of_their_steps_and_copies_are_none_of_them(tmp_path, path_of):
    for step in STEPS:
        path_of(tmp_path, step).parent.mkdir(exist_ok=True)
        path_of(tmp_path, step).touch()
    first = path_of(tmp_path, 2)
    for name in ("step-00000003 (copy)", "step-4", "step-²0000005", "step-٠٠٠٠٠٠٠٦", "step-text"):
        first.with_stem(name).touch()
    found = checkpoint_files(tmp_path) or [*sample_files(tmp_path).values()]
    assert found == [path_of(tmp_path, step) for step in STEPS]
    assert [step_of(file) for file in found] == [*STEPS]


def test_a_checkpoint_has_its_step_for_a_name(tmp_path):
    for step in STEPS:
        checkpoint_path(tmp_path, step).parent.mkdir(exist_ok=True)
        checkpoint_path(tmp_path, step).touch()
    assert checkpoint_called(tmp_path, "99999999") == checkpoint_path(tmp_path, 99_999_999)
    assert checkpoint_called(tmp_path, "newest") == checkpoint_path(tmp_path, 100_000_000)
    with pytest.raises(SaganError, match="no checkpoint '3'; there are 100000000, 99999999, 2"):
        checkpoint_called(tmp_path, "3")


def test_a_run_is_a_folder_with_settings(tmp_path, trained_run):
    assert is_run(trained_run)
    assert settings_of(trained_run).train.steps == 2
    assert not is_run(tmp_path)
    assert not is_run(tmp_path / "nowhere")
