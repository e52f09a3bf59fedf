# SPDX-License-Identifier: Apache-2.0
"""Pass sd_notify(3) messages from a container on to the service manager that waits for "READY=1".

The container gets a socket in a directory that is bound to /run/notify. Its messages are passed on
with the MAINPID of its first process, as runc's notify_socket.go does.
"""

from __future__ import annotations

import _socket
import os
import select

from libcontainer.errors import ContainerError
from libcontainer.runc_messages import errno_text
from nsenter._host.cleanup import close
from nsenter._host.socket_addresses import connect_to
from nsenter._host.syscalls import pidfd_open, send_fds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FOLDER, _NAME = "notify", "notify.sock"
_IN_CONTAINER = "/run/notify"
_LONGEST = 4096
_BARRIER_MS = 30_000


def manager_address() -> str:
    """Return the address of the service manager's socket; "" if no manager waits."""
    return os.environ.get("NOTIFY_SOCKET", "")


def add_to_spec(spec: dict[str, Any], container_folder: str) -> None:
    """Give the socket to the container: add a mount, and the variable that names the socket."""
    mount = {
        "destination": _IN_CONTAINER,
        "type": "bind",
        "source": f"{container_folder}/{_FOLDER}",
        "options": ["bind", "nosuid", "noexec", "nodev", "ro"],
    }
    spec["mounts"] = [*(spec.get("mounts") or ()), mount]
    process = spec["process"]
    env = process.get("env") or ()
    spec["process"] = {**process, "env": [*env, f"NOTIFY_SOCKET={_IN_CONTAINER}/{_NAME}"]}


def make_folder(container_folder: str) -> None:
    """Create the source of that mount in the directory of the container."""
    os.mkdir(f"{container_folder}/{_FOLDER}", 0o755)


class Proxy:
    """The socket to which the container writes.

    Args:
        container_folder: the container's directory in the state directory.

    Raises:
        ContainerError: the container was not created with a NOTIFY_SOCKET, or has a proxy already.
    """

    def __init__(self, container_folder: str) -> None:
        kind = _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC | _socket.SOCK_NONBLOCK
        self._socket = _socket.socket(_socket.AF_UNIX, kind, 0)
        flags = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            # By its descriptor: the address of a socket has 107 bytes, the folder may have more.
            folder = os.open(f"{container_folder}/{_FOLDER}", flags)
            path = f"/proc/self/fd/{folder}/{_NAME}"
            try:
                self._socket.bind(path)
                os.chmod(path, 0o777)
            finally:
                close(folder)
        except OSError as error:
            self.close()
            why = errno_text(error.errno or 0)
            raise ContainerError(f"NOTIFY_SOCKET for the container: {why}") from None

    def fileno(self) -> int:
        """Return the descriptor for poll(2)."""
        return self._socket.fileno()

    def pass_on(self, pid: int, *, wait: bool = False) -> bool:
        """Pass on the messages that have arrived; return whether one of them says READY=1.

        Args:
            pid: the pid of the container's first process.
            wait: return only after the manager has processed them (sd_notify_barrier(3)). A caller
                that is about to exit requires this.
        """
        try:
            lines = self._socket.recv(_LONGEST).split(b"\n")
        except BlockingIOError:
            return False
        ready = next((line for line in lines if line.startswith(b"READY=")), None)
        if ready is None:
            return False
        manager = _connected(manager_address())
        try:
            manager.send(ready + b"\n")
            manager.send(b"MAINPID=%d\n" % pid)
            if wait:
                _barrier(manager)
        finally:
            close(manager.detach())
        return True

    def wait_until_ready(self, pid: int) -> None:
        """Pass messages on until the container is ready or its first process has ended."""
        try:
            pidfd = pidfd_open(pid)
        except ProcessLookupError:
            return
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        poller.register(self, select.POLLIN)
        try:
            while self.fileno() in {fd for fd, _ in poller.poll()}:
                if self.pass_on(pid, wait=True):
                    return
        finally:
            close(pidfd)

    def close(self) -> None:
        """Close the socket."""
        close(self._socket.detach())


def _connected(address: str) -> _socket.socket:
    manager = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC, 0)
    try:
        connect_to(manager, f"\0{address[1:]}" if address.startswith("@") else address)
    except OSError as error:
        close(manager.detach())
        raise ContainerError(f"NOTIFY_SOCKET {address}: {errno_text(error.errno or 0)}") from None
    return manager


def _barrier(manager: _socket.socket) -> None:
    """Send a pipe to the manager and wait until the manager closes it.

    The manager processes messages in order, so it has then processed all earlier ones.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        try:
            send_fds(manager.fileno(), b"BARRIER=1", (writer,))
        finally:
            close(writer)
        poller = select.poll()
        poller.register(reader, 0)  # POLLHUP is told in any case
        poller.poll(_BARRIER_MS)
    finally:
        close(reader)
