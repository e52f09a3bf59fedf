# SPDX-License-Identifier: Apache-2.0
"""Of what type each field of `nsenter.options.Options` is, so that a mistake is told where it is
made, not at some later start."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter.options import Options

__all__ = ["check"]

_NAME = (str, bytes)
_PATH = (str, bytes, os.PathLike)
_FLAG = "True or False"
_FLAGS = ("loopback", "read_only", "new_session", "terminal", "die_with_parent")
_PERHAPS = ("proc", "init", "no_new_privs")

# What a field may be besides its default, and how that is said.
_FIELDS: dict[str, tuple[tuple[type, ...], str]] = {
    "hostname": (_NAME, "a text"),
    "cwd": (_PATH, "a path"),
    "oom_score_adj": ((int,), "a whole number"),
    "cgroup": ((*_PATH, int), "a path or a descriptor"),
    "umask": ((int,), "a whole number, 0 … 0o777"),
    **dict.fromkeys(_FLAGS, ((bool,), _FLAG)),
    **dict.fromkeys(_PERHAPS, ((bool,), f"{_FLAG} or None")),
}


def check(options: Options) -> None:
    """Raises TypeError for a field of the wrong type."""
    for name, (kinds, words) in _FIELDS.items():
        value = getattr(options, name)
        if value is None and options._fields[name] is None:
            continue
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise TypeError(f"{name} must be {words}, not {value!r}")
    for name in ("rlimits", "landlock"):
        value = getattr(options, name)
        if value is not None and not hasattr(value, "items"):
            raise TypeError(f"{name} must be a mapping, not {value!r}")
    for name, words in (("cpus", "numbers of processors"), ("groups", "numbers of groups")):
        value = getattr(options, name)
        if value is not None and not all(type(number) is int for number in value):
            raise TypeError(f"{name} must be {words}, not {value!r}")
    _check_offsets(options)


def _check_offsets(options: Options) -> None:
    from nsenter.bootstrap import TimeOffset

    for offset in options.time_offsets:
        if not isinstance(offset, TimeOffset):
            raise TypeError(f"time_offsets must be TimeOffset values, not {offset!r}")
