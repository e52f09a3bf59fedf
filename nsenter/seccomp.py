# SPDX-License-Identifier: Apache-2.0
"""Programs of seccomp(2) for a process: made elsewhere, of a policy by libseccomp, or `strict`.

That one needs no library. It is for the native architecture; a system call of another one (32 bits,
x32) is answered with ENOSYS, as whatever a program can do without: C libraries then fall back to
what is looked into.
"""

from __future__ import annotations

import platform
from errno import EAFNOSUPPORT, ENOSYS, EPERM

from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

__all__ = ["Filter", "encode", "policy", "strict"]

_INSTRUCTION = 8  # struct sock_filter
_MOST = 4096  # BPF_MAXINSNS

# linux/audit.h: AUDIT_ARCH_*, and the column of the table below.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32_BIT = 0x40000000

# linux/filter.h.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# linux/seccomp.h: struct seccomp_data, and what a program returns.
_NUMBER_AT, _ARCHITECTURE_AT, _ARGUMENTS_AT = 0, 4, 16
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_ACTIONS = {
    "allow": _ALLOW,
    "log": 0x7FFC0000,
    "trap": 0x00030000,
    "kill": 0x80000000,
    "eperm": _ERRNO | EPERM,
    "enosys": _ERRNO | ENOSYS,
}

# Their numbers on x86_64 and on aarch64; "-": there is none.
_TABLE = """
mounts and roots
    mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428,
    move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
    mount_setattr 442 442, open_tree_attr 467 467,
around what a file's path and its permissions say
    open_by_handle_at 304 265, quotactl 179 60, quotactl_fd 443 443,
files that run with the rights of whom they belong to
    chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452,
other processes
    ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, pidfd_getfd 438 438,
    kcmp 312 272, perf_event_open 298 241, process_madvise 440 440,
where memory is, of this process and of others
    move_pages 279 239, migrate_pages 256 238, mbind 237 235, set_mempolicy 238 237,
    set_mempolicy_home_node 450 450, vmsplice 278 75,
keyrings, which are in no namespace
    keyctl 250 219, add_key 248 217, request_key 249 218,
large parts of the kernel that few programs need, and exploits like
    bpf 321 280, userfaultfd 323 282, fanotify_init 300 262, modify_ldt 154 -,
    io_uring_setup 425 425, io_uring_enter 426 426, io_uring_register 427 427,
    personality 135 92, sysfs 139 -, ustat 136 -, uselib 134 -, _sysctl 156 -,
    create_module 174 -, get_kernel_syms 177 -, query_module 178 -, nfsservctl 180 42,
    lookup_dcookie 212 18,
namespaces
    unshare 272 97, setns 308 268, clone3 435 435, clone 56 220,
the machine
    init_module 175 105, finit_module 313 273, delete_module 176 106, kexec_load 246 104,
    kexec_file_load 320 294, reboot 169 142, swapon 167 224, swapoff 168 225, acct 163 89,
    syslog 103 116, settimeofday 164 170, clock_settime 227 112, iopl 172 -, ioperm 173 -,
    vhangup 153 58, sethostname 170 161, setdomainname 171 162,
terminals
    ioctl 16 29,
protocols
    socket 41 198
"""
# Denied by what they are asked for; see `strict`.
_BY_ARGUMENT = (
    "clone",
    "ioctl",
    "socket",
    "personality",
    "chmod",
    "fchmod",
    "fchmodat",
    "fchmodat2",
)
# The argument that is a mode. open(2) and mknod(2) take modes too, but make empty files: whatever
# gives these a content takes the two bits away.
_MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
_SETUID_SETGID = 0o6000
# As if the kernel were older; a program that gets EPERM from them would give up.
_MISSING = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
# The youngest system call that somebody has looked at for the table (Linux 6.7): of what came later
# nothing is known here. The numbers are the same on every architecture.
_YOUNGEST = 456  # futex_requeue(2)
# Of personality(2): to ask, and what setarch(8) makes of a program. Others make exploits easier, as
# those without a randomised layout of memory.
_PERSONALITIES = (0xFFFFFFFF, 0, 0x8, 0x20000, 0x20008)

# CLONE_NEW* of clone(2), which has no room for CLONE_NEWTIME.
_NAMESPACES = 0x7E020000
# Words put into a terminal as if they were typed (CVE-2017-5226), and what a console pastes.
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# AF_UNIX, INET, INET6, NETLINK: what programs need, and what network namespaces separate. Others
# they do not, as AF_VSOCK, by which a virtual machine's host is reached.
_FAMILIES = (1, 2, 10, 16)


class Filter(Value):
    """A program for `Options.seccomp`.

    Args:
        code: struct sock_filter, one behind another.
        flags: SECCOMP_FILTER_FLAG_*.
    """

    code: bytes
    flags: int = 0


def encode(program: Any) -> tuple[bytes, int]:
    """The instructions and flags of a program: bytes, or anything with `code` (and `flags`).

    Raises:
        ValueError, TypeError: it is none, or one that needs an agent.
    """
    code, flags = getattr(program, "code", program), getattr(program, "flags", 0)
    if not isinstance(code, bytes):
        raise TypeError(f"seccomp={program!r}: expected a Filter, as of `strict()`, or its bytes")
    if not code or len(code) % _INSTRUCTION or len(code) > _MOST * _INSTRUCTION:
        raise ValueError(
            f"seccomp: {len(code)} bytes are no program of 1 … {_MOST} instructions of 8"
        )
    if getattr(program, "has_listener", False):
        raise ValueError("seccomp: the program notifies an agent, which a container alone has")
    return code, flags


