"""A container can report to its service manager that it is ready (sd_notify(3))."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import addresses
import pyrunc
from needs import needs
from processes import wait_until
from pyrunc import Runtime, make_bundle

runtime = pytest.fixture(pyrunc.runtimes)
TELL = """
import os, socket, time
with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
    s.sendto(b"STATUS=working", os.environ["NOTIFY_SOCKET"])
    s.sendto(b"READY=1\\nSTATUS=up", os.environ["NOTIFY_SOCKET"])
time.sleep({seconds})
"""


class Manager:
    """Who waits for READY=1."""

    def __init__(self, path: Path, listening: socket.socket) -> None:
        self.socket = listening
        self.env = os.environ | {"NOTIFY_SOCKET": str(path)}

    def receive(self) -> bytes:
        data, fds, _, _ = socket.recv_fds(self.socket, 4096, 4)
        for fd in fds:  # a barrier: closing it says that we have come to it
            os.close(fd)
        return data


@pytest.fixture(params=[20, 250])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    """At a path that is longer than the address of a socket, too."""
    path = addresses.long_path(tmp_path, request.param)
    with addresses.listening_at(path, socket.SOCK_DGRAM) as listening:
        yield Manager(path, listening)


def _bundle(folder: Path, seconds: int) -> Path:
    """One in which Debian's python3 tells; the host's files are its root."""
    python = needs("python3", package="python3")
    python = Path(os.path.realpath(subprocess.check_output(
        [python, "-c", "import sys; print(sys._base_executable)"], text=True).strip()))  # fmt: skip

    def share(spec: Any) -> None:
        places = {"/usr", "/lib", "/lib64", str(python.parent.parent)}
        spec["mounts"] += [
            {"destination": p, "type": "bind", "source": p, "options": ["rbind", "ro"]}
            for p in sorted(places, key=len)
            if Path(p).exists()
        ]
        spec["root"]["readonly"] = False

    script = TELL.format(seconds=seconds)
    return make_bundle(folder / "bundle", [str(python), "-c", script], change=share)


def test_run_in_the_foreground(runtime: Runtime, manager: Manager, tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, 0)
    runtime.good("run", "-b", bundle, "box", env=manager.env)
    assert manager.receive() == b"READY=1\n"
    assert manager.receive().startswith(b"MAINPID=")


def test_run_detached_waits_for_it(runtime: Runtime, manager: Manager, tmp_path: Path) -> None:
    words = [*runtime.argv, "run", "-d", "-b", str(_bundle(tmp_path, 1000)), "box"]
    with subprocess.Popen(
        words, env=manager.env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
    ) as process:
        assert manager.receive() == b"READY=1\n"
        pid = int(manager.receive().removeprefix(b"MAINPID="))
        assert manager.receive() == b"BARRIER=1"
        assert process.wait(pyrunc.TIMEOUT) == 0
    assert pid == runtime.state("box")["pid"]


def test_create_and_start(runtime: Runtime, manager: Manager, tmp_path: Path) -> None:
    bundle = _bundle(tmp_path, 1000)
    runtime.good("create", "-b", bundle, "box", env=manager.env, **pyrunc.NO_STREAMS)
    with subprocess.Popen([*runtime.argv, "start", "box"], env=manager.env) as process:
        assert manager.receive() == b"READY=1\n"
        assert int(manager.receive().removeprefix(b"MAINPID=")) == runtime.state("box")["pid"]
        assert manager.receive() == b"BARRIER=1"
        assert process.wait(pyrunc.TIMEOUT) == 0
    runtime.good("delete", "--force", "box")


def test_a_container_that_ends_first_is_not_waited_for(
    runtime: Any, manager: Any, tmp_path: Path
) -> None:
    bundle = make_bundle(tmp_path / "bundle", ["true"])
    runtime.good("run", "-d", "-b", bundle, "box", env=manager.env, **pyrunc.NO_STREAMS)


@pytest.mark.parametrize("force", [False, True], ids=["delete", "force"])
def test_whatever_a_container_left_beside_its_socket_goes_with_it(
    runtime: Any, tmp_path: Path, force: Any
) -> None:
    """It can get at that directory if it may mount: it is bound in the container."""
    bundle = make_bundle(tmp_path / "bundle", ["true"])
    env = os.environ | {"NOTIFY_SOCKET": str(tmp_path / "nobody")}
    runtime.good("run", "-d", "-b", bundle, "box", env=env, **pyrunc.NO_STREAMS)
    (runtime.root / "box" / "notify" / "inner").mkdir()
    wait_until(lambda: runtime.state("box")["status"] == "stopped")
    runtime.good("delete", *(["--force"] if force else []), "box")
