# SPDX-License-Identifier: Apache-2.0
"""The words of `python -m nsenter run` for what `nsenter.options.Options` has.

The spelling is that of unshare(1) and nsenter(1), and bwrap(1)'s for what those do not have.
"""

from __future__ import annotations

from nsenter.bootstrap import TimeOffset
from nsenter.commands.table import Option, Usage
from nsenter.idmap import IDMap, IDMappings
from nsenter.namespaces import NamespaceType, namespace_types
from nsenter.options import ALL, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from nsenter.commands.table import Given

__all__ = ["OPTIONS", "names_namespaces", "options_of"]

_LETTERS = dict(zip(("user", *"ipc uts net pid mnt cgroup time".split()), "UiunpmCT", strict=True))

# Fields of the table that are none of Options: they say what others mean.
_KIND = "kind"  # a bare --net: a new one, or with --target that process's
_TARGET = "target"
_ALL = "all"
_UID_MAP, _GID_MAP = "uid map", "gid map"


# ---- values. Tuples of a field are put together, and so are dicts; of others the last counts.


def _always(value: Any) -> Callable[[str], Any]:
    return lambda word: value


def _new(word: str) -> tuple[str, ...]:
    return tuple(w if w == ALL else NamespaceType.parse(w).ns_name() for w in word.split(","))


def _join(word: str) -> tuple[Any, ...]:
    kind, equals, where = word.partition("=")
    if not equals or not where:
        raise ValueError("expected pid=PID or TYPE=PATH")
    if kind == "pid" and where.isdecimal():
        return (int(where),)
    return ({NamespaceType.parse(kind).ns_name(): where},)


def _kind_or_file(kind: str) -> Callable[[str], Any]:
    return lambda file: ({kind: file},) if file else kind


