"""A payload that tells what it is and has: a program (this file) and the target of a PythonInit.

Only what is built into the interpreter is imported: a filter or Landlock may let nothing else be.
"""

from __future__ import annotations

import posix
import sys

_STATUS = (
    *("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs"),
    *("Seccomp", "Seccomp_filters", "Cpus_allowed_list", "Umask"),
)
_LIMITS = {"Max open files": "nofile", "Max processes": "nproc", "Max core file size": "core"}


def read(path: str) -> str:
    fd = posix.open(path, posix.O_RDONLY)
    try:
        parts = []
        while part := posix.read(fd, 1 << 16):
            parts.append(part)
        return b"".join(parts).decode()
    finally:
        posix.close(fd)


def status(text: str) -> dict[str, str]:
    """Of /proc/PID/status."""
    lines = (line.partition(":") for line in text.splitlines())
    return {name: value.strip() for name, _, value in lines if name in _STATUS}


def _limits() -> dict[str, list[str]]:
    rows = (
        (line[:26].strip(), line[26:].split()) for line in read("/proc/self/limits").splitlines()
    )
    return {_LIMITS[name]: values[:2] for name, values in rows if name in _LIMITS}


def facts() -> dict[str, object]:
    return {
        **status(read("/proc/self/status")),
        **_limits(),
        "lo": "127.0.0.1" in read("/proc/self/net/fib_trie"),
        "leads": [posix.getsid(0) == posix.getpid(), posix.getpgid(0) == posix.getpid()],
        "pid": posix.getpid(),
        "host": posix.uname().nodename,
        "cwd": posix.getcwd(),
    }


def tell(channel: int) -> int:
    posix.write(1, repr(facts()).encode() + b"\n")
    return 0


def again(channel: int) -> int:
    """Say what the boot says when there is something to give up."""
    posix.umask(0o11)
    for event in ("nsenter.confine", "nsenter.filter", "nsenter.confine", "nsenter.filter"):
        sys.audit(event)
    return tell(channel)


def look(channel: int) -> int:
    """What is in the root, and how it is mounted; without /proc."""
    listed = {folder: sorted(posix.listdir(folder)) for folder in ("/", "..", ".")}
    posix.write(1, repr(listed | {"cwd": posix.getcwd()}).encode() + b"\n")
    return 0


if __name__ == "__main__":
    sys.exit(tell(-1))
