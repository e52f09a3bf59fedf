# SPDX-License-Identifier: Apache-2.0
"""What happens to a process between "in the namespaces" and its payload, as attributes of the
second message. csrc/tail.c carries it out, in its own order.
"""

from __future__ import annotations

import os
import sys

from nsenter.settings import LaunchAttribute
from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nsenter.mounts import Mount, Path, Tmpfs
    from nsenter.options import Options

    Attribute = tuple[int, int | bytes]

__all__ = ["Tail", "tail_of"]

_ID_MAX = 2**32 - 2
TMPFS = "tmpfs"


class Tail(Value):
    """For `nsenter.launch.launch`.

    Args:
        attributes: what is asked for; types and values.
        die_with_parent: the process is started so that it ends with this one, not with a thread.
        init: it is the child of a PID 1 that stays.
        terminal: its streams are a new pty.
        console: where that one is mounted as well; None: nowhere.
        held: the program waits for `Child.go` before it is executed.
    """

    attributes: tuple[tuple[int, int | bytes], ...] = ()
    die_with_parent: bool = False
    init: bool = False
    terminal: bool = False
    console: bytes | None = None
    held: bool = False

    def with_console(self, terminal: str) -> tuple[Attribute, ...]:
        """The attributes, with a mount more: of the terminal with this path."""
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


def tail_of(
    options: Options,
    *,
    mounts: Iterable[Mount],
    loopback: bool,
    init: bool,
    process_group: int | None = None,
    held: bool = False,
) -> Tail | None:
    """The tail of a process with these options; None where it has none.

    Args:
        mounts: all that is mounted.
        loopback: whether there is a new network, the loopback of which is to be up.
        init: whether there is a PID 1 that stays.
        process_group: which one it joins; None: none.
        held: whether the program waits before it is executed.

    Raises:
        ValueError, TypeError: an option is bad; it is in the message.
    """
    attributes = list(_attributes(options, mounts))
    if loopback:
        attributes.append((LaunchAttribute.LOOPBACK, 1))
    if process_group is not None:
        attributes.append((LaunchAttribute.PROCESS_GROUP, process_group))
    ways = (options.die_with_parent, init, options.terminal)
    if not attributes and not held and not any(ways):
        return None
    console = _console(mounts) if options.terminal else None
    return Tail(tuple(attributes), *ways, console=console, held=held)


def _console(mounts: Iterable[Mount]) -> bytes | None:
    """In the last /dev that is made."""
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
        raise ValueError("read_only: this takes a `root`")
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


def _is_in_memory(root: Path | Tmpfs) -> bool:
    return root == TMPFS or not isinstance(root, (str, bytes, os.PathLike))


def _checked_root(root: Path | Tmpfs) -> bytes:
    if not isinstance(root, (str, bytes, os.PathLike)):
        if os.fsencode(root.target) != b"/":
            raise ValueError(f'root {root!r}: target must be "/"')
        return b"%b,%b" % (TMPFS.encode(), root.options())
    raw = os.fsencode(root)
    if root != TMPFS and (not raw.startswith(b"/") or b"\0" in raw):
        raise ValueError(f'root {root!r}: must be an absolute path without NUL, or "{TMPFS}"')
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
        from nsenter import capabilities

        yield LaunchAttribute.CAPABILITIES, capabilities.encode(options.capabilities)


def _checked_id(name: str, number: int) -> int:
    if not isinstance(number, int) or not 0 <= number <= _ID_MAX:
        raise ValueError(f"{name} {number!r}: must be a number, 0 … {_ID_MAX}")
    return number


def _limits(options: Options) -> Iterator[Attribute]:
    if not options.rlimits and options.umask is None and options.cpus is None:
        return
    from nsenter import limits

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
        from nsenter import landlock

        yield LaunchAttribute.LANDLOCK, landlock.encode(options)
    if options.seccomp is not None:
        from nsenter import seccomp

        code, flags = seccomp.encode(options.seccomp)
        yield LaunchAttribute.SECCOMP, code
        if flags:
            yield LaunchAttribute.SECCOMP_FLAGS, flags
