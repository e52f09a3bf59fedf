# SPDX-License-Identifier: Apache-2.0
"""A template: an interpreter that has imported modules, and is forked for each call.

The template runs in the launcher's namespaces, from the launcher's files. It has nothing else of
the launcher: no descriptor, no environment, and no code except that of the modules.

Forks are made by fork(2) of libc, because a fork has only one thread. Libraries with their own
threads, such as OpenBLAS, then stop these before the fork and start them again after it. Like any
other prebooted interpreter (nsenter/_interpreter/prebooted.py), a fork waits for its init config,
creates its namespaces, and takes the confinement steps.

The template is the parent of its forks, so only it can wait for them. The launcher tells it for
which one to wait.
"""

from __future__ import annotations

import _signal
import gc
import os
import sys
import warnings

from nsenter._host import syscalls
from nsenter._host.suppress import suppress
from nsenter._inside import boot, file_imports, worker
from nsenter._interpreter import prebooted
from nsenter._launch import usage
from nsenter._nsexec import lib
from nsenter._remote import safe_data

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, NoReturn

__all__ = ["main"]

# Requests of the launcher, in the frames of nsenter/_inside/worker.py: make a fork, with its init
# pipe and its status pipe; wait for a process, with a pidfd if there is one.
FORK, WAIT = b"f", b"w"
# Answers: the result (for a fork its pid, with a pidfd), or the error.
DONE, FAILED = b"d", b"x"
MOST_FDS = 2
MOST_SHARED = 1 << 30  # bytes


def main(
    control: int, description: Mapping[str, Any], modules: Sequence[str], more: Sequence[str]
) -> NoReturn:
    """Run as a template. This does not return.

    Args:
        control: the socket for the launcher's requests and for the answers.
        description: the argument of `nsenter._inside.file_imports.open_files`.
        modules: the modules to import.
        more: modules that are imported as well, unless that fails.
    """
    _signal.signal(_signal.SIGINT, _signal.SIG_IGN)  # the calls get it, too
    try:
        file_imports.open_files(description)
        standard = list(sys.meta_path)
        for name in modules:
            __import__(name)
        for name in more:
            with suppress(ImportError):
                __import__(name)
        finders = [finder for finder in sys.meta_path if finder not in standard]
        server = _Server(control, finders, _shared_memory())
        boot.flush(sys.stdout, sys.stderr)  # otherwise each fork would write it again
    except BaseException as error:
        _send(control, FAILED, worker.tell_of(error))
        os._exit(1)
    _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)  # otherwise no fork could be waited for
    gc.collect()
    gc.freeze()  # the collector of a fork would write to these objects, and so copy them
    _send(control, DONE, None)
    while True:
        server.serve()


def _shared_memory() -> list[tuple[int, int, int]]:
    """Return the start, size and protection of the memory that all forks would share and can write.

    Locks of multiprocessing are such memory, and files that a module has mapped.
    """
    with open("/proc/self/maps") as maps:
        if not any(line.split()[1].endswith("s") for line in maps):
            return []
    found = []
    with open("/proc/self/smaps") as maps:
        for line in maps:
            words = line.split()
            if "-" in words[0]:
                start, end = (int(word, 16) for word in words[0].split("-"))
                protection = sum(1 << n for n, right in enumerate("rwx") if right in words[1])
            elif words[0] == "VmFlags:" and {"sh", "mw"} <= {*words}:
                found.append((start, end - start, protection))
    if (size := sum(size for _, size, _ in found)) > MOST_SHARED:
        why = f"{size >> 20} MiB of memory that processes share, more than {MOST_SHARED >> 20} MiB"
        raise MemoryError(f"what was imported has mapped {why}: each call would get a copy")
    return found


def _send(control: int, kind: bytes, value: object, *fds: int) -> None:
    rest = worker.frame(kind, safe_data.encode(value))
    try:
        syscalls.send_fds(control, rest, fds)
    except OSError:  # the launcher has ended
        os._exit(0)


