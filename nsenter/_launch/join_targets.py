# SPDX-License-Identifier: Apache-2.0
"""What can be joined: a process, a running container, a descriptor, a path, a named network."""

from __future__ import annotations

import os

from nsenter._host.hints import read_line
from nsenter._host.syscalls import Failure, pidfd_open
from nsenter.errors import BootstrapError
from nsenter.namespaces import Namespace, NamespaceType, supported_namespaces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from nsenter._launch.descriptors import Descriptors

__all__ = ["check_target", "joined", "program_of"]

_STAYING_INIT = "nsinit"  # the name that csrc/stages/pid1.c gives itself
# Where ip-netns(8) keeps named network namespaces.
_NETNS_FOLDER = "/run/netns"
_PID_MAX = 2**31 - 1


def joined(target: Any, owner: Descriptors) -> list[Namespace]:
    """Return the namespaces that `Options.join` names, in no particular order.

    Args:
        target: see `nsenter.options.Options`.
        owner: owns the descriptors that are opened here; they must stay open until the process has
            started.

    Raises:
        TypeError: the target cannot be joined.
        ValueError: a type is given twice, or a word is unknown.
        OSError: the process has ended.
    """
    if target is None:
        return []
    if isinstance(target, Namespace):
        return [target]
    if _is_mapping(target):
        return [_one(NamespaceType.parse(kind), where, owner) for kind, where in target.items()]
    if isinstance(target, (tuple, list)):
        return [found for item in target for found in joined(item, owner)]
    paths = _namespace_paths(target)
    if paths is not None:
        # The caller's own are left out: the kernel refuses to join one's own user namespace.
        found = (Namespace(kind, path) for kind, path in paths.items())
        return [ns for ns in found if not _is_ours(ns.path, ns.type)]
    return _of_process(_pidfd(target, owner), owner)


def check_target(target: Any) -> None:
    """Raise an error if `joined` could never take this target; nothing is opened.

    Raises:
        TypeError: it is nothing that can be joined.
        ValueError: it has an unknown type of namespace, a path with a NUL, or no pid.
    """
    if target is None or isinstance(target, Namespace):
        return
    if _is_mapping(target):
        for kind, where in target.items():
            NamespaceType.parse(kind)
            if isinstance(where, (str, os.PathLike)):
                _path(kind, where)
            else:
                _check_process(where)
    elif isinstance(target, (tuple, list)):
        for item in target:
            check_target(item)
    elif not hasattr(target, "namespace_paths") and not callable(getattr(target, "state", None)):
        _check_process(target)


def _check_process(target: Any) -> None:
    if isinstance(target, int) and not isinstance(target, bool):
        if not 0 < target <= _PID_MAX:
            raise ValueError(f"join={target!r}: a pid must be 1 … {_PID_MAX}")
    elif not hasattr(target, "pidfd") and not hasattr(target, "fileno"):
        raise _cannot_be_joined(target)


def _path(kind: object, where: str | os.PathLike[str]) -> str:
    path = os.fspath(where)
    if not path or "\0" in path:
        raise ValueError(f"join={{{kind!r}: {where!r}}}: it must be a path or a name without NUL")
    return path


def _cannot_be_joined(target: object) -> TypeError:
    return TypeError(
        f"join={target!r}: expected a pid, a Namespace, something with `pidfd`, `fileno()` or "
        "`namespace_paths`, or a mapping of namespace types to those or to paths"
    )


def _is_mapping(target: Any) -> bool:
    return hasattr(target, "keys") and hasattr(target, "items")


def _namespace_paths(target: Any) -> Mapping[str, str] | None:
    """Return the paths of a running Container, of its State, or of any object that has them."""
    if not hasattr(target, "namespace_paths") and callable(getattr(target, "state", None)):
        target = target.state()
    paths = getattr(target, "namespace_paths", None)
    if paths is not None and not paths:
        raise ValueError(f"join={target!r}: it does not run: it has no namespaces to join")
    return paths


