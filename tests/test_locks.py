import json
import os
import subprocess
import sys
import time

import pytest

from sagan.errors import FaultError
from sagan.system import locks
from sagan.system.locks import Holder, holder_of, holding, is_locked

HOLDING = """
import sys, time
from pathlib import Path
from sagan.system.locks import holding

with holding(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "run" / "run.lock"


@pytest.fixture
def holder(lock):
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDING, str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def left_by(lock, host, pid=2**22 + 1, age=0.0):
    """A lock as a process of a host leaves it that dies."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    lock.write_text(json.dumps({"pid": pid, "host": host, "since": "2026-01-01 00:00:00"}))
    os.utime(lock, (time.time() - age,) * 2)


def test_a_lock_names_its_holder_and_goes_with_its_folder(lock):
    with holding(lock):
        found = holder_of(lock)
        assert (found.pid, found.host) == (os.getpid(), locks._this_host())
        assert is_locked(lock)
        with holding(lock):  # once more in the same process
            pass
        assert is_locked(lock)
    assert not lock.parent.exists()
    assert not is_locked(lock)


def test_a_folder_with_something_in_it_stays(lock):
    with holding(lock):
        (lock.parent / "kept").write_text("")
    assert [path.name for path in lock.parent.iterdir()] == ["kept"]


def test_a_second_process_is_refused_until_the_first_ends_by_itself(lock, holder):
    assert is_locked(lock)
    expected = rf"run is in use by process {holder.pid} on .* since 20.*\(kill {holder.pid}\)$"
    with pytest.raises(FaultError, match=expected), holding(lock):
        pass
    assert holder.communicate("", timeout=10) == ("", None)
    assert not lock.exists()
    with holding(lock):
        assert holder_of(lock).pid == os.getpid()


def test_the_lock_of_a_killed_process_is_free_at_once(lock, holder, capsys):
    holder.kill()
    holder.wait()
    assert not is_locked(lock)
    assert holder_of(lock).pid == holder.pid
    with holding(lock):
        assert holder_of(lock).pid == os.getpid()
    assert f"is taken over from process {holder.pid} on" in capsys.readouterr().err


FORKING = """
import os, sys, time
from pathlib import Path
from sagan.system.locks import holding

with holding(Path(sys.argv[1])):
    if child := os.fork():
        print(child, flush=True)
        os._exit(0)
    os.close(1)
    time.sleep(60)
"""


def test_a_child_of_a_dead_holder_does_not_hold_on(lock):
    command = [sys.executable, "-c", FORKING, str(lock)]
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=20)
    child = int(ended.stdout)
    try:
        with holding(lock):
            os.kill(child, 0)
    finally:
        os.kill(child, 9)


def test_of_another_host_a_silent_lock_is_taken_over(lock, capsys):
    left_by(lock, "elsewhere", age=locks.SILENCE + 60)
    assert not is_locked(lock)
    with holding(lock):
        assert holder_of(lock).host == locks._this_host()
    assert "is taken over from process 4194305 on elsewhere since 2026" in capsys.readouterr().err
    assert "waiting" not in capsys.readouterr().err


def test_of_another_host_a_holder_that_gives_a_sign_of_life_is_respected(lock, monkeypatch):
    left_by(lock, "elsewhere", age=100)
    assert is_locked(lock)
    monkeypatch.setattr(locks.time, "sleep", lambda _: os.utime(lock))
    with pytest.raises(FaultError, match=r"process 4194305 on elsewhere since 2026-.* its end$"):
        holding(lock).__enter__()
    assert holder_of(lock).host == "elsewhere"


def test_of_another_host_a_holder_that_stays_silent_is_waited_for(lock, monkeypatch, capsys):
    left_by(lock, "elsewhere", age=locks.SILENCE - 0.3)
    monkeypatch.setattr(locks, "_LOOK", 0.05)
    with holding(lock):
        pass
    assert "waiting for a sign of life of process 4194305 on elsewhere" in capsys.readouterr().err


def test_the_clock_of_this_host_does_not_matter(lock, monkeypatch):
    left_by(lock, "elsewhere", age=locks.SILENCE + 60)
    for jump in (-1e6, 1e6):
        monkeypatch.setattr(time, "time", lambda: jump)  # noqa: B023
        assert not is_locked(lock)


def test_a_holder_gives_signs_of_life(lock, monkeypatch):
    monkeypatch.setattr(locks, "BEAT", 0.05)
    with holding(lock):
        os.utime(lock, (0, 0))
        for _ in range(100):
            time.sleep(0.05)
            if lock.stat().st_mtime > 1e9:
                break
        assert lock.stat().st_mtime > 1e9


def test_without_locks_of_the_system_the_signs_decide(lock, monkeypatch):
    import fcntl

    def none(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(fcntl, "flock", none)
    left_by(lock, locks._this_host(), age=locks.SILENCE + 60)
    with holding(lock):
        assert holder_of(lock).pid == os.getpid()
    left_by(lock, locks._this_host())
    assert is_locked(lock)


def test_a_lock_that_is_removed_meanwhile_is_not_held_twice(lock, monkeypatch):
    """Its holder removes it between our opening and our locking: the next file is locked."""
    lock.parent.mkdir()
    lock.write_text("")
    usual, looked = locks._locks, []

    def late(file, **options):
        if not looked:
            lock.unlink()
        looked.append(file)
        return usual(file, **options)

    monkeypatch.setattr(locks, "_locks", late)
    with holding(lock):
        assert len(looked) == 2
        assert os.path.samestat(os.fstat(looked[1].fileno()), lock.stat())


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"pid": {}}', b"\xff", b"[" * 100_000])
def test_garbage_in_a_lock_is_nobody(lock, garbage):
    lock.parent.mkdir()
    lock.write_bytes(garbage)
    assert holder_of(lock) is None
    with holding(lock):
        assert holder_of(lock).pid == os.getpid()


def test_a_name_of_a_host_is_shown_without_what_terminals_obey():
    assert str(Holder(1, "\x1b[2J", "now")) == "process 1 on \\x1b[2J since now"
