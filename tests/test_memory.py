import pytest
import torch

from sagan.system import memory
from sagan.system.memory import is_out_of_memory, memory_of, readable


def test_this_machine_says_how_much_it_has():
    found = memory_of(torch.device("cpu"))
    assert found is not None
    assert 2**20 < found.available <= found.total


def test_control_groups_limit_what_there_is(monkeypatch, tmp_path):
    group = tmp_path / "job"
    group.mkdir()
    (group / "memory.max").write_text(f"{2**28}\n")
    (group / "memory.current").write_text(f"{2**27}\n")
    (group / "memory.stat").write_text(f"anon 1\ninactive_file {2**26}\n")
    own = tmp_path / "own"
    own.write_text("0::/job\n")
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_OWN_CGROUPS", own)
    found = memory_of(torch.device("cpu"))
    assert (found.total, found.available) == (2**28, 2**28 - 2**27 + 2**26)
    (group / "memory.max").write_text("max\n")
    assert memory_of(torch.device("cpu")).total > 2**28


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (ValueError("can't allocate memory"), False),
    ],
    ids=str,
)
def test_refusals_of_memory_are_known(error, expected):
    assert is_out_of_memory(error) is expected


def test_a_real_refusal_is_known():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**55, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_sizes_in_words():
    assert readable(3 * 2**29) == "1.5 GiB"
    assert readable(45 * 2**20) == "45 MiB"
