# SPDX-License-Identifier: Apache-2.0
"""Print what `python -m nsenter run` shows without a command: the view of a Python as PID 1.

This runs in the namespaces, from memory. It reads the times of the stages from its channel.
"""

from __future__ import annotations

import posix

from nsenter._host.suppress import suppress
from nsenter._inside import pid1

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FAILED = 125
_SHELL_COMMAND = 'set -- /proc/[0-9]*; echo "uid $(id -u), processes: $#"'


def _read_all(fd: int) -> bytes:
    parts = []
    while part := posix.read(fd, 65536):
        parts.append(part)
    return b"".join(parts)


def _own_namespace(name: str) -> str:
    try:
        return posix.readlink(f"/proc/self/ns/{name}").partition("[")[2].rstrip("]")
    except OSError:
        return "-"


def _namespaces(outside: Mapping[str, str]) -> Iterator[str]:
    yield f"{'namespace':10} {'of the caller':>14}    here"
    for name, theirs in outside.items():
        ours = _own_namespace(name)
        yield f"{name:10} {theirs:>14}    {ours:14} {'' if ours == theirs else 'new'}"


def _maps() -> Iterator[str]:
    for name in ("uid_map", "gid_map"):
        fd = posix.open(f"/proc/self/{name}", posix.O_RDONLY)
        lines = _read_all(fd).decode().splitlines()
        posix.close(fd)
        yield f"{name:10} {'; '.join(' '.join(line.split()) for line in lines)}"


def _write(fd: int, text: str) -> None:
    data = text.encode("utf-8", "surrogateescape")
    while data:
        data = data[posix.write(fd, data) :]


def main(channel: int, outside: Mapping[str, str]) -> int:
    """Print the view from inside, then run a shell command as a child.

    Args:
        channel: the descriptor from which the times of the stages are read.
        outside: the inode numbers of the caller's namespaces, by their name in /proc/PID/ns.

    Returns:
        The status of the shell command; 125 if standard output cannot be written to.
    """
    uname = posix.uname()
    lines = [
        f"Python is PID {posix.getpid()} on host {uname.nodename!r}, uid {posix.getuid()}",
        *("", *_namespaces(outside)),
        *("", *_maps()),
        *("", _read_all(channel).decode()),
        f"$ sh -c '{_SHELL_COMMAND}'\n",
    ]
    try:
        _write(1, "\n".join(lines))
    except OSError as error:
        with suppress(OSError):
            _write(2, f"nsenter: standard output: {error.strerror}\n")
        return _FAILED
    return pid1.main(channel, "sh", "-c", _SHELL_COMMAND)
