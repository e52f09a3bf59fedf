# SPDX-License-Identifier: Apache-2.0
"""The caller's side of the proxy of a sandbox: see nsenter/_sandbox/egress_helper.py."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from errno import EPIPE
from ipaddress import IPv4Address, IPv6Address
from threading import Lock

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import pidfd_open
from nsenter._interpreter.command import interpreter_path
from nsenter._launch.descriptors import Descriptors
from nsenter._sandbox.egress_rules import PORT, Host, Rules
from nsenter._sandbox.parts import Part
from nsenter._sandbox.refusal import Refusal
from nsenter.errors import BootstrapError
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter._launch.child import Child
    from nsenter._sandbox.egress import Egress
    from nsenter.options import Options

__all__ = ["Attachment", "EgressProxy", "folders_of_nsenter", "require_own_network"]

_CODE = (
    "import sys; sys.path += sys.argv[3:]; "
    "import nsenter._sandbox.egress_helper as helper; helper.main()"
)
_SECONDS = 30.0  # more than any step takes; a guard against waiting for ever
_LARGEST_REPORT = 4 << 20
_LOCAL: dict[str, Host] = {
    "localhost": "localhost",
    "127.0.0.1": IPv4Address("127.0.0.1"),
    "::1": IPv6Address("::1"),
}


class EgressProxy(Part):
    """The network of one sandbox, and the process that serves its runs.

    The process ends when this is closed, and when the caller ends.

    Args:
        policy: what the sandbox may connect to.
    """

    holds = True

    def __init__(self, policy: Egress) -> None:
        self._policy = policy
        self._lock = Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._runs: dict[Child, Attachment] = {}

    def open(self) -> None:
        """Start the process.

        Raises:
            OSError: it cannot be started.
        """
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                self._process = _start(theirs)
            ours.settimeout(_SECONDS)
            with suppress(BrokenPipeError):  # `attach` reports it
                ours.sendall(_settings(self._policy))
        except BaseException:
            ours.close()
            self.close()
            raise
        self._control = ours

    def changes(self, options: Options) -> dict[str, Any]:
        """Require a new network namespace, with its loopback device up.

        Raises:
            ValueError: the network namespace is not new.
        """
        require_own_network(options, "Egress")
        return {"loopback": True}

    def environment(self) -> dict[str, str]:
        """Return the variables that tell programs inside of the proxy.

        Programs reach servers of the sandbox itself without the proxy, unless the policy allows to
        reach the caller's servers at the same address.
        """
        names = ("http_proxy", "https_proxy", "all_proxy")
        rules = Rules(self._policy.allow)
        local = [text for text, host in _LOCAL.items() if not rules.has(host)]
        found = dict.fromkeys(names, f"http://127.0.0.1:{PORT}") | {"no_proxy": ",".join(local)}
        return found | {name.upper(): value for name, value in found.items()}

    def attach(self, process: Child) -> None:
        """Serve the network namespace of a process, which is held until this returns.

        Raises:
            BootstrapError: the namespace cannot be entered, or the proxy has ended.
        """
        made = self._attach(process.program_pid)
        with self._lock:
            self._runs[process] = made

    def _attach(self, pid: int) -> Attachment:
        ours, theirs = socket.socketpair()
        ours.settimeout(_SECONDS)
        try:
            with theirs:
                self._send(pid, theirs)
            _check(_line(ours))
        except BaseException:
            ours.close()
            raise
        return Attachment(ours)

    def _send(self, pid: int, report: socket.socket) -> None:
        if self._control is None:
            raise RuntimeError("the proxy of the sandbox is not open")
        pidfd = pidfd_open(pid)
        try:
            with self._lock, suppress(BrokenPipeError):  # the answer does not come
                socket.send_fds(self._control, [b"a"], (pidfd, report.fileno()))
        finally:
            close(pidfd)

    def refusals(self, process: Child) -> tuple[str, ...]:
        """End the proxy of a run, and return what was refused there."""
        with self._lock:
            made = self._runs.pop(process, None)
        return () if made is None else made.finish()

    def close(self) -> None:
        """End the proxy and all its connections."""
        for made in self._runs.values():
            made.close()
        self._runs.clear()
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()  # and its child with it
            self._process.wait()
        self._control = self._process = None


class Attachment:
    """The proxy of one run."""

    def __init__(self, report: socket.socket) -> None:
        self._report = report

    def finish(self) -> tuple[Refusal, ...]:
        """Close the proxy's socket and connections of this run, and return what was refused."""
        data = bytearray()
        with self._report as report:
            with suppress(OSError):
                report.shutdown(socket.SHUT_WR)
            with suppress(OSError):
                while len(data) < _LARGEST_REPORT and (more := report.recv(65536)):
                    data += more
        try:
            return _refusals(json.loads(data))
        except ValueError:  # the report is empty, or not whole
            why = "the proxy had ended: what it refused is not known"
            return (Refusal(time.time(), "", "", why),)

    def close(self) -> None:
        """Close the proxy's socket and connections of this run."""
        self._report.close()


def require_own_network(options: Options, what: str) -> None:
    """Raise ValueError if the network namespace is not new."""
    with Descriptors() as owner:
        if not options._namespaces(owner).is_private(NamespaceType.NEWNET):
            raise ValueError(f'network={what} requires a new network namespace: add "net" to new')


def folders_of_nsenter() -> list[str]:
    """Return the folders that an interpreter without site-packages requires to import nsenter."""
    return [os.path.dirname(_folder_of("nsenter")), _folder_of("_cffi_backend")]


def _settings(policy: Egress) -> bytes:
    text = json.dumps(
        {"allow": policy.allow, "connections": policy.connections, "idle": policy.idle_timeout}
    ).encode()
    return len(text).to_bytes(4, "big") + text


def _start(control: socket.socket) -> subprocess.Popen[bytes]:
    """Start the process with no module of the caller's directories, and a clean environment."""
    number = str(control.fileno())
    words = [interpreter_path(), "-I", "-S", "-c", _CODE, number, str(os.getpid())]
    return subprocess.Popen(
        [*words, *folders_of_nsenter()],
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
        raise BootstrapError("egress", *(answer[key] for key in ("operation", "subject", "errno")))


def _ended() -> BootstrapError:
    return BootstrapError("egress", "reach", "the proxy of the sandbox, which has ended", EPIPE)


def _refusals(report: dict[str, object]) -> tuple[Refusal, ...]:
    rows, more = report["refused"], report["more"]
    assert isinstance(rows, list)
    found = [Refusal(*row) for row in rows]
    if more:
        found.append(Refusal(rows[-1][0], "", "", f"and {more} more refusals"))
    return tuple(found)
