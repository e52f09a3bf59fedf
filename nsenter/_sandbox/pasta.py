# SPDX-License-Identifier: Apache-2.0
"""Pasta: the network of a sandbox that goes through pasta(1), in user space, without root."""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable
from errno import EIO, ENOENT, ETIMEDOUT
from ipaddress import ip_address
from threading import Lock

from nsenter._host.cleanup import close
from nsenter._host.records import Value
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import POLLIN, poll
from nsenter._interpreter.command import interpreter_path
from nsenter._sandbox.egress_process import folders_of_nsenter, require_own_network
from nsenter._sandbox.parts import Part
from nsenter.errors import BootstrapError
from nsenter.mounts import File

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

    from nsenter._launch.child import Child
    from nsenter.options import Options
else:
    Any = Child = Options = IO = object  # at run time: what typing.get_type_hints finds

__all__ = ["Pasta"]

_PROGRAM = "pasta"
_CODE = (
    "import sys; sys.path += sys.argv.pop(1).split(':'); "
    "import nsenter._sandbox.tied_helper as helper; helper.main()"
)
# A link-local address that nobody else has; pasta passes on what is sent to its port 53.
_NAME_SERVER = "169.254.0.53"
_TUN = "/dev/net/tun"
_SECONDS = 20.0  # a guard against waiting for ever
_MOST_PORT = 65535
_LOOPBACK = "127.0.0.1"
_RULE = re.compile(
    r"(?:(\[[0-9a-fA-F:.]+\]|[0-9]+(?:\.[0-9]+){3}):)?([0-9]{1,5})(?::([0-9]{1,5}))?"
)


class Pasta(Value, Part):
    """A network like the caller's, by pasta(1): the sandbox can connect to what the caller can.

    The network namespace of the sandbox has a device with the address of the caller's first
    network, and a process of pasta outside passes on what is sent. This requires no root, but
    pasta (Debian: passt) and a /dev/net/tun that the caller may open.

    The code reaches everything that the caller reaches, private networks included, except servers
    that listen on the caller's loopback device alone. To restrict what it reaches, use `Egress`.

    Args:
        ports: the TCP ports of the caller that are forwarded into the sandbox, each as
            "[ADDRESS:]PORT[:PORT INSIDE]", such as "8080:80". Without an address only the caller's
            own machine can connect, to 127.0.0.1; "0.0.0.0:8080:80" is for everybody.
        udp_ports: the same for UDP.
        caller_ports: TCP ports of the caller's loopback device that the sandbox reaches, at
            127.0.0.1.
        dns: give the sandbox an /etc/resolv.conf that leads to the caller's first name server.

    Raises:
        ValueError: a port is not valid.
        TypeError: an argument has another type.

    Example:
        >>> nsenter.Pasta(ports=["8080:80"])
        Pasta(ports=('8080:80',))
    """

    ports: Iterable[str] = ()
    udp_ports: Iterable[str] = ()
    caller_ports: Iterable[int] = ()
    dns: bool = True

    def __post_init__(self) -> None:
        for name in ("ports", "udp_ports", "caller_ports"):
            given = getattr(self, name)
            if isinstance(given, (str, bytes)) or not hasattr(given, "__iter__"):
                raise TypeError(f"{name} must be a sequence, not {given!r}")
            self.__dict__[name] = tuple(given)
        for name in ("ports", "udp_ports"):
            for rule in getattr(self, name):
                _forwarded(name, rule)
        for port in self.caller_ports:
            if not isinstance(port, int) or isinstance(port, bool) or not 0 < port <= _MOST_PORT:
                raise ValueError(f"caller_ports: {port!r} is not a port number")

    def for_sandbox(self) -> Part:
        """Return the network of one sandbox."""
        return _PastaNetwork(self)


def _forwarded(name: str, rule: object) -> str:
    """Return a rule as pasta has it."""
    if not isinstance(rule, str):
        raise TypeError(f'{name}: each must be a string such as "8080:80", not {rule!r}')
    found = _RULE.fullmatch(rule)
    try:
        if not found:
            raise ValueError
        address = str(ip_address((found[1] or _LOOPBACK).strip("[]")))
        outside, inside = int(found[2]), int(found[3] or found[2])
        if not (0 < outside <= _MOST_PORT and 0 < inside <= _MOST_PORT):
            raise ValueError
    except ValueError:
        wanted = '"[ADDRESS:]PORT[:PORT INSIDE]"'
        raise ValueError(f"{name}: {rule!r} must be {wanted}, such as 8080:80") from None
    return f"{address}/{outside}:{inside}"


