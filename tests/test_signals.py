import os
import signal
import subprocess
import sys
import threading

import pytest

from sagan.errors import StoppedError
from sagan.system.signals import ending_at_once, interruption

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]


def send(number):
    os.kill(os.getpid(), number)


def send_while_cleaning_up(first, second):
    try:
        send(first)
    finally:
        send(second)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_is_told_and_the_work_goes_on(number, capsys):
    with interruption() as asked:
        assert (asked.requested, asked.by) == (False, "")
        send(number)
        assert (asked.requested, asked.by) == (True, number.name)
    told = "\nfinishing this step, then saving"
    typed = "; Ctrl-C again stops at once" if number == signal.SIGINT else ""
    assert capsys.readouterr().err == f"{told}{typed}\n"


def test_only_ctrl_c_acts_at_once_when_repeated(capsys):
    usual = signal.getsignal(signal.SIGINT)
    with interruption() as asked:
        for _ in range(3):
            send(signal.SIGTERM)
        assert asked.by == "SIGTERM"
        with pytest.raises(KeyboardInterrupt):
            send(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is usual
    assert capsys.readouterr().err.count("finishing") == 1


def test_what_may_be_cut_off_is():
    with interruption() as asked:
        with pytest.raises(StoppedError, match="stopped by SIGTERM"), asked.acting_at_once():
            send(signal.SIGTERM)
        with pytest.raises(StoppedError, match="stopped by SIGTERM"), asked.acting_at_once():
            pytest.fail("it begins though the end was asked for")


def test_after_what_may_be_cut_off_work_goes_on_again():
    with interruption() as asked:
        with asked.acting_at_once():
            pass
        send(signal.SIGTERM)
        assert asked.requested


def test_what_must_not_be_cut_off_ends_first():
    done = []

    def work(asked):
        with asked.acting_at_once():
            with asked.acting_later():
                send(signal.SIGTERM)
                done.append("first")
            done.append("next")

    with interruption() as asked, pytest.raises(StoppedError, match="stopped by SIGTERM"):
        work(asked)
    assert done == ["first"]
    with interruption(asked):
        assert not asked.requested


def test_where_nothing_is_to_be_saved_the_end_comes_once():
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(StoppedError, match="stopped by SIGHUP"), ending_at_once():
        send_while_cleaning_up(signal.SIGHUP, signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_without_anybody_to_tell_a_signal_is_heard(monkeypatch):
    class Nowhere:
        def write(self, text):
            raise BrokenPipeError

    for stream in (None, Nowhere()):
        with interruption() as asked:
            monkeypatch.setattr(sys, "stderr", stream)
            send(signal.SIGTERM)
            assert asked.requested


def test_outside_of_the_main_thread_work_goes_on_unheard():
    found = []

    def work():
        with interruption() as asked, ending_at_once():
            found.append(asked.requested)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [False]


IMPORTING = """
import os, signal, sys


class Signal:
    def find_spec(name, *_):
        if name == "sagan.cli.models":
            os.kill(os.getpid(), signal.{name})


sys.meta_path.insert(0, Signal)
sys.argv = ["sagan", "{command}"]
from sagan.__main__ import command

command()
"""


@pytest.mark.parametrize(
    ("command", "name", "code", "told"),
    [
        ("train", "SIGTERM", 75, "stopped; the same command continues\n"),
        ("demo", "SIGUSR1", 75, "stopped; the same command continues\n"),
        ("train", "SIGINT", 130, "stopped\n"),
        ("sample", "SIGTERM", -signal.SIGTERM, ""),
    ],
)
def test_a_signal_during_the_first_imports_ends_quietly(command, name, code, told):
    script = IMPORTING.format(command=command, name=name)
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (code, "", told)
