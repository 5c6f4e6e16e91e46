import os
import subprocess
import sys

import pytest

from sagan.system.streams import Lasting, outliving_readers


@pytest.fixture
def pipe():
    """The end of a pipe that is written to, as a text stream, and the other end."""
    read, write = os.pipe()
    with open(write, "w") as stream:
        yield stream, read


def test_what_is_read_is_written(pipe):
    stream, read = pipe
    lasting = Lasting(stream)
    assert lasting.write("one\n") == 4
    lasting.writelines(["two\n", "three\n"])
    lasting.flush()
    assert os.read(read, 100) == b"one\ntwo\nthree\n"
    assert lasting.fileno() == stream.fileno()
    os.close(read)


def test_without_a_reader_it_goes_on_without_a_word(pipe):
    stream, read = pipe
    lasting = Lasting(stream)
    os.close(read)
    for _ in range(3):
        assert lasting.write("x" * 10_000) == 10_000
        lasting.flush()
    assert os.fstat(stream.fileno()).st_rdev == os.stat(os.devnull).st_rdev


def test_a_stream_that_is_closed_is_nobody(pipe):
    stream, read = pipe
    lasting = Lasting(stream)
    stream.close()
    os.close(read)
    assert lasting.write("x") == 1
    lasting.flush()
    closed = Lasting(None)
    assert closed.write("x") == 1
    lasting.close()
    closed.close()


def test_for_a_while_the_streams_of_the_program_last(monkeypatch, pipe):
    stream, read = pipe
    os.close(read)
    monkeypatch.setattr(sys, "stderr", stream)
    stdout = sys.stdout
    with outliving_readers(), outliving_readers():
        sys.stderr.write("lost\n")
        sys.stderr.flush()
        assert isinstance(sys.stdout, Lasting)
    assert (sys.stdout, sys.stderr) == (stdout, stream)


def test_the_exit_code_is_the_same_when_nobody_reads_why(pipe, tmp_path):
    stream, read = pipe
    os.close(read)
    command = [sys.executable, "-m", "sagan", "check", str(tmp_path / "none")]
    assert subprocess.run(command, stderr=stream, check=False).returncode == 2