class _PastaNetwork(Part):
    """The network of one sandbox: a process of pasta for each run."""

    holds = True

    def __init__(self, policy: Pasta) -> None:
        self._policy = policy
        self._lock = Lock()
        self._runs: dict[Child, subprocess.Popen[bytes]] = {}

    def open(self) -> None:
        """Look for pasta.

        Raises:
            BootstrapError: it is not installed.
        """
        import shutil

        if shutil.which(_PROGRAM) is None:
            hint = "install it: Debian and Ubuntu have it in the package passt"
            raise BootstrapError("pasta", "execve", _PROGRAM, ENOENT, hint)

    def changes(self, options: Options) -> dict[str, Any]:
        """Require a new network namespace, and add an /etc/resolv.conf."""
        require_own_network(options, "Pasta")
        changes: dict[str, Any] = {"loopback": True}
        if self._policy.dns and options.root is not None:
            file = File("/etc/resolv.conf", f"nameserver {_NAME_SERVER}\n")
            changes["mounts"] = (*options.mounts, file)
        return changes

    def attach(self, process: Child) -> None:
        """Connect the network namespace of a process.

        Raises:
            BootstrapError: pasta could not do it; the error has its words.
        """
        fds: list[int] = []
        try:
            for kind in ("user", "net"):
                path = f"/proc/{process.program_pid}/ns/{kind}"
                fds.append(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            started = _started(self._policy, *fds)
        finally:
            close(*fds)
        with self._lock:
            self._runs[process] = started

    def refusals(self, process: Child) -> tuple[str, ...]:
        """End pasta of a run. It refuses nothing."""
        with self._lock:
            started = self._runs.pop(process, None)
        if started is not None:
            _end(started)
        return ()

    def close(self) -> None:
        """End pasta of every run."""
        while self._runs:
            _end(self._runs.popitem()[1])


def _started(policy: Pasta, user: int, net: int) -> subprocess.Popen[bytes]:
    """Start pasta for these namespaces; return when it has set them up."""
    ready, told = os.pipe()
    words, said = os.pipe()
    try:
        fds = (user, net, told)
        started = subprocess.Popen(
            [*_tied(), *_arguments(policy, *fds)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=said,
            pass_fds=fds, cwd="/", start_new_session=True,
        )  # fmt: skip
    except BaseException:
        close(ready, words)
        raise
    finally:
        close(told, said)
    with open(ready, "rb", 0) as pid, open(words, "rb", 0) as errors:
        try:
            _await(pid, errors)
        except BaseException:
            _end(started)
            raise
    return started


def _tied() -> list[str]:
    """Return the words before a command that make it end with this process."""
    folders = ":".join(folders_of_nsenter())
    return [interpreter_path(), "-I", "-S", "-c", _CODE, folders, str(os.getpid())]


def _arguments(policy: Pasta, user: int, net: int, pid: int) -> list[str]:
    own = "/proc/self/fd/"
    argv = [_PROGRAM, "--foreground", "--quiet", "--config-net", "--no-map-gw"]
    argv += ["--userns", f"{own}{user}", "--netns", f"{own}{net}", "--pid", f"{own}{pid}"]
    # By default it forwards every port that somebody listens on, in both directions.
    for option, rules in (
        ("--tcp-ports", [_forwarded("ports", rule) for rule in policy.ports]),
        ("--udp-ports", [_forwarded("udp_ports", rule) for rule in policy.udp_ports]),
        ("--tcp-ns", [str(port) for port in policy.caller_ports]),
        ("--udp-ns", []),
    ):
        for rule in rules or ["none"]:
            argv += [option, rule]
    if policy.dns:
        argv += ["--dns-forward", _NAME_SERVER]
    if os.geteuid() == 0:
        argv += ["--runas", "0:0"]  # nobody could not enter the namespaces
    return argv


def _await(pid: IO[bytes], errors: IO[bytes]) -> None:
    """Wait until pasta has written its pid, which it does when all is set up."""
    if not poll({pid.fileno(): POLLIN}, _SECONDS):
        raise BootstrapError("pasta", "wait", "for the network", ETIMEDOUT)
    if not pid.read(32):
        raise BootstrapError("pasta", "set up the network", "", EIO, _last_line(errors))


def _last_line(errors: IO[bytes]) -> str:
    """Return the last thing that pasta said, if it said something. It has ended."""
    lines = errors.read(65536).decode(errors="replace").splitlines()
    told = [line for line in lines if line and "to syslog" not in line]
    words = told[-1] if told else "pasta said nothing"
    if not os.access(_TUN, os.R_OK | os.W_OK):
        words += f"; {_TUN} must be there, and readable and writable for this user"
    return words


def _end(started: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(started.pid, 9)  # pasta, and the process that it is tied to
    started.wait()
