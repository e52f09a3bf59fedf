# SPDX-License-Identifier: Apache-2.0
"""System call filters (seccomp(2)) for a process.

A filter can be a program that was made elsewhere, one that libseccomp makes from a `policy`, or the
one that `strict` makes without a library. `strict` is for the native architecture: a system call of
another architecture (32 bits, x32) fails with ENOSYS, as does every call that a program can do
without. C libraries then fall back to a call that the filter can examine.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Mapping
from errno import EAFNOSUPPORT, ENOSYS, EPERM
from functools import cache

from nsenter._host.records import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any
else:
    Any = object  # at run time: importing typing takes 4 ms

__all__ = ["Filter", "encode", "policy", "strict"]

_INSTRUCTION = 8  # struct sock_filter
_MOST = 4096  # BPF_MAXINSNS

# linux/audit.h: AUDIT_ARCH_*, and the column of the table below.
_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_X32_BIT = 0x40000000

# linux/filter.h.
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
# linux/seccomp.h: the offsets in struct seccomp_data, and the values that a program returns.
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

# The numbers on x86_64 and on aarch64; "-" means that the architecture has no such call.
_TABLE = """
mounts and roots
    mount 165 40, umount2 166 39, pivot_root 155 41, chroot 161 51, open_tree 428 428,
    move_mount 429 429, fsopen 430 430, fsconfig 431 431, fsmount 432 432, fspick 433 433,
    mount_setattr 442 442, open_tree_attr 467 467,
access to files that does not obey their path or their permissions
    open_by_handle_at 304 265, quotactl 179 60, quotactl_fd 443 443,
programs that run with the rights of the owner of their file
    chmod 90 -, fchmod 91 52, fchmodat 268 53, fchmodat2 452 452,
other processes
    ptrace 101 117, process_vm_readv 310 270, process_vm_writev 311 271, pidfd_getfd 438 438,
    kcmp 312 272, perf_event_open 298 241, process_madvise 440 440,
where memory is, of this process and of others
    move_pages 279 239, migrate_pages 256 238, mbind 237 235, set_mempolicy 238 237,
    set_mempolicy_home_node 450 450, vmsplice 278 75,
keyrings, which are in no namespace
    keyctl 250 219, add_key 248 217, request_key 249 218,
large parts of the kernel that few programs need, and that exploits often use
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
# Whether these are denied depends on their arguments; see `strict`.
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
# Which argument is a mode. open(2) and mknod(2) take modes too, but they create empty files, and
# every write to a file clears the two bits.
_MODES = {"chmod": 1, "fchmod": 1, "fchmodat": 2, "fchmodat2": 2}
_SETUID_SETGID = 0o6000
# These fail with ENOSYS, as on an older kernel: a program that gets EPERM would give up.
_MISSING = ("clone3", "io_uring_setup", "io_uring_enter", "io_uring_register")
# The newest system call that was considered for the table (Linux 6.7). Newer ones are not known
# here. Their numbers are the same on every architecture.
_YOUNGEST = 456  # futex_requeue(2)
# Allowed arguments of personality(2): the query, and those that setarch(8) uses. Others make
# exploits easier, for example by turning off address space layout randomisation.
_PERSONALITIES = (0xFFFFFFFF, 0, 0x8, 0x20000, 0x20008)

# CLONE_NEW* of clone(2), which has no room for CLONE_NEWTIME.
_NAMESPACES = 0x7E020000
# These insert input into a terminal as if it were typed (CVE-2017-5226).
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C
# AF_UNIX, INET, INET6, NETLINK: programs need these, and network namespaces isolate them. They do
# not isolate others: AF_VSOCK reaches the host of a virtual machine.
_FAMILIES = (1, 2, 10, 16)


class Filter(Value):
    """A filter for `Options.seccomp`.

    Args:
        code: the bytes of an array of struct sock_filter.
        flags: SECCOMP_FILTER_FLAG_* of seccomp(2); the default is none.

    Example:
        >>> allow_all = Filter(bytes.fromhex("06000000 0000ff7f"))
    """

    code: bytes
    flags: int = 0


