"""What a process is and has: by /proc, seen from outside, and by its own word from inside.

It is also the payload of the tests that start one: `report` is a target for a PythonInit, and
the file is a script for a Program. Either says what it sees of itself in one line on its stdout
and lives until its stdin ends. So all that is imported here is built into the interpreter.
"""

from __future__ import annotations

import _signal
import posix
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

KINDS = ("user", "ipc", "uts", "net", "pid", "mnt", "cgroup", "time")

_CHUNK = 1 << 20


def read(pid: int | str = "self") -> dict[str, object]:
    """What /proc says of a process that stands still. None: the reader may not know it."""
    proc = f"/proc/{pid}"
    status = _status(proc)
    return {
        "namespaces": _permitted(lambda: namespaces(pid)),
        "uid_map": [_numbers(line) for line in _text(f"{proc}/uid_map").splitlines()],
        "gid_map": [_numbers(line) for line in _text(f"{proc}/gid_map").splitlines()],
        "setgroups": _text(f"{proc}/setgroups").strip(),
        "oom_score_adj": int(_text(f"{proc}/oom_score_adj")),
        "offsets": _permitted(lambda: _rows(_text(f"{proc}/timens_offsets"))),
        "uids": _numbers(status["Uid"]),  # real, effective, saved, file system; host ids
        "gids": _numbers(status["Gid"]),
        "groups": _numbers(status["Groups"]),
        "pids": _numbers(status["NSpid"]),  # in each pid namespace from the reader's inwards
        "sessions": _numbers(status["NSsid"]),
        "process_groups": _numbers(status["NSpgid"]),
        "threads": int(status["Threads"]),
        "signals": {name: int(status[name], 16) for name in ("SigBlk", "SigIgn", "SigCgt")},
        "capabilities": {name: int(status[name], 16) for name in ("CapInh", "CapAmb")},
        "cgroup": _unified(_text(f"{proc}/cgroup")),
        "descriptors": _permitted(lambda: descriptors(pid)),
        "environment": _permitted(lambda: _strings(_bytes(f"{proc}/environ"))),
        "words": _permitted(lambda: _strings(_bytes(f"{proc}/cmdline"))),
        "owner": posix.stat(f"{proc}/fd").st_uid,  # root of the host: it is not dumpable
    }


def namespaces(pid: int | str = "self") -> dict[str, str]:
    """Kind → "net:[4026531840]"."""
    return {kind: posix.readlink(f"/proc/{pid}/ns/{kind}") for kind in KINDS}


def descriptors(pid: int | str = "self") -> dict[str, str]:
    """Number (as a string, as JSON has it) → what it is."""
    found = {}
    for number in posix.listdir(f"/proc/{pid}/fd"):
        try:
            found[number] = posix.readlink(f"/proc/{pid}/fd/{number}")
        except FileNotFoundError:
            continue  # the folder's own
    return found


def _permitted(get: Callable[[], object]) -> object:
    try:
        return get()
    except PermissionError:
        return None


def _bytes(path: str) -> bytes:
    fd = posix.open(path, posix.O_RDONLY | posix.O_CLOEXEC)
    try:
        parts = []
        while part := posix.read(fd, _CHUNK):
            parts.append(part)
        return b"".join(parts)
    finally:
        posix.close(fd)


def _text(path: str) -> str:
    return _bytes(path).decode()


def _strings(content: bytes) -> list[str]:
    """Those of an argument area; one that was wiped has none."""
    return [part.decode(errors="surrogateescape") for part in content.split(b"\0") if part]


def _status(proc: str) -> dict[str, str]:
    pairs = (line.partition(":") for line in _text(f"{proc}/status").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _numbers(text: str) -> list[int]:
    return [int(word) for word in text.split()]


def _rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def _unified(text: str) -> str:
    lines = [line for line in text.splitlines() if line.startswith("0::")]
    return lines[0].removeprefix("0::") if lines else ""


# --- from inside --------------------------------------------------------------------------------


def look() -> dict[str, object]:
    """What this process sees of itself."""
    return {
        "pid": posix.getpid(),
        "parent": posix.getppid(),
        "session": posix.getsid(0),
        "process_group": posix.getpgid(0),
        "hostname": posix.uname().nodename,
        "cwd": posix.getcwd(),
        "uids": list(posix.getresuid()),
        "gids": list(posix.getresgid()),
        "groups": posix.getgroups(),
        "environment": {k.decode(): v.decode() for k, v in posix.environ.items()},
        "argv": list(sys.argv),
        "monotonic": time.clock_gettime(time.CLOCK_MONOTONIC),
        "boottime": time.clock_gettime(time.CLOCK_BOOTTIME),
        "blocked": [int(s) for s in _signal.pthread_sigmask(_signal.SIG_BLOCK, ())],
        "namespaces": _permitted(namespaces),
        "proc_self": int(posix.readlink("/proc/self")),
        "proc_pids": [int(name) for name in posix.listdir("/proc") if name.isdigit()],
        "cgroup": _unified(_text("/proc/self/cgroup")),
    }


def report(channel: int = -1, code: int = 0) -> int:
    """Say it, and live until stdin ends."""
    posix.write(1, repr(look()).encode("ascii", "backslashreplace") + b"\n")
    while posix.read(0, _CHUNK):
        pass
    return code


if __name__ == "__main__":
    sys.exit(report())
