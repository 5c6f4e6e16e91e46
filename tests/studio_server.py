"""A real server of the studio in a process of its own, and clients that spare it nothing."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import sagan

PICTURE = json.dumps({"latent": [0.5] * 128, "shares": [1] + [0] * 13}).encode()


class Server:
    """What runs, and where."""

    def __init__(self, process, port):
        self.process = process
        self.port = port
        self.output = ""

    def raw(self, content, *, seconds=20.0):
        """Sends bytes as they are; what comes back, as far as it comes."""
        received = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=seconds) as connection:
            try:
                connection.sendall(content)
                while block := connection.recv(2**16):
                    received += block
            except OSError:
                pass  # closed early, or nothing more comes
        return received

    def draw(self):
        """A picture with its attention: the bytes of the answer."""
        asked = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/api/models/0/draw",
            PICTURE,
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return answer.read()

    def draw_when_free(self, *, seconds=20.0):
        """As :meth:`draw`, after what waits in the queue."""
        end = time.monotonic() + seconds
        while True:
            try:
                return self.draw()
            except urllib.error.HTTPError as error:
                if error.code != 503 or time.monotonic() > end:
                    raise
                time.sleep(0.1)

    def memory(self):
        """Bytes that the process holds."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def end(self, number=signal.SIGINT):
        """Ends it; its exit code and what it wrote on stderr."""
        self.process.send_signal(number)
        rest, errors = self.process.communicate(timeout=20)
        self.output += rest
        return self.process.returncode, errors


def command(*arguments):
    """The command as a process."""
    source = str(Path(sagan.__file__).parent.parent)
    return subprocess.Popen(
        [sys.executable, "-m", "sagan", "studio", "--no-open", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": source},
    )


@contextmanager
def serving(*arguments):
    """A server that is ready, at a free port."""
    process = command("--port", "0", *arguments)
    try:
        line = process.stdout.readline()
        found = re.search(r":(\d+)/", line)
        assert found, process.communicate(timeout=20)
        server = Server(process, int(found[1]))
        server.output = line
        yield server
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def until(condition, seconds=10.0):
    """Waits for something to come true."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
