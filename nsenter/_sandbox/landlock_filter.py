# SPDX-License-Identifier: Apache-2.0
"""The filter of a sandbox without namespaces: `nsenter.seccomp.strict`, and what Landlock leaves.

The code has the user of the caller, and sees the caller's processes, files and IPC objects.
Landlock does not restrict connecting to a UNIX socket by its path, changing the mode, the owner,
the times or the attributes of a file, UDP, System V IPC, or the limits and priorities of another
process. So the filter denies these. It also denies leaving the process group, because the group is
what is killed in the end.
"""

from __future__ import annotations

import platform
from errno import EAFNOSUPPORT, EPERM
from functools import cache

from nsenter import seccomp
from nsenter.seccomp import Filter

__all__ = ["strict_without_namespaces"]

# The numbers on x86_64 and on aarch64; "-" means that the architecture has no such call.
_DENIED = """
the process group
    setsid 112 157, setpgid 109 154,
files: modes, owners, times, attributes
    chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452, chown 92 -, fchown 93 55,
    lchown 94 -, fchownat 260 54, utime 132 -, utimes 235 -, futimesat 261 -, utimensat 280 88,
    setxattr 188 5, lsetxattr 189 6, fsetxattr 190 7, removexattr 197 14, lremovexattr 198 15,
    fremovexattr 199 16, inotify_add_watch 254 27,
System V IPC and message queues, which are in no namespace of their own
    shmget 29 194, shmat 30 196, shmctl 31 195, semget 64 190, semctl 66 191, semop 65 193,
    semtimedop 220 192, msgget 68 186, msgsnd 69 189, msgrcv 70 188, msgctl 71 187,
    mq_open 240 180, mq_unlink 241 181,
other processes of the user
    setpriority 141 140, ioprio_set 251 30
"""
# The first argument is a pid, and 0 means the process itself.
_OWN_ONLY = """
    prlimit64 302 261, sched_setparam 142 118, sched_setscheduler 144 119, sched_setattr 314 274,
    sched_setaffinity 203 122
"""
_SOCKET, _SOCKETPAIR = "socket 41 198", "socketpair 53 199"
_UNIX, _INET, _INET6, _NETLINK = 1, 2, 10, 16
_STREAM, _SEQPACKET, _TYPES = 1, 5, 0xF
_AND = 0x54


@cache
def strict_without_namespaces(network: bool) -> Filter:
    """Return the filter.

    Args:
        network: allow sockets of the internet protocols.

    Raises:
        NotImplementedError: there is no table for this architecture.
    """
    machine = platform.machine()
    strict = seccomp.strict()
    token, column = seccomp._ARCHITECTURES[machine]
    denied = seccomp._error(EPERM)
    code = seccomp._of_architecture(token, has_x32=machine == "x86_64")
    for number in _numbers(_DENIED, column):
        code += seccomp._if_equal(number, denied)
    for number in _numbers(_OWN_ONLY, column):
        code += _by_argument(number, seccomp._load_argument(0), (0,), denied)
    no_family = seccomp._error(EAFNOSUPPORT)
    families = (_INET, _INET6, _NETLINK) if network else ()
    for number in _numbers(_SOCKET, column):
        code += _by_argument(number, seccomp._load_argument(0), families, no_family)
    # A datagram socket of a pair can be connected to a path; the others cannot.
    kind = seccomp._load_argument(1) + seccomp._step(_AND, _TYPES)
    for number in _numbers(_SOCKETPAIR, column):
        code += _by_argument(number, kind, (_STREAM, _SEQPACKET), no_family)
    return Filter(code + strict.code)


def _numbers(table: str, column: int) -> list[int]:
    """Return the numbers of a table, which may have lines of headings."""
    lines = [line for line in table.splitlines() if line.startswith(" ")] or [table]
    rows = [row.split() for line in lines for row in line.strip(" ,").split(",")]
    return [int(row[1 + column]) for row in rows if row[1 + column] != "-"]


def _by_argument(number: int, load: bytes, allowed: tuple[int, ...], otherwise: bytes) -> bytes:
    """Deny a call unless a value is one of those allowed; the number is loaded again after that."""
    again = seccomp._step(seccomp._LOAD, seccomp._NUMBER_AT)
    tests = b""
    for left, value in zip(range(len(allowed), 0, -1), allowed, strict=True):
        tests += seccomp._step(seccomp._EQUAL, value, yes=left)  # to the load after the denial
    return seccomp._if_equal(number, load + tests + otherwise + again)
