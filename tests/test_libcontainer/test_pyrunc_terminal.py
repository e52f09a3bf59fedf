"""A process in the foreground is connected to its caller's terminal, which is restored later."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from launching import read_until
from pyrunc import Runtime, make_bundle

runtime = pytest.fixture(pyrunc.runtimes)


def _resize(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))


class Session:
    """A command on a terminal of its own."""

    def __init__(self, argv: list[str], rows: int, columns: int) -> None:
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.environ["PS1"] = "> "
            _resize(0, rows, columns)
            os.execv(argv[0], argv)

    def resize(self, rows: int, columns: int) -> None:
        _resize(self.fd, rows, columns)

    def type(self, text: bytes) -> None:
        os.write(self.fd, text)

    def until(self, what: str, seconds: float = 20) -> str:
        """What is written, up to what matches."""
        said = b""
        deadline = time.monotonic() + seconds
        while not re.search(what.encode(), said):
            assert time.monotonic() < deadline, said
            if select.select([self.fd], [], [], 0.1)[0]:
                said += os.read(self.fd, 65536)
        return said.decode()

    def is_raw(self) -> bool:
        return not termios.tcgetattr(self.fd)[3] & termios.ECHO

    def end(self) -> int:
        try:
            while os.read(self.fd, 65536):
                pass
        except OSError:
            pass
        pid, self.pid = self.pid, 0
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

    def close(self) -> None:
        if self.pid:
            os.kill(self.pid, signal.SIGKILL)
            self.end()
        os.close(self.fd)


@pytest.fixture
def session(runtime: Runtime, tmp_path: Path) -> Iterator[Any]:
    """`run` with a terminal in a bundle; a shell."""

    def terminal(spec: Any) -> None:
        spec["process"]["terminal"] = True

    bundle = make_bundle(tmp_path / "bundle", ["sh"], change=terminal)
    found = Session([*runtime.argv, "run", "-b", str(bundle), "box"], 33, 77)
    yield found
    found.close()


def test_run(session: Session) -> None:
    session.type(b"tty; stty size; echo re''ady\n")
    said = session.until("ready")
    assert "/dev/pts/0" in said
    assert "33 77" in said
    assert session.is_raw()
    session.resize(44, 88)
    # What is typed may come before the new size.
    session.type(b"until stty size | grep '44 88'; do sleep 0.05; done; echo resi''zed\n")
    session.until("resized")
    session.type(b"exit 7\n")
    assert session.end() == 7
    assert not session.is_raw()


def test_lines_in_a_file_end_as_in_any_file(runtime: Runtime, tmp_path: Path) -> None:
    def terminal(spec: Any) -> None:
        spec["process"]["terminal"] = True

    bundle = make_bundle(tmp_path / "bundle", ["echo", "one"], change=terminal)
    words = [*runtime.argv, "run", "-b", str(bundle), "box"]
    script = f'exec "$@" > {tmp_path}/said'
    session = Session(["/bin/sh", "-c", script, "-", *words], 24, 80)
    assert session.end() == 0
    session.close()
    assert (tmp_path / "said").read_bytes() == b"one\n"


def test_keys_that_signal_are_the_containers(session: Session) -> None:
    session.type(b"sh -c 'echo up; exec sleep 100'\n")
    session.until("up\r\n")
    session.type(b"\x03")
    session.type(b"echo st$?\n")
    session.until("st130")
    session.type(b"exit\n")
    session.end()


def test_a_process_that_does_not_read_blocks_nothing(session: Session) -> None:
    session.type(b"stty raw -echo; echo re''ady; sleep 0.5; echo awa''ke; stty sane\n")
    session.until("ready")
    for _ in range(64):
        session.type(b"x" * 512)
        time.sleep(0.001)
    session.until("awake")
    session.type(b"\x03\n\nexit 5\n")
    assert session.end() == 5


def test_exec(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    session = Session([*runtime.argv, "exec", "-t", "box", "sh"], 21, 42)
    try:
        session.type(b"tty; stty size\n")
        session.until("21 42")
        session.type(b"exit 3\n")
        assert session.end() == 3
    finally:
        session.close()


def test_without_any_terminal_there_is_none_to_join(runtime: Runtime, tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    done = runtime("exec", "-t", "box", "true", start_new_session=True)
    assert done.returncode == 255
    assert "exec failed: open /dev/tty: no such device or address" in done.stderr


def test_input_that_ends(runtime: Runtime, tmp_path: Path) -> None:
    """With a pipe for input, the terminal is the one of the output."""
    bundle = make_bundle(tmp_path / "bundle")
    runtime.good("run", "-d", "-b", bundle, "box", **pyrunc.NO_STREAMS)
    script = f"echo exit 4 | {' '.join(runtime.argv)} exec -t box sh; echo status=$?"
    master, slave = os.openpty()
    try:
        subprocess.run(["sh", "-c", script], stdout=slave, stderr=slave, check=True, timeout=20)
        read_until(master, b"status=4\r\n")
    finally:
        os.close(master)
        os.close(slave)


def test_a_terminal_that_is_hung_up_ends_the_container_and_is_no_fault(
    runtime: Runtime, tmp_path: Path
) -> None:
    """There is no terminal to give back as it was."""

    def terminal(spec: Any) -> None:
        spec["process"]["terminal"] = True

    script = f"trap 'exit {128 + signal.SIGHUP}' HUP; echo here; sleep 1000 & wait"
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", script], change=terminal)
    log = tmp_path / "log"
    argv = [*runtime.argv, "--log", str(log), "run", "-b", str(bundle), "box"]
    session = Session(argv, 24, 80)
    session.until("here")
    os.close(session.fd)
    _, status = os.waitpid(session.pid, 0)
    said = log.read_text()
    assert os.waitstatus_to_exitcode(status) == 128 + signal.SIGHUP, said
    assert not said
    assert not list(runtime.root.glob("*"))
