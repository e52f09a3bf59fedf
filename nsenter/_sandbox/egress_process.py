# SPDX-License-Identifier: Apache-2.0
"""The caller's side of the proxy of a sandbox: see nsenter/_sandbox/egress_helper.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from errno import EPIPE
from threading import Lock

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import pidfd_open
from nsenter._interpreter.command import interpreter_path
from nsenter._sandbox.egress import Egress, Refusal
from nsenter.errors import BootstrapError

__all__ = ["Attachment", "EgressProxy"]

_CODE = (
    "import sys; sys.path += sys.argv[3:]; "
    "import nsenter._sandbox.egress_helper as helper; helper.main()"
)
_SECONDS = 30.0  # more than any step takes; a guard against waiting for ever
_LARGEST_REPORT = 4 << 20
_PORT = 3128
_LOCAL = "localhost,127.0.0.1,::1"


class EgressProxy:
    """The process that serves the runs of one sandbox. It ends when it is closed, or the caller
    ends.

    Args:
        policy: what the sandbox may connect to.

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(self, policy: Egress) -> None:
        self._lock = Lock()
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start(theirs)
        except BaseException:
            ours.close()
            raise
        self._control = ours
        settings = json.dumps(
            {
                "allow": policy.allow,
                "connections": policy.connections,
                "idle": policy.idle_timeout,
            }
        ).encode()
        ours.settimeout(_SECONDS)
        with suppress(BrokenPipeError):  # `attach` reports it
            ours.sendall(len(settings).to_bytes(4, "big") + settings)

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell programs inside of the proxy."""
        url = f"http://127.0.0.1:{_PORT}"
        names = ("http_proxy", "https_proxy", "all_proxy")
        found = dict.fromkeys(names, url) | {"no_proxy": _LOCAL}
        return found | {name.upper(): value for name, value in found.items()}

    def attach(self, pid: int) -> Attachment:
        """Serve the network namespace of a process.

        Args:
            pid: the process, which is held until this returns: `Popen.program_pid`.

        Raises:
            BootstrapError: the namespace cannot be entered, or the proxy has ended.
        """
        ours, theirs = socket.socketpair()
        ours.settimeout(_SECONDS)
        pidfd = pidfd_open(pid)
        try:
            with theirs, self._lock, suppress(BrokenPipeError):
                socket.send_fds(self._control, [b"a"], (pidfd, theirs.fileno()))
            _check(_line(ours))
        except BaseException:
            ours.close()
            raise
        finally:
            close(pidfd)
        return Attachment(ours)

    def close(self) -> None:
        """End the proxy and all its connections."""
        self._control.close()
        if self._process.poll() is None:
            self._process.terminate()
        self._process.wait()

    def __enter__(self) -> EgressProxy:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class Attachment:
    """The proxy of one run."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report

    def finish(self) -> tuple[Refusal, ...]:
        """Close the proxy's socket and connections of this run, and return what was refused.

        Raises:
            BootstrapError: the proxy has ended before, so that this is not known.
        """
        data = bytearray()
        with self._report as report:
            with suppress(OSError):
                report.shutdown(socket.SHUT_WR)
            while len(data) < _LARGEST_REPORT and (more := report.recv(65536)):
                data += more
        if not data:
            raise _ended()
        return _refusals(json.loads(data))

    def close(self) -> None:
        """Close the proxy's socket and connections of this run."""
        self._report.close()


def _start(control: socket.socket) -> subprocess.Popen[bytes]:
    """Start the process with no module of the caller's directories, and a clean environment."""
    number = str(control.fileno())
    folders = [os.path.dirname(_folder_of("nsenter")), _folder_of("_cffi_backend")]
    words = [interpreter_path(), "-I", "-S", "-c", _CODE, number, str(os.getpid()), *folders]
    return subprocess.Popen(
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(control.fileno(),),
        # Names are as the rules have them: no name service adds the domains of resolv.conf.
        env={"LOCALDOMAIN": "."},
        cwd="/",
        start_new_session=True,  # Ctrl-C in a terminal is for the caller
    )


def _folder_of(module: str) -> str:
    return os.path.dirname(os.path.abspath(str(sys.modules[module].__file__)))


def _line(report: socket.socket) -> bytes:
    line = b""
    while not line.endswith(b"\n"):
        more = report.recv(1)
        if not more:
            raise _ended()
        line += more
    return line


def _check(line: bytes) -> None:
    answer = json.loads(line)
    if "port" not in answer:
        number = answer["errno"]
        why = f"the proxy cannot listen in the sandbox: {os.strerror(number)}"
        raise BootstrapError("egress", answer["operation"], why, number)


def _ended() -> BootstrapError:
    return BootstrapError("egress", "proxy", "the proxy of the sandbox has ended", EPIPE)


def _refusals(report: dict[str, object]) -> tuple[Refusal, ...]:
    rows, more = report["refused"], report["more"]
    assert isinstance(rows, list)
    found = [Refusal(*row) for row in rows]
    if more:
        found.append(Refusal(rows[-1][0], "", "", f"and {more} more refusals"))
    return tuple(found)
