# SPDX-License-Identifier: Apache-2.0
"""What the filter denies to the processes of a run, by seccomp's user notification.

The filter of the run asks this process instead of denying (see explain_filter.py). A thread notes
what was asked for, and answers with the errno that the filter would have given. It is a thread of
its own because reading the memory of the code may take as long as the code likes, and the deadline
of the run must hold.

Nothing that the code can write to decides anything here: the answer depends on the number and the
arguments of the call alone, which the kernel has copied. A path is read from the memory of the code
after the call was stopped, and only noted: another thread of the code can change it.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from errno import EINTR, ENOENT
from threading import Thread

from nsenter._host.cleanup import close
from nsenter._host.suppress import suppress
from nsenter._host.syscalls import Failure, ioctl
from nsenter._sandbox.denials import Denial, Denials, error_name
from nsenter._sandbox.explain_calls import meaning_of, name_of_call
from nsenter._sandbox.explain_filter import asking

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter._launch.child import Child
    from nsenter._sandbox.explain_filter import AskingFilter
    from nsenter.options import Options

__all__ = ["Explanation"]

# linux/seccomp.h: the requests of ioctl(2), struct seccomp_notif and seccomp_notif_resp.
_REQUESTS = {"RECV": 0xC0502100, "SEND": 0xC0182101, "ID_VALID": 0x40082102}
_NOTIFICATION = struct.Struct("=QII64s")
_DATA = struct.Struct("=iIQ6Q")  # struct seccomp_data
_RESPONSE = struct.Struct("=QqiI")
_ID = struct.Struct("=Q")
_CONTINUE = 1 << 0

_PATH_MAX = 4096
_PAGE = 4096
_LONGEST_WAIT = 10.0  # seconds for the thread to end; it waits for nothing then


class Explanation:
    """What is denied to one run.

    Args:
        options: the options of the run.

    Raises:
        ValueError: the filter of the options cannot be explained.
    """

    def __init__(self, options: Options) -> None:
        self._filter: AskingFilter | None = None
        if options.seccomp is not None:
            self._filter = asking(options.seccomp)
        self._denials = Denials()
        self._thread: Thread | None = None
        self._failure: BaseException | None = None

    @property
    def has_listener(self) -> bool:
        """Whether the run has a filter, which then has a listener."""
        return self._filter is not None

    def changed(self, options: Options) -> Options:
        """Return the options with the filter that asks."""
        return options if self._filter is None else options.replace(seccomp=self._filter)

    def watch(self, child: Child) -> None:
        """Begin to answer for a run, which has been started with `listener=self.has_listener`."""
        if self._filter is None:
            return
        door, child.listener_fd = child.listener_fd, -1
        self._thread = Thread(target=self._run, args=(door,), daemon=True)
        try:
            self._thread.start()
        except BaseException:
            close(door)
            self._thread = None
            raise

    def finish(self) -> tuple[Denial, ...]:
        """Return what was denied, when the run has ended."""
        if self._thread is not None:
            # The listener comes to its end when no process has the filter any more.
            self._thread.join(_LONGEST_WAIT)
            self._thread = None
        if self._failure is not None:
            raise self._failure
        return self._denials.all()

    # ---- in the thread

    def _run(self, door: int) -> None:
        listener = -1
        try:
            with socket.socket(fileno=door) as connection:
                _, listeners, _, _ = socket.recv_fds(connection, 1, 1)
            listener = listeners[0] if listeners else -1
            while listener >= 0 and _is_ready(listener):
                self._answer_one(listener)
        except BaseException as error:
            self._failure = error
        finally:
            # From here on the kernel answers ENOSYS, and no process of the run waits.
            if listener >= 0:
                close(listener)

    def _answer_one(self, listener: int) -> None:
        assert self._filter is not None
        memory = bytearray(_NOTIFICATION.size)
        if not _request(listener, "RECV", memory):
            return
        id, pid, _, data = _NOTIFICATION.unpack(memory)
        number = self._filter.errno(data)
        if number is not None:
            self._note(listener, id, pid, data, number)
        flags = _CONTINUE if number is None else 0
        _request(listener, "SEND", bytearray(_RESPONSE.pack(id, 0, -(number or 0), flags)))

    def _note(self, listener: int, id: int, pid: int, data: bytes, number: int) -> None:
        call, architecture, _, *arguments = _DATA.unpack(data)
        name = name_of_call(architecture, call)
        where, numbers = meaning_of(name)
        address = None if where is None else arguments[where]
        asked = _Asked(pid, address)
        try:
            # The pid was that of the process that waits, unless that has ended by now.
            if not _request(listener, "ID_VALID", bytearray(_ID.pack(id))):
                return
            path = asked.path()
        finally:
            asked.close()
        given = tuple(arguments[index] for index in numbers)
        self._denials.add(
            Denial(name, error_name(number), path, given, asked.program, asked.inner_pid)
        )


class _Asked:
    """What can be learnt of a process that waits for an answer."""

    def __init__(self, pid: int, address: int | None) -> None:
        self._address = address or 0
        self._memory = -1
        if self._address:
            with suppress(OSError):
                self._memory = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self.program = ""
        with suppress(OSError):
            self.program = os.readlink(f"/proc/{pid}/exe")
        self.inner_pid = _inner_pid(pid)

    def path(self) -> str | None:
        """Return the text in the memory of the process, up to its NUL; None if there is none."""
        if self._memory < 0:
            return None
        found = b""
        with suppress(OSError, OverflowError):  # nothing is there, or it is the kernel's
            while b"\0" not in found and len(found) < _PATH_MAX:
                at = self._address + len(found)
                piece = os.pread(self._memory, _PAGE - at % _PAGE, at)
                if not piece:
                    return None
                found += piece
            return os.fsdecode(found.partition(b"\0")[0][:_PATH_MAX])
        return None

    def close(self) -> None:
        if self._memory >= 0:
            close(self._memory)


def _inner_pid(pid: int) -> int:
    """Return the pid of a process in its own PID namespace; 0 if it is not known."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"NSpid:"):
                return int(line.split()[-1])
    return 0


def _request(listener: int, name: str, memory: bytearray) -> bool:
    """Make a request of seccomp_unotify(2). Return False if the process no longer waits."""
    while True:
        try:
            ioctl(listener, f"SECCOMP_IOCTL_NOTIF_{name}", _REQUESTS[name], memory)
        except Failure as failure:
            if failure.errno == ENOENT:
                return False
            if failure.errno != EINTR:
                raise
        else:
            return True


def _is_ready(listener: int) -> bool:
    """Wait until a process asks. Return False if no process has the filter any more."""
    poller = select.poll()
    poller.register(listener, select.POLLIN)
    return any(events & select.POLLIN for _, events in poller.poll())