def encode(program: Any) -> tuple[bytes, int]:
    """Return the instructions and flags of a filter.

    Args:
        program: bytes, or an object with `code` and perhaps `flags`.

    Returns:
        The bytes of an array of struct sock_filter, and SECCOMP_FILTER_FLAG_* of seccomp(2).

    Raises:
        ValueError: the program is empty, too long or cut off, or it requires a seccomp agent.
        TypeError: it is not a filter.
    """
    code, flags = getattr(program, "code", program), getattr(program, "flags", 0)
    if not isinstance(code, bytes):
        raise TypeError(f"seccomp must be a Filter (see policy()) or its bytes, not {program!r}")
    if not code or len(code) % _INSTRUCTION or len(code) > _MOST * _INSTRUCTION:
        raise ValueError(
            f"seccomp: {len(code)} bytes are no program of 1 … {_MOST} instructions of 8"
        )
    if getattr(program, "has_listener", False):
        raise ValueError("seccomp: the program notifies an agent, which a container alone has")
    return code, flags


def policy(default: str, rules: Mapping[str, str | Iterable[str]]) -> Filter:
    """Return a filter that libseccomp makes from the names of system calls.

    Args:
        default: the action for a system call that no rule names: "allow", "log" (allow it and log
            it), "eperm" or "enosys" (fail with that error), "trap" (send SIGSYS) or "kill" (kill
            the process).
        rules: a mapping of these actions to names of system calls: a sequence, or a string with
            blanks between them.

    Raises:
        ValueError: an action or a name is unknown, or a name is given twice.
        OSError: libseccomp is not installed.

    Example:
        >>> no_mounts = policy("allow", {"eperm": ["mount", "umount2"], "kill": "ptrace"})
    """
    from nsenter._host.libseccomp import Filter as Compiled
    from nsenter._host.libseccomp import is_known

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
    """Return a filter that denies system calls that ordinary programs do not make.

    These fail with EPERM: mounting, tracing, keyrings, bpf, userfaultfd, creating and joining
    namespaces, changing the machine's settings, choosing where memory is, other personalities,
    inserting input into a terminal, and making a file setuid or setgid, because another user of
    the host could execute it.

    These fail with ENOSYS, so that a C library falls back to another call: clone3(2), whose flags
    a filter cannot examine, io_uring, system calls of other architectures, and those that are newer
    than the list.

    Sockets fail with EAFNOSUPPORT, unless their family is that of unix(7), ip(7), ipv6(7) or
    netlink(7).

    Raises:
        NotImplementedError: there is no table for this architecture.

    Example:
        >>> from nsenter import Options
        >>> options = Options(seccomp=strict())
    """
    return _strict(platform.machine())


@cache
def _strict(machine: str) -> Filter:
    if machine not in _ARCHITECTURES:
        raise NotImplementedError(f"no table of system calls for {machine}")
    token, column = _ARCHITECTURES[machine]
    numbers = _numbers(column)
    code = _of_architecture(token, has_x32=machine == "x86_64")
    for name, number in numbers.items():
        if name not in _BY_ARGUMENT:
            code += _if_equal(number, _error(ENOSYS if name in _MISSING else EPERM))
    code += _step(_AT_LEAST, _YOUNGEST + 1, no=1) + _error(ENOSYS)
    # From here on, the accumulator may hold an argument instead of the number.
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
    """Return the first instructions: check the architecture, then load the number of the call."""
    missing = _error(ENOSYS)
    code = _step(_LOAD, _ARCHITECTURE_AT) + _step(_EQUAL, token, yes=1) + missing
    code += _step(_LOAD, _NUMBER_AT)
    return code + _step(_AT_LEAST, _X32_BIT, no=1) + missing if has_x32 else code


def _if_equal(value: int, then: bytes) -> bytes:
    return _step(_EQUAL, value, no=len(then) // _INSTRUCTION) + then


def _load_argument(index: int) -> bytes:
    """Load the lower half of an argument: the kernel uses no more of an int. Little endian."""
    return _step(_LOAD, _ARGUMENTS_AT + 8 * index)


def _error(number: int) -> bytes:
    return _step(_RETURN, _ERRNO | number)


def _step(code: int, operand: int, yes: int = 0, no: int = 0) -> bytes:
    """Return a struct sock_filter; `yes` and `no` are the numbers of instructions to skip."""
    return code.to_bytes(2, "little") + bytes((yes, no)) + operand.to_bytes(4, "little")
