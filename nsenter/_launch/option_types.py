# SPDX-License-Identifier: Apache-2.0
"""The type of each field of `nsenter.options.Options`.

With it, an error about a wrong type is raised where the options are made, and not at a later start.
"""

from __future__ import annotations

import os

from nsenter._launch.argument_checks import FLAG

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter.options import Options

__all__ = ["check"]

_NAME = (str, bytes)
_PATH = (str, bytes, os.PathLike)
_FLAGS = ("loopback", "read_only", "new_session", "terminal", "die_with_parent")
_PERHAPS = ("proc", "init", "no_new_privs")
_FD_MAX = 2**31 - 1

# What a field may be besides its default, and how that is said.
_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "hostname": (_NAME, "a string"),
    "cwd": (_PATH, "a path"),
    "oom_score_adj": ((int,), "a whole number"),
    "cgroup": ((*_PATH, int), "a path or a descriptor"),
    "umask": ((int,), "a whole number, 0 … 0o777"),
    **dict.fromkeys(_FLAGS, ((bool,), FLAG)),
    **dict.fromkeys(_PERHAPS, ((bool,), "True, False or None")),
}


# The fields that are a mapping, what its keys must be, and how that is said.
_MAPPINGS: dict[str, tuple[tuple[type, ...], str]] = {
    "rlimits": ((str,), "names of resources"),
    "landlock": (_PATH, "paths"),
}
# The fields that are a sequence, what each item must be, and how that is said.
_SEQUENCES: dict[str, tuple[tuple[type, ...], str]] = {
    "cpus": ((int,), "numbers of processors"),
    "groups": ((int,), "numbers of groups"),
    "capabilities": ((str,), "names of capabilities"),
    "landlock_scope": ((str,), "names of scopes"),
}


def check(options: Options) -> None:
    """Raise TypeError for a field of the wrong type, and ValueError for a cgroup that is none."""
    for name, (kinds, words) in _FIELDS.items():
        value = getattr(options, name)
        if value is None and options._fields[name] is None:
            continue
        if not _is_one(value, kinds):
            raise TypeError(f"{name} must be {words}, not {value!r}")
    for name, (kinds, words) in _MAPPINGS.items():
        value = getattr(options, name)
        if value is None:
            continue
        if not hasattr(value, "items"):
            raise TypeError(f"{name} must be a mapping, not {value!r}")
        if not all(isinstance(key, kinds) for key in value):
            raise TypeError(f"{name} must be a mapping whose keys are {words}, not {value!r}")
    for name, (kinds, words) in _SEQUENCES.items():
        value = getattr(options, name)
        if value is None:
            continue
        # The items of bytes are numbers.
        if isinstance(value, bytes) or not all(_is_one(item, kinds) for item in value):
            raise TypeError(f"{name} must be {words}, not {value!r}")
    _check_root(options.root)
    _check_cgroup(options.cgroup)
    _check_limits(options)
    _check_offsets(options)


def _is_one(value: object, kinds: tuple[type, ...]) -> bool:
    """Return whether a value is of these types. True and False are no numbers here."""
    return isinstance(value, kinds) and (bool in kinds or not isinstance(value, bool))


def _check_root(root: object) -> None:
    if root is None or isinstance(root, _PATH):
        return
    from nsenter.mounts import Attached, Tmpfs

    if not isinstance(root, (Tmpfs, Attached)):
        raise TypeError(f'root must be a path, "tmpfs" or a Tmpfs, not {root!r}')


def _check_cgroup(cgroup: Any) -> None:
    if isinstance(cgroup, int):
        if not 0 <= cgroup <= _FD_MAX:
            raise ValueError(f"cgroup must be a descriptor, 0 … {_FD_MAX}, not {cgroup!r}")
    elif cgroup is not None and (not cgroup or b"\0" in os.fsencode(cgroup)):
        raise ValueError(f"cgroup must be a path without NUL, not {cgroup!r}")


def _check_limits(options: Options) -> None:
    from nsenter._cgroups.limits import Limits

    if options.limits is None:
        return
    if not isinstance(options.limits, Limits):
        raise TypeError(f"limits must be an nsenter.Limits, not {options.limits!r}")
    if options.cgroup is not None:
        raise ValueError("limits and cgroup cannot both be given: limits makes a cgroup")


def _check_offsets(options: Options) -> None:
    from nsenter.bootstrap import TimeOffset

    for offset in options.time_offsets:
        if not isinstance(offset, TimeOffset):
            raise TypeError(f"time_offsets must be TimeOffset values, not {offset!r}")