def _number(word: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise ValueError("expected a whole number") from None


def _pid(word: str) -> int:
    if not word.isdecimal() or not int(word):
        raise ValueError("expected a pid")
    return int(word)


def _offset(clock: str) -> Callable[[str], tuple[TimeOffset]]:
    return lambda word: (TimeOffset(clock, _number(word)),)


def _id_map(word: str) -> tuple[IDMap, ...]:
    parts = word.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ValueError("expected INNER:OUTER:COUNT, three numbers")
    return (IDMap(*map(int, parts)),)


# ---- the table


def _kinds() -> Iterator[Option]:
    for kind in namespace_types():
        word = kind.ns_name()
        names = ("--mount", "--mnt") if word == "mnt" else (f"--{word}",)
        help = f"a new {kind.oci_name} namespace; with --target: that process's; =FILE: that"
        yield Option(
            (*names, f"-{_LETTERS[word]}"), "[FILE]",
            help + (", or that name of ip-netns(8)" if word == "net" else ""),
            _KIND, _kind_or_file(word), "namespaces",
        )  # fmt: skip
        # bwrap(1)'s spelling of --new, which the help of --new tells of.
        yield Option((f"--unshare-{word}",), "", "", "new", _always((word,)), "namespaces")


OPTIONS = (
    Option(
        ("--new",), "TYPE,…|all",
        "create these: user, ipc, uts, net, pid, mnt, cgroup, time; all: all but those joined. "
        "--unshare-net is --new net, and so on",
        "new", _new, "namespaces",
    ),
    Option(
        ("--join",), "pid=PID|TYPE=PATH",
        "join all namespaces of a process, or one by its path; may be repeated",
        "join", _join, "namespaces",
    ),
    Option(
        ("--target", "-t"), "PID",
        "join namespaces of this process: those named by --net and the like, or all",
        _TARGET, _pid, "namespaces",
    ),
    Option(("--unshare-all",), "", "", "new", _always((ALL,)), "namespaces"),
    Option(
        ("--all", "-a"), "",
        "every namespace: new ones, or with --target that process's", _ALL, group="namespaces",
    ),
    *_kinds(),
    Option(
        ("--map-root-user", "--map-root", "-r"), "",
        "be root in a new user namespace (the default where one is created)",
        "maps", _always("root"), "ids",
    ),
    Option(
        ("--map-current-user", "--map-current", "-c"), "",
        "be oneself in a new user namespace", "maps", _always("current"), "ids",
    ),
    Option(
        ("--map-auto",), "",
        "as --map-root-user, with the subordinate ids of /etc/subuid and /etc/subgid besides",
        "maps", _always("auto"), "ids",
    ),
    Option(
        ("--map-users",), "INNER:OUTER:COUNT",
        "uids of a new user namespace; may be repeated", _UID_MAP, _id_map, "ids",
    ),
    Option(
        ("--map-groups",), "INNER:OUTER:COUNT",
        "its gids; may be repeated", _GID_MAP, _id_map, "ids",
    ),
    Option(("--hostname",), "NAME", "of a new uts namespace", "hostname"),
    Option(("--wd", "-w", "--chdir"), "DIR", "the working directory, in the root", "cwd"),
    Option(
        ("--mount-proc",), "",
        "mount a new /proc (the default where the pid and the mnt namespace are new)",
        "proc", _always(True),
    ),
    Option(("--no-proc",), "", "do not", "proc", _always(False)),
    Option(
        ("--monotonic",), "SECONDS", "how far ahead that clock of a new time namespace is",
        "time_offsets", _offset("monotonic"),
    ),
    Option(
        ("--boottime",), "SECONDS", "the same, of the time since boot",
        "time_offsets", _offset("boottime"),
    ),
    Option(("--oom-score-adj",), "NUMBER", "-1000 … 1000", "oom_score_adj", _number),
    Option(("--into-cgroup",), "DIR", "start in this cgroup v2", "cgroup"),
    Option(("--fork", "-f"), "", "as it always is", "nothing"),
)  # fmt: skip


# ---- from words to Options


def options_of(given: Given) -> Options:
    """What the words ask for.

    Raises:
        Usage: two of them contradict each other.
        ValueError, TypeError: as Options does.
    """
    fields: dict[str, Any] = {}
    for name, value in given.values:
        fields[name] = _together(fields.get(name), value)
    new, join = _namespaces(given, fields)
    maps = _maps(fields)
    if maps is not None and ALL not in new and not _has_user(new, join):
        new = (*new, NamespaceType.NEWUSER)
    own = {name: value for name, value in fields.items() if name in Options._fields}
    return Options(**{**own, "new": ALL if ALL in new else new, "join": join or None, "maps": maps})


def names_namespaces(given: Given) -> bool:
    """Whether the words say which namespaces are new or joined."""
    return any(name in ("new", "join", _KIND, _TARGET, _ALL) for name, _ in given.values)


def _together(before: Any, value: Any) -> Any:
    if isinstance(before, tuple) and isinstance(value, tuple):
        return before + value
    if isinstance(before, dict) and isinstance(value, dict):
        return before | value
    return value


def _namespaces(given: Given, fields: dict[str, Any]) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """What is new and what is joined."""
    kinds = [value for value in given.all(_KIND) if isinstance(value, str)]
    files = [item for value in given.all(_KIND) if isinstance(value, tuple) for item in value]
    new, join = fields.get("new", ()), (*fields.get("join", ()), *files)
    target, everything = fields.get(_TARGET), _ALL in fields
    if target is None:
        return (*new, *([ALL] if everything else ()), *kinds), join
    whole = everything or not kinds
    return new, (*join, target if whole else dict.fromkeys(kinds, target))


def _maps(fields: dict[str, Any]) -> Any:
    words, uids, gids = fields.get("maps"), fields.get(_UID_MAP), fields.get(_GID_MAP)
    if uids is None and gids is None:
        return words
    if words is not None:
        raise Usage(f"--map-users and --map-groups: --map-{words} says already which ids there are")
    if uids is None or gids is None:
        raise Usage("--map-users and --map-groups: one takes the other")
    return IDMappings(uids, gids)


def _has_user(new: tuple[str, ...], join: tuple[Any, ...]) -> bool:
    joined = any(isinstance(item, dict) and "user" in item for item in join)
    return joined or any(NamespaceType.parse(word) == NamespaceType.NEWUSER for word in new)
