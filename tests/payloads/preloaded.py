"""Modules that templates import, and what is called in their forks (test_preload.py)."""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

KINDS = ("user", "pid", "mnt", "net", "ipc", "uts", "cgroup", "time")
SIZE = 600

# When this module was imported, which a template does once.
imported_in = os.getpid()
seen_at_import = {
    "environment": dict(os.environ),
    "descriptors": sorted(os.listdir("/proc/self/fd")),  # noqa: PTH208
    "caller": sorted({"pytest", "call_targets", "__mp_main__"} & {*sys.modules}),
}


def namespaces() -> dict[str, str]:
    return {kind: os.readlink(f"/proc/self/ns/{kind}") for kind in KINDS}  # noqa: PTH115


def namespaces_while_all_are_there(folder: str, name: str, count: int) -> dict[str, str]:
    """Args: folder, name, count: each call makes a file, and waits until there are so many."""
    from call_targets import meet

    found = namespaces()
    meet(folder, name, count)
    return found


def environment() -> dict[str, str]:
    return dict(os.environ)


def seen() -> dict[str, Any]:
    return seen_at_import


def threads() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208


def first_process() -> tuple[str, str]:
    """The name of PID 1, and the size of its memory, in pages."""
    with open("/proc/1/comm") as comm, open("/proc/1/statm") as statm:  # noqa: PTH123
        return comm.read().strip(), statm.read().split()[0]


def template() -> tuple[int, int]:
    """The pid that the module was imported in, and that of the parent."""
    return imported_in, os.getppid()


def links() -> list[str]:
    """What is open."""
    found = []
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208
        try:
            found.append(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115
        except FileNotFoundError:  # that by which the list was read
            continue
    return sorted(found)


def ask_for(path: str) -> bool:
    return os.path.exists(path)  # noqa: PTH110


def groups() -> list[int]:
    return os.getgroups()


def imported(*names: str) -> list[str]:
    return [name for name in names if name in sys.modules]


def leave_traces() -> tuple[int, bool]:
    """Traces of an earlier call, and some of this one."""
    import preloaded_state

    preloaded_state.calls += 1
    is_there = os.path.exists("/tmp/trace")  # noqa: PTH110
    with open("/tmp/trace", "w") as file:  # noqa: PTH123
        file.write("trace")
    if os.fork() == 0:
        import time

        time.sleep(300)
    return preloaded_state.calls, is_there


def thread_state() -> dict[str, Any]:
    """What the kernel and libc know of the one thread."""
    import ctypes
    import signal
    import threading
    import time

    libc = ctypes.CDLL(None, use_errno=True)
    seen: list[int] = []
    signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    signal.raise_signal(signal.SIGUSR1)
    clock = time.pthread_getcpuclockid(threading.get_ident())
    processors = sorted(os.sched_getaffinity(0))
    found = []
    for processor in processors:
        os.sched_setaffinity(0, {processor})
        found.append(libc.sched_getcpu())
    return {
        "signal": seen == [signal.SIGUSR1],
        # The number of the clock is made of the thread's id, as libc has it.
        "thread of libc": ~(clock >> 3) == threading.get_native_id(),
        "thread": threading.get_native_id() == os.getpid(),
        "thread of Python": threading.main_thread().native_id == os.getpid(),
        "processors": found == processors,
        # Linux refuses this to a process that shares its memory with another.
        "sole": libc.unshare(0x10000000) == 0,  # CLONE_NEWUSER
    }


def say_and_sleep(path: str) -> None:
    import time

    with open(path, "w"):  # noqa: PTH123
        pass
    time.sleep(1000)


def seen_of_init() -> list[str]:
    """What of PID 1 can be looked into."""
    found = []
    for name in ("exe", "cwd", "environ", "mem"):
        try:
            os.open(f"/proc/1/{name}", os.O_RDONLY)
        except PermissionError:
            continue
        found.append(name)
    return found
