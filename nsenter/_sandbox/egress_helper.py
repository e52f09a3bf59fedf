# SPDX-License-Identifier: Apache-2.0
"""The process beside a sandbox that makes listening sockets inside it, and its child, the proxy.

A process with threads can enter no user namespace (setns(2)), and the proxy has threads, because
name services block. So this one has none. For each run it forks a process that enters the
namespaces of the program, which is held back meanwhile, makes the socket, and ends. Nothing hostile
runs in those namespaces yet, and the process stays in the caller's PID namespace, where the program
cannot see it.

Both end when the caller ends, however that happens.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import sys
from errno import EEXIST, EINVAL

from nsenter._host import syscalls
from nsenter._sandbox.egress_rules import PORT, Rules

__all__ = ["main"]

_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_PR_SET_PDEATHSIG = 1
_OWN_NETWORK = "/proc/self/ns/net"
_BACKLOG = 128
_LARGEST_SETTINGS = 1 << 20


def main() -> None:
    """Run until the caller ends, or closes its end of the control socket.

    sys.argv has the control socket's descriptor, and the pid of the caller.
    """
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the caller may ignore it
    control = socket.socket(fileno=int(sys.argv[1]))
    caller = _pidfd_of_caller(int(sys.argv[2]))
    settings = json.loads(_first_message(control))
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    this = os.getpid()
    pid = os.fork()
    if not pid:
        _become_proxy(this, (control, ours), theirs, settings)
    theirs.close()
    _serve(control, ours, (caller, os.pidfd_open(pid)))


def _pidfd_of_caller(pid: int) -> int:
    """Another process may have a copy of the caller's end, if the caller was forked."""
    pidfd = os.pidfd_open(pid)
    if os.getppid() != pid:
        sys.exit(0)
    return pidfd


def _first_message(control: socket.socket) -> bytes:
    size = int.from_bytes(_exactly(control, 4), "big")
    if size > _LARGEST_SETTINGS:
        raise ValueError(f"settings of {size} bytes")
    return _exactly(control, size)


def _exactly(control: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        more = control.recv(size - len(data))
        if not more:
            sys.exit(0)
        data += more
    return data


def _become_proxy(
    parent: int, closed: tuple[socket.socket, ...], control: socket.socket, settings: object
) -> None:
    """Serve in this process, the child, and end it."""
    status = 1
    try:
        syscalls.prctl("PR_SET_PDEATHSIG", _PR_SET_PDEATHSIG, signal.SIGKILL)
        for other in closed:
            other.close()
        if os.getppid() == parent:
            from nsenter._sandbox.egress_proxy import Limits, serve

            assert isinstance(settings, dict)
            limits = Limits(settings["connections"], settings["idle"])
            serve(control, Rules(settings["allow"]), limits)
        status = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        os._exit(status)


def _serve(control: socket.socket, proxy: socket.socket, needed: tuple[int, ...]) -> None:
    """Serve the caller until a process that is needed has ended."""
    poll = select.poll()
    for fd in (control.fileno(), *needed):
        poll.register(fd, select.POLLIN)
    while True:
        if any(fd in needed for fd, _ in poll.poll()):
            return
        data, fds, _, _ = socket.recv_fds(control, 1, 2)
        if not data:  # the caller has ended
            return
        try:
            if len(fds) == 2:
                _listen_inside(fds[0], fds[1], proxy)
        finally:
            for fd in fds:
                os.close(fd)


def _listen_inside(pidfd: int, report: int, proxy: socket.socket) -> None:
    """Make a listening socket in the namespaces of a process, for the proxy."""
    pid = os.fork()
    if pid:
        os.waitpid(pid, 0)
        return
    status = 1
    try:
        try:
            listener = _listener(pidfd)
            socket.send_fds(proxy, [b"l"], (listener.fileno(), report))
            answer: dict[str, object] = {"port": PORT}
        except OSError as error:
            answer = _described(error)
        os.write(report, json.dumps(answer).encode() + b"\n")
        status = 0
    finally:
        os._exit(status)


def _described(error: OSError) -> dict[str, object]:
    operation = getattr(error, "operation", "listen")
    subject = f"at 127.0.0.1:{PORT} in the sandbox"
    if operation == "setns":
        subject = "to the namespaces of the sandbox"
    elif isinstance(error, syscalls.Failure):
        subject = error.subject
    return {"operation": operation, "subject": subject, "errno": error.errno or 0}


def _listener(pidfd: int) -> socket.socket:
    before = os.stat(_OWN_NETWORK).st_ino
    try:
        syscalls.setns(pidfd, _CLONE_NEWUSER | _CLONE_NEWNET)
    except OSError as error:
        if error.errno != EINVAL:
            raise
        # Both are in the same user namespace already.
        syscalls.setns(pidfd, _CLONE_NEWNET)
    if os.stat(_OWN_NETWORK).st_ino == before:
        raise syscalls.Failure("listen", "in the caller's own network namespace", EEXIST)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("127.0.0.1", PORT))
    listener.listen(_BACKLOG)
    return listener
