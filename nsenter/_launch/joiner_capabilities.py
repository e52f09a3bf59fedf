# SPDX-License-Identifier: Apache-2.0
"""The capabilities of a process that joins a PID namespace, before its payload runs.

Processes of that namespace see the joiner from its first moment on, and those with CAP_SYS_PTRACE
can run code in it. It therefore holds no more than its payload is going to have, and what the
steps need that are left to do. csrc/stages/nsexec.c takes the rest before the joiner is there.
"""

from __future__ import annotations

from nsenter._message.capabilities import NUMBERS, encode, full_name
from nsenter._message.launch import LaunchAttribute
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nsenter.launch import Program, PythonInit
    from nsenter.namespaces import Namespaces
    from nsenter.options import Options

    Attribute = tuple[int, int | bytes]

__all__ = ["STEPS", "capabilities_kept", "keep_only", "kept_by_options", "warn_of_host_root"]

_HINT = (
    "this joins a PID namespace, but not the mount namespace of its processes: one that has "
    "CAP_SYS_PTRACE reaches the caller's files through /proc/PID/root; join the mount namespace "
    "too, or give a `root`"
)

STEPS = {
    # The interpreter boots in an empty place, and goes back to its root by chroot(2).
    "root": ("CAP_SYS_CHROOT",),
    # setresuid(2), setresgid(2), setgroups(2)
    "ids": ("CAP_SETUID", "CAP_SETGID"),
    # fchown(2): the standard streams become the user's own.
    "streams": ("CAP_CHOWN",),
    # chdir(2) as root, to a directory that only another user may search.
    "cwd": ("CAP_DAC_OVERRIDE", "CAP_DAC_READ_SEARCH"),
    # open(2) of /dev/pts/ptmx, which has the mode 000 unless the mount says otherwise.
    "console": ("CAP_DAC_OVERRIDE",),
    # open(2) of the directories of Landlock's rules
    "landlock": ("CAP_DAC_READ_SEARCH",),
    # setrlimit(2): raise a hard limit.
    "limits": ("CAP_SYS_RESOURCE",),
    # sched_setattr(2), ioprio_set(2)
    "scheduler": ("CAP_SYS_NICE",),
    # seccomp(2) without no_new_privs
    "filter": ("CAP_SYS_ADMIN",),
}
"""Steps that a joiner does itself, and the capabilities that each needs."""


def keep_only(
    steps: Iterable[str], *, keeps: Iterable[str], bounding: Iterable[str]
) -> tuple[Attribute, ...]:
    """Return the attributes of the launch message for the capabilities of a joiner.

    Args:
        steps: the steps of `STEPS` that it takes.
        keeps: the capabilities that the payload will have in any of its sets, with full names.
        bounding: its bounding set. Unknown capabilities in either are left out.
    """
    return (
        (LaunchAttribute.KEEP_CAPS, _encode(capabilities_kept(steps, keeps=keeps))),
        (LaunchAttribute.BOUNDING, _encode(bounding)),
    )


def capabilities_kept(steps: Iterable[str], *, keeps: Iterable[str]) -> set[str]:
    """Return the capabilities that a joiner keeps. The arguments are those of `keep_only`."""
    needed = {name for step in steps for name in STEPS[step]}
    return {*keeps, *needed}


def _encode(names: Iterable[str]) -> bytes:
    return encode([name for name in map(full_name, names) if name in NUMBERS])


def kept_by_options(
    options: Options, namespaces: Namespaces, target: Program | PythonInit
) -> tuple[Attribute, ...]:
    """Return `keep_only` for a process with these options; nothing if it may keep everything."""
    if options.capabilities is None:
        return ()
    keeps = options.capabilities
    return keep_only(_steps_of(options, namespaces, target), keeps=keeps, bounding=keeps)


def _steps_of(
    options: Options, namespaces: Namespaces, target: Program | PythonInit
) -> Iterator[str]:
    if namespaces.contains(NamespaceType.NEWNS):
        yield from target.steps_in_root
    if (options.uid, options.gid, options.groups) != (None, None, None):
        yield "ids"
    if options.terminal:
        yield "streams"
    if options.rlimits:
        yield "limits"
    if options.landlock is not None:
        yield "landlock"
    if options.no_new_privs is False and (options.seccomp is not None or options.landlock):
        yield "filter"


def warn_of_host_root(options: Options, namespaces: Namespaces) -> None:
    """Warn if processes of the joined PID namespace can reach the caller's root through the joiner.

    The joiner has the caller's mount namespace if it does not join another one as well.
    """
    is_whole = isinstance(options.join, int) or hasattr(options.join, "pidfd")
    if is_whole or options.root is not None or namespaces.path_of(NamespaceType.NEWNS):
        return
    import warnings

    warnings.warn(_HINT, RuntimeWarning, stacklevel=3)
