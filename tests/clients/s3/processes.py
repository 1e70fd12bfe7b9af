"""Programs that the tests start, and what they say over HTTP."""

from __future__ import annotations

import atexit
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# How long a program may take to be ready, and an answer to come, in seconds.
START = 60
ANSWER = 60

_taken: set[int] = set()

# Whoever is told to end stops what was started.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def free_port() -> int:
    """A port that nobody has, and that was not given out before."""
    while True:
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        if port not in _taken:
            _taken.add(port)
            return port


def until(what: str, holds, patience: float = START):
    """Waits until something holds, and gives what that is."""
    end = time.monotonic() + patience
    while True:
        seen = holds()
        if seen:
            return seen
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {patience} s")
        time.sleep(0.1)


class Answer:
    """What a server answered."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body


def ask(port: int, method: str, path: str, body=None, headers=None) -> Answer:
    """Asks a server on this machine. A body that is no bytes is sent in chunks."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER)
    try:
        connection.request(
            method,
            path,
            body,
            headers or {},
            encode_chunked=body is not None and not isinstance(body, bytes),
        )
        response = connection.getresponse()
        found = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, found, response.read())
    finally:
        connection.close()


class Process:
    """A program that runs until it is stopped, or killed."""

    def __init__(self, name: str, command: list[str], logs: Path, **more) -> None:
        self.name = name
        self.log_file = logs / f"{name}.log"
        with self.log_file.open("ab") as log:
            self.child = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **more
            )
        atexit.register(self.stop)

    def check(self) -> None:
        """Complains if it has ended."""
        code = self.child.poll()
        if code is not None:
            log = self.log_file.read_text(errors="replace")
            raise AssertionError(f"{self.name} has ended with {code}: {log[-4000:]}")

    def kill(self) -> None:
        """As `kill -9` does."""
        self.child.kill()
        self.child.wait()

    def stop(self) -> None:
        if self.child.poll() is not None:
            return
        self.child.send_signal(signal.SIGTERM)
        try:
            self.child.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()


def variable(name: str) -> str:
    """A variable that the runner, tests/clients/run, sets."""
    value = os.environ.get(name)
    if not value:
        raise RuntimeError(f"{name} is not set: start these tests with tests/clients/run")
    return value