class _Server:
    """Carries out the launcher's requests.

    Args:
        control: the socket for the requests and the answers.
        finders: the finders that the modules have put on sys.meta_path.
        shared: the memory that a fork must not share, as `_shared_memory` returns it.
    """

    def __init__(
        self, control: int, finders: Sequence[Any], shared: Sequence[tuple[int, int, int]]
    ) -> None:
        self._control = control
        self._finders = finders
        self._shared = shared

    def serve(self) -> None:
        """Carry out one request."""
        control = self._control
        try:
            header, fds = syscalls.receive_fds(control, worker.HEADER_BYTES, MOST_FDS)
        except OSError:  # the launcher ended before it had read everything
            os._exit(0)
        if not header:  # the launcher has ended
            os._exit(0)
        try:
            header += boot.read(control, worker.HEADER_BYTES - len(header))
            size = int.from_bytes(header[1:], sys.byteorder)
            request = safe_data.decode(boot.read(control, size))
        except EOFError:
            os._exit(0)
        try:
            if header[:1] == FORK:
                self._fork(*fds)
            else:
                _send(control, DONE, _waited(*request, *fds))
        except OSError as error:
            operation = getattr(error, "operation", "fork")
            _send(control, FAILED, (error.errno, error.strerror, operation))
        finally:
            for fd in fds:
                os.close(fd)

    def _fork(self, channel: int, status: int) -> None:
        with warnings.catch_warnings():
            # Since 3.12 Python warns if the process has threads. Libraries stop theirs before a
            # fork. A module that starts other threads on import cannot be preloaded, just as it
            # cannot be used with multiprocessing's fork method.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if not pid:
            try:
                self._be_a_fork(channel, status)
            finally:
                os._exit(1)
        with suppress(OSError):  # the fork may have done so already
            os.setpgid(pid, pid)
        try:
            pidfd = syscalls.pidfd_open(pid)
        except OSError:
            os.kill(pid, _signal.SIGKILL)
            os.waitpid(pid, 0)
            raise
        try:
            _send(self._control, DONE, pid, pidfd)
        finally:
            os.close(pidfd)

    def _be_a_fork(self, channel: int, status: int) -> NoReturn:
        os.close(self._control)
        os.setpgid(0, 0)
        if self._shared:
            _own(self._shared)
        prebooted.serve(lambda *args: _be_called(self._finders, *args), channel, status)


def _own(shared: Sequence[tuple[int, int, int]]) -> None:
    """Replace shared memory by private copies; exit if there is not enough memory."""
    memory = os.open("/proc/self/mem", os.O_RDONLY | os.O_CLOEXEC)
    for where in shared:
        if lib.prebooted_own_memory(memory, *where) < 0:
            os._exit(1)
    os.close(memory)


def _waited(
    which: int, number: int, options: int, wants_usage: bool, pidfd: int = -1
) -> tuple[Any, ...] | None:
    """Return what a method of `nsenter._launch.process_parent.Parent` returns."""
    if wants_usage:
        code, status, used = usage.wait_for(pidfd, has_own_peak=True)
        return code, status, used.user_time, used.system_time, used.max_rss
    ended = os.waitid(which, pidfd if pidfd >= 0 else number, options)
    return None if ended is None else (ended.si_code, ended.si_status)


def _be_called(finders: Sequence[Any], channel: int, settings: Mapping[str, Any]) -> NoReturn:
    """Take calls, in a fork that has its namespaces and has done every confinement step."""
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    _name_the_thread()
    boot.open_streams()
    worker.main(channel, settings, finders)


def _name_the_thread() -> None:
    """Tell threading the id of the main thread: this process took over the memory of the fork."""
    threading = sys.modules.get("threading")
    with suppress(AttributeError):
        threading.main_thread()._set_native_id()  # type: ignore[union-attr]
