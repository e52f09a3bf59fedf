# SPDX-License-Identifier: Apache-2.0
"""Starting a process in a cgroup of its own, which `Options.limits` asks for."""

from __future__ import annotations

from nsenter._cgroups.limited import LimitedTree
from nsenter._cgroups.limits import RLIMITS, rlimits_of
from nsenter._host.cleanup import undo
from nsenter._host.syscalls import Failure
from nsenter._launch.child import Child
from nsenter.errors import BootstrapError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from nsenter._cgroups.limits import Limits
    from nsenter._launch.descriptors import Descriptors
    from nsenter.options import Options

    # Starts the process: with options, the descriptor of a cgroup v2, those of `tasks` of v1, and
    # whether it must wait for Child.go.
    Start = Callable[[Options, int | None, tuple[int, ...], bool], Child]

__all__ = ["check", "start_limited"]

_CGROUP, _RLIMIT, _NOTHING = "cgroup", "rlimit", "not limited"


def start_limited(
    options: Options, inits: int, start: Start, owner: Descriptors, *, waits: bool, goes_on: bool
) -> Child:
    """Start a process in a cgroup of its own with `options.limits`.

    Args:
        options: the options of the process.
        inits: how many processes the limit does not count.
        start: starts the process.
        owner: closes the descriptors of the cgroup.
        waits: whether the process is a program, which can be made to wait. Otherwise it waits by
            itself for what it is told.
        goes_on: whether the process goes on without `Child.go`.

    Raises:
        BootstrapError: the cgroup cannot be made, and it is required.
    """
    limits = options.limits
    assert limits is not None
    tree = _make_tree(limits, inits)
    if tree is None:
        rlimits = {**rlimits_of(limits), **(options.rlimits or {})}
        child = start(options.replace(limits=None, rlimits=rlimits), None, (), not goes_on)
    else:
        child = _start_in(tree, options, start, owner, waits, goes_on)
    child.limited_by = _enforcement(limits, tree)
    return child


def check(limits: Limits) -> None:
    """Raise BootstrapError if these limits are required and cannot be set here."""
    tree = _make_tree(limits, 0)
    if tree is not None:
        tree.finish()


def _make_tree(limits: Limits, inits: int) -> LimitedTree | None:
    try:
        return LimitedTree(limits, inits)
    except Failure as failure:
        if not limits.required or not limits.given():
            return None
        raise _refusal(limits, failure) from None


def _refusal(limits: Limits, failure: Failure) -> BootstrapError:
    words = ", ".join(f"{name}={value}" for name, value in limits.given().items())
    where = " ".join(filter(None, (failure.operation, failure.subject)))
    advice = "required=False limits each process by itself instead, as far as that is possible"
    error = BootstrapError("launcher", "limit", words, failure.errno or 0, hint=advice)
    error.strerror = f"no cgroup can be used for this: {where}: {failure.strerror}"
    return error


def _enforcement(limits: Limits, tree: LimitedTree | None) -> dict[str, str]:
    if tree is not None:
        return dict.fromkeys(limits.given(), _CGROUP)
    return {name: _RLIMIT if name in RLIMITS else _NOTHING for name in limits.given()}


def _start_in(
    tree: LimitedTree,
    options: Options,
    start: Start,
    owner: Descriptors,
    waits: bool,
    goes_on: bool,
) -> Child:
    """Start a process in a cgroup. If that fails, the cgroup is removed."""
    try:
        if tree.is_moved_to:
            child = start(options, None, (), waits or not goes_on)
        else:
            fd = tree.tree.fd()
            cgroup = None if fd is None else owner.add(fd)
            tasks_fds = tuple(owner.add(fd) for fd in tree.tree.tasks_fds())
            child = start(options, cgroup, tasks_fds, not goes_on)
    except BaseException as error:
        undo(error, tree.finish)
        raise
    child.tree = tree
    try:
        if tree.is_moved_to:
            tree.attach({child.pid, child.program_pid})
            if waits and goes_on:
                child.go()
        tree.started()
    except BaseException as error:
        undo(error, child.__exit__)
        raise
    return child