def _one(kind: NamespaceType, where: object, owner: Descriptors) -> Namespace:
    if isinstance(where, (str, os.PathLike)):
        path = _path(kind.ns_name(), where)
        if kind == NamespaceType.NEWNET and "/" not in path:
            path = f"{_NETNS_FOLDER}/{path}"
        return Namespace(kind, path)
    pidfd = _pidfd(where, owner)
    if isinstance(where, int) or hasattr(where, "pidfd"):
        pidfd = _open_to_us(pidfd, owner)
    return Namespace.from_fd(kind, pidfd)


def _pidfd(target: Any, owner: Descriptors) -> int:
    """Return a pidfd for a pid, or the descriptor of an object such as nsenter.Popen or Child."""
    if isinstance(target, int) and not isinstance(target, bool):
        try:
            return owner.add(pidfd_open(target))
        except Failure as failure:  # a filter refuses pidfd_open(2)
            where = f"join={target}"
            raise BootstrapError("launcher", failure.operation, where, failure.errno or 0) from None
        except OSError as error:
            raise OSError(error.errno, f"join={target}: {error.strerror}") from None
    pidfd = getattr(target, "pidfd", None)
    if isinstance(pidfd, int):
        if pidfd < 0:
            raise ProcessLookupError(f"join={target!r}: it has ended")
        return pidfd
    if hasattr(target, "fileno"):
        return int(target.fileno())
    raise _cannot_be_joined(target)


def _of_process(pidfd: int, owner: Descriptors) -> list[Namespace]:
    """Return every namespace of a process that differs from the caller's."""
    pidfd = _open_to_us(pidfd, owner)
    pid = pid_of(pidfd)
    kinds = supported_namespaces()
    found = [kind for kind in kinds if not _is_ours(f"/proc/{pid}/ns/{kind.ns_name()}", kind)]
    pid_of(pidfd)  # Raises if the process has ended, because its pid could have been reused.
    return [Namespace.from_fd(kind, pidfd) for kind in found]


def _open_to_us(pidfd: int, owner: Descriptors) -> int:
    """Return a pidfd of the process.

    If the process is an init that the caller may not access, return a pidfd of its program.
    """
    pid = pid_of(pidfd)
    if os.access(f"/proc/{pid}/ns/user", os.R_OK):
        return pidfd
    program = program_of(pid)
    return owner.add(pidfd_open(program)) if program else pidfd


def program_of(pid: int) -> int:
    """Return the pid of the program if `pid` is the init that nsenter keeps, otherwise 0.

    An ordinary user may not access that init (csrc/stages/pid1.c), and joins the namespaces of its
    program instead. The program is the first child of the init, which ends with it.
    """
    if read_line(f"/proc/{pid}/comm") != _STAYING_INIT:
        return 0
    children = read_line(f"/proc/{pid}/task/{pid}/children").split()
    return int(children[0]) if children else 0


def pid_of(pidfd: int) -> int:
    """Return the pid of a pidfd in the caller's /proc.

    Raises:
        ProcessLookupError: the process has ended, or is not visible here.
    """
    with open(f"/proc/self/fdinfo/{pidfd}", encoding="ascii") as file:
        numbers = [line.split()[1] for line in file if line.startswith("Pid:")]
    if not numbers:
        raise ValueError(f"descriptor {pidfd}: it is no pidfd")
    if int(numbers[0]) <= 0:
        raise ProcessLookupError(f"descriptor {pidfd}: its process has ended, or is not of ours")
    return int(numbers[0])


def _is_ours(path: str, kind: NamespaceType) -> bool:
    try:
        theirs = os.stat(path)
    except OSError as error:
        raise BootstrapError("launcher", "open", path, error.errno or 0) from None
    ours = os.stat(f"/proc/self/ns/{kind.ns_name()}")
    return os.path.samestat(theirs, ours)
