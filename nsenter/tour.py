# SPDX-License-Identifier: Apache-2.0
"""What `python -m nsenter run` shows without a command: the view from inside, as Python's PID 1.

It runs in the namespaces, from the bundle, and is told the times of the stages on its channel.
"""

from __future__ import annotations

import posix

from nsenter import init

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

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


def _print_namespaces(outside: Mapping[str, str]) -> None:
    print(f"\n{'namespace':10} {'of the caller':>14}    here")
    for name, theirs in outside.items():
        ours = _own_namespace(name)
        print(f"{name:10} {theirs:>14}    {ours:14} {'' if ours == theirs else 'new'}")


def _print_maps() -> None:
    for name in ("uid_map", "gid_map"):
        fd = posix.open(f"/proc/self/{name}", posix.O_RDONLY)
        lines = _read_all(fd).decode().splitlines()
        posix.close(fd)
        print(f"{name:10}", "; ".join(" ".join(line.split()) for line in lines))


def main(channel: int, outside: Mapping[str, str]) -> int:
    """Print what there is to see, then run a shell command as a child.

    Args:
        outside: the inode numbers of the caller's namespaces, by their name in /proc/PID/ns.
    """
    uname = posix.uname()
    print(f"Python is PID {posix.getpid()} on host {uname.nodename!r}, uid {posix.getuid()}")
    _print_namespaces(outside)
    print()
    _print_maps()
    print(f"\n{_read_all(channel).decode()}", flush=True)
    print(f"$ sh -c '{_SHELL_COMMAND}'", flush=True)
    return init.main(channel, "sh", "-c", _SHELL_COMMAND)
