# SPDX-License-Identifier: Apache-2.0
"""The confinement of a process, as attributes of the second message.

It is carried out after the process has got its namespaces and before its payload runs.
csrc/inside/confinement.c does it, in the order that stands there.
"""

from __future__ import annotations

import os
import sys

from nsenter._host.records import Value
from nsenter._message.launch import LaunchAttribute

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nsenter.mounts import Attached, Mount, Path, Tmpfs
    from nsenter.options import Options

    Attribute = tuple[int, int | bytes]

__all__ = ["Confinement", "confinement_of"]

_ID_MAX = 2**32 - 2
TMPFS = "tmpfs"
TREE = b"tree"  # the first of the mounts


class Confinement(Value):
    """The confinement, for `nsenter.launch.launch`.

    Args:
        attributes: types and values of the attributes.
        die_with_parent: the process ends with this process, not with the thread that started it.
        init: the process is the child of an init.
        terminal: the standard streams of the process are a new pty.
        console: where the pty is also mounted; None means nowhere.
        wait_for_go: the program waits for `Child.go` before it is executed.
        listener: the filter has a listener, which goes to `Child.listener_fd`.
    """

    attributes: tuple[tuple[int, int | bytes], ...] = ()
    die_with_parent: bool = False
    init: bool = False
    terminal: bool = False
    console: bytes | None = None
    wait_for_go: bool = False
    listener: bool = False

    def with_console(self, terminal: str) -> tuple[Attribute, ...]:
        """Return the attributes with one more mount: the terminal with this path."""
        if self.console is None:
            return self.attributes
        from nsenter.mounts import Bind, encode

        bind = Bind(terminal, self.console, writable=True, devices=True)
        record = encode([bind], root_is_ours=True)  # it lies in the new /dev
        mounts = LaunchAttribute.MOUNTS
        return tuple(
            (type, value + record if type == mounts and isinstance(value, bytes) else value)
            for type, value in self.attributes
        )


def confinement_of(
    options: Options,
    *,
    mounts: Iterable[Mount],
    loopback: bool,
    init: bool,
    process_group: int | None = None,
    wait_for_go: bool = False,
    listener: bool = False,
) -> Confinement | None:
    """Return the confinement of a process with these options; None if there is none.

    Args:
        mounts: everything that is mounted.
        loopback: bring up the loopback device of a new network namespace.
        init: keep an init in the PID namespace.
        process_group: the process group to join; None means none.
        wait_for_go: make the program wait before it is executed.
        listener: send the listener of the filter to this process.

    Raises:
        ValueError, TypeError: an option is not valid; the message names it.
    """
    attributes = list(_attributes(options, mounts))
    if loopback:
        attributes.append((LaunchAttribute.LOOPBACK, 1))
    if process_group is not None:
        attributes.append((LaunchAttribute.PROCESS_GROUP, process_group))
    ways = (options.die_with_parent, init, options.terminal)
    if not attributes and not wait_for_go and not any(ways):
        return None
    console = _console(mounts) if options.terminal else None
    return Confinement(
        tuple(attributes), *ways, console=console, wait_for_go=wait_for_go, listener=listener
    )


def _console(mounts: Iterable[Mount]) -> bytes | None:
    """Return the path of the console in the last /dev that is mounted."""
    from nsenter.mounts import Dev

    devs = [mount for mount in mounts if isinstance(mount, Dev)]
    return os.fsencode(devs[-1].target) + b"/console" if devs else None


def _attributes(options: Options, mounts: Iterable[Mount]) -> Iterator[Attribute]:
    yield from _root(options, mounts)
    yield from _identity(options)
    yield from _limits(options)
    yield from _confinement(options)
    if not options.new_session:
        yield LaunchAttribute.KEEP_SESSION, 1
    if options.terminal:
        yield LaunchAttribute.TERMINAL, 1
    if options.die_with_parent:
        yield LaunchAttribute.DIE_WITH_PARENT, 1


def _root(options: Options, mounts: Iterable[Mount]) -> Iterator[Attribute]:
    if options.root is not None:
        yield LaunchAttribute.ROOT, _checked_root(options.root)
        if options.read_only:
            yield LaunchAttribute.READ_ONLY, 1
    elif options.read_only:
        raise ValueError("read_only=True requires a root")
    if mounts:
        from nsenter.mounts import encode

        yield (
            LaunchAttribute.MOUNTS,
            encode(
                mounts,
                root_is_ours=options.root is not None,
                root_is_new=options.root is not None and _is_in_memory(options.root),
            ),
        )


def _is_in_memory(root: Path | Tmpfs | Attached) -> bool:
    from nsenter.mounts import Tmpfs

    return root == TMPFS or isinstance(root, Tmpfs)


def _checked_root(root: Path | Tmpfs | Attached) -> bytes:
    if hasattr(root, "make"):
        return TREE
    if not isinstance(root, (str, bytes, os.PathLike)):
        if os.fsencode(root.target) != b"/":
            raise ValueError(f'root must be a Tmpfs whose target is "/", not {root!r}')
        return b"%b,%b" % (TMPFS.encode(), root.options())
    raw = os.fsencode(root)
    if root != TMPFS and (not raw.startswith(b"/") or b"\0" in raw):
        raise ValueError(f'root must be an absolute path without NUL, or "{TMPFS}", not {root!r}')
    return raw


def _identity(options: Options) -> Iterator[Attribute]:
    for type, name, number in (
        (LaunchAttribute.UID, "uid", options.uid),
        (LaunchAttribute.GID, "gid", options.gid),
    ):
        if number is not None:
            yield type, _checked_id(name, number)
    groups = options.groups
    if groups is None and (options.uid is not None or options.gid is not None):
        groups = ()
    if groups is not None:
        numbers = (_checked_id("groups", group) for group in groups)
        yield LaunchAttribute.GROUPS, b"".join(n.to_bytes(4, sys.byteorder) for n in numbers)
    if options.capabilities is not None:
        from nsenter._message import capabilities

        yield LaunchAttribute.CAPABILITIES, capabilities.encode(options.capabilities)


def _checked_id(name: str, number: int) -> int:
    if not isinstance(number, int) or not 0 <= number <= _ID_MAX:
        raise ValueError(f"{name} must be 0 … {_ID_MAX}, not {number!r}")
    return number


def _limits(options: Options) -> Iterator[Attribute]:
    if not options.rlimits and options.umask is None and options.cpus is None:
        return
    from nsenter._message import limits

    if options.rlimits:
        yield LaunchAttribute.RLIMITS, limits.encode_rlimits(options.rlimits)
    if options.umask is not None:
        yield LaunchAttribute.UMASK, limits.encode_umask(options.umask)
    if options.cpus is not None:
        yield LaunchAttribute.CPUS, limits.encode_cpus(options.cpus)


def _confinement(options: Options) -> Iterator[Attribute]:
    ports = options.landlock_bind, options.landlock_connect
    restricted = (
        options.landlock is not None or bool(options.landlock_scope) or ports != (None, None)
    )
    needed = restricted or options.seccomp is not None
    if needed if options.no_new_privs is None else options.no_new_privs:
        yield LaunchAttribute.NO_NEW_PRIVS, 1
    if restricted:
        from nsenter._message import landlock

        yield LaunchAttribute.LANDLOCK, landlock.encode(options)
    if options.seccomp is not None:
        from nsenter import seccomp

        code, flags = seccomp.encode(options.seccomp)
        yield LaunchAttribute.SECCOMP, code
        if flags:
            yield LaunchAttribute.SECCOMP_FLAGS, flags