def policy(default: str, rules: Mapping[str, str | Iterable[str]]) -> Filter:
    """A program by libseccomp, of names: `policy("allow", {"eperm": ["mount", "ptrace"]})`.

    Args:
        default: what is done about a system call that no rule names: "allow", "log" (and allow),
            "eperm" or "enosys" (it fails so), "trap" (SIGSYS) or "kill" (the process).
        rules: one of those words to the names of system calls.

    Raises:
        ValueError: a word or a name is unknown to us or to libseccomp, or stands twice.
        OSError: libseccomp is not installed.
    """
    from nsenter.libseccomp import Filter as Compiled
    from nsenter.libseccomp import is_known

    compiled, seen = Compiled(_action(default)), set[str]()
    for word, given in rules.items():
        names = given.split() if isinstance(given, str) else given
        for name in names:
            if not is_known(name) or name in seen:
                problem = "stands twice" if name in seen else "is no system call"
                raise ValueError(f"seccomp policy: {name!r} {problem}")
            seen.add(name)
            if _action(word) != _action(default):
                compiled.add(name, _action(word), [[]])
    return Filter(compiled.export())


def _action(word: str) -> int:
    if word not in _ACTIONS:
        raise ValueError(f"seccomp policy: {word!r} is none of {', '.join(_ACTIONS)}")
    return _ACTIONS[word]


def strict() -> Filter:
    """What an ordinary program never does is denied.

    EPERM for mounts, tracing, keyrings, bpf, userfaultfd, making and joining namespaces, what
    changes the machine, where memory is, other personalities, putting words into a terminal, and
    making a file setuid or setgid (another user of the host may run it where it lies);
    ENOSYS for clone3(2), the flags of which no filter can see, for io_uring, for system calls of
    other architectures, and for those that are younger than this list: a C library then does
    without; EAFNOSUPPORT for sockets of other families than unix(7), ip(7), ipv6(7) and netlink(7).

    Raises:
        NotImplementedError: this machine's numbers are not in the table.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise NotImplementedError(f"no table of system calls for {machine}")
    token, column = _ARCHITECTURES[machine]
    numbers = _numbers(column)
    code = _of_architecture(token, has_x32=machine == "x86_64")
    for name, number in numbers.items():
        if name not in _BY_ARGUMENT:
            code += _if_equal(number, _error(ENOSYS if name in _MISSING else EPERM))
    code += _step(_AT_LEAST, _YOUNGEST + 1, no=1) + _error(ENOSYS)
    # From here on, what is loaded may be an argument.
    denied = _error(EPERM)
    code += _if_equal(
        numbers["clone"],
        _load_argument(0) + _step(_ANY_BIT, _NAMESPACES, no=1) + denied + _step(_RETURN, _ALLOW),
    )
    code += _if_equal(
        numbers["ioctl"],
        _load_argument(1)
        + _if_equal(_TIOCSTI, denied)
        + _if_equal(_TIOCLINUX, denied)
        + _step(_RETURN, _ALLOW),
    )
    code += _if_equal(
        numbers["personality"],
        _load_argument(0)
        + b"".join(_if_equal(number, _step(_RETURN, _ALLOW)) for number in _PERSONALITIES)
        + denied,
    )
    for name, index in _MODES.items():
        if name in numbers:
            check = _load_argument(index) + _step(_ANY_BIT, _SETUID_SETGID, no=1) + denied
            code += _if_equal(numbers[name], check + _step(_RETURN, _ALLOW))
    allowed = b"".join(_if_equal(family, _step(_RETURN, _ALLOW)) for family in _FAMILIES)
    code += _if_equal(numbers["socket"], _load_argument(0) + allowed + _error(EAFNOSUPPORT))
    return Filter(code + _step(_RETURN, _ALLOW))


def _numbers(column: int) -> dict[str, int]:
    lines = (line for line in _TABLE.splitlines() if line.startswith(" "))
    entries = (entry.split() for line in lines for entry in line.strip(" ,").split(","))
    named = {name: numbers[column] for name, *numbers in entries}
    return {name: int(number) for name, number in named.items() if number != "-"}


def _of_architecture(token: int, *, has_x32: bool) -> bytes:
    """What begins a program: the number is loaded where it is the native architecture's."""
    missing = _error(ENOSYS)
    code = _step(_LOAD, _ARCHITECTURE_AT) + _step(_EQUAL, token, yes=1) + missing
    code += _step(_LOAD, _NUMBER_AT)
    return code + _step(_AT_LEAST, _X32_BIT, no=1) + missing if has_x32 else code


def _if_equal(value: int, then: bytes) -> bytes:
    return _step(_EQUAL, value, no=len(then) // _INSTRUCTION) + then


def _load_argument(index: int) -> bytes:
    """The lower half, which is all that the kernel looks at of an int; little endian."""
    return _step(_LOAD, _ARGUMENTS_AT + 8 * index)


def _error(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _step(code: int, operand: int, yes: int = 0, no: int = 0) -> bytes:
    """struct sock_filter; `yes` and `no` are how many to skip."""
    return code.to_bytes(2, "little") + bytes((yes, no)) + operand.to_bytes(4, "little")
