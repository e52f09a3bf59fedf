# SPDX-License-Identifier: Apache-2.0
"""The command line options of `python -m nsenter run` for the fields of `nsenter.options.Options`.

They are spelled as in unshare(1) and nsenter(1), or else as in bwrap(1).
"""

from __future__ import annotations

from nsenter._cgroups.limits import Limits
from nsenter._host.hints import read_line
from nsenter.bootstrap import TimeOffset
from nsenter.commands.table import Option, Usage
from nsenter.idmap import IDMap, IDMappings
from nsenter.mounts import Bind, Dev, Proc, Tmpfs
from nsenter.namespaces import NamespaceType, namespace_types
from nsenter.options import ALL, Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any

    from nsenter.commands.table import ParsedArguments
    from nsenter.mounts import Mount

__all__ = ["OPTIONS", "names_namespaces", "options_of"]

_LETTERS = dict(zip(("user", *"ipc uts net pid mnt cgroup time".split()), "UiunpmCT", strict=True))

# The limits that can be given, and how their values are read.
_LIMITS: dict[str, Callable[[str], Any]] = {"memory": str, "swap": str, "pids": int, "cpus": float}
_PRESETS = ("sandbox", "offline", "rootless-root")
_UNITS = {"K": 10, "M": 20, "G": 30}

# Fields of the table that are none of Options: they say what others mean.
_KIND = "kind"  # a bare --net: a new one, or with --target that process's
_TARGET = "target"
_ALL = "all"
_PRESET = "preset"
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


def _tree_limit(word: str) -> dict[str, Any]:
    name, equals, value = word.partition("=")
    if not equals or name not in _LIMITS:
        raise ValueError(f"expected NAME=VALUE, where NAME is {', '.join(_LIMITS)}")
    try:
        return {name: _LIMITS[name](value)}
    except ValueError:
        raise ValueError("expected a number") from None


def _offset(clock: str) -> Callable[[str], tuple[TimeOffset]]:
    return lambda word: (TimeOffset(clock, _number(word)),)


def _id_map(word: str) -> tuple[IDMap, ...]:
    parts = word.split(":")
    if len(parts) != 3 or not all(part.isdecimal() for part in parts):
        raise ValueError("expected INNER:OUTER:COUNT, three numbers")
    return (IDMap(*map(int, parts)),)


def _preset(word: str) -> str:
    if word not in _PRESETS:
        raise ValueError(f"expected one of {', '.join(_PRESETS)}")
    return word.replace("-", "_")


def _numbers(word: str) -> tuple[int, ...]:
    return tuple(map(_number, word.split(","))) if word else ()


def _words(word: str) -> tuple[str, ...]:
    return tuple(word.split(","))


def _octal(word: str) -> int:
    try:
        return int(word, 8)
    except ValueError:
        raise ValueError("expected an octal number") from None


def _processors(word: str) -> tuple[int, ...]:
    found: list[int] = []
    for part in word.split(","):
        first, dash, last = part.partition("-")
        found += range(_number(first), _number(last if dash else first) + 1)
    return tuple(found)


def _bind(**how: bool) -> Callable[[str, str], tuple[Mount]]:
    return lambda source, target: (Bind(source, target, **how),)


def _at(kind: Callable[[str], Mount]) -> Callable[[str], tuple[Mount]]:
    return lambda target: (kind(target),)


def _size(word: str) -> int:
    """Bytes; K, M and G stand for 1024 and its powers."""
    number, unit = (word[:-1], word[-1]) if word[-1:] in _UNITS else (word, "")
    if not number.isdecimal() or not int(number):
        raise ValueError("expected a number of bytes, with K, M or G behind it or without")
    return int(number) << _UNITS.get(unit, 0)


def _sized(size: str, target: str) -> tuple[Mount]:
    return (Tmpfs(target, size=_size(size)),)


def _root(word: str) -> str | Tmpfs:
    kind, colon, size = word.partition(":")
    return Tmpfs("/", size=_size(size)) if colon and kind == "tmpfs" else word


def _limit(word: str) -> dict[str, tuple[int | str, int | str]]:
    name, equals, value = word.partition("=")
    soft, colon, hard = value.partition(":")
    if not equals or not soft or bool(colon) != bool(hard):
        raise ValueError("expected NAME=SOFT or NAME=SOFT:HARD")
    soft_and_hard = (_limit_value(soft), _limit_value(hard or soft))
    return {name: soft_and_hard}


def _limit_value(word: str) -> int | str:
    return int(word) if word.isdecimal() else word


def _rule(word: str) -> dict[str, str]:
    path, colon, letters = word.rpartition(":")
    if not colon or not path or set(letters) - set("rwx"):
        raise ValueError("expected PATH:LETTERS, of r, w and x")
    return {path: letters}


def _filter(word: str) -> object:
    from nsenter.seccomp import strict

    if word == "strict":
        return strict()
    with open(word, "rb") as file:
        return file.read()


def _all_capabilities(word: str = "") -> tuple[str, ...]:
    """Return the capabilities that this kernel knows and this process could give."""
    from nsenter._message.capabilities import NAMES

    return NAMES[: int(read_line("/proc/sys/kernel/cap_last_cap") or len(NAMES) - 1) + 1]


def _capabilities(word: str) -> tuple[str, ...]:
    if word == ALL:
        return _all_capabilities()
    return tuple(word.split(",")) if word else ()


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
    Option(
        ("--setuid", "-S", "--uid"), "UID", "be this user, as it is inside", "uid", _number, "ids",
    ),
    Option(("--setgid", "-G", "--gid"), "GID", "be in this group", "gid", _number, "ids"),
    Option(
        ("--groups",), "GID,…", "the supplementary groups; '': none", "groups", _numbers, "ids",
    ),
    Option(
        ("--root", "-R"), "DIR",
        "the root of the command; `tmpfs`: an empty one in memory, of 64 MiB; or `tmpfs:SIZE`",
        "root", _root, "files",
    ),
    Option(
        ("--read-only",), "", "mount the root read-only, with all that is mounted below it",
        "read_only", _always(True), "files",
    ),
    Option(
        ("--bind",), "SOURCE TARGET", "mount a file or folder there", "mounts",
        _bind(writable=True), "files",
    ),
    Option(
        ("--ro-bind",), "SOURCE TARGET", "the same, read-only", "mounts", _bind(), "files",
    ),
    Option(
        ("--dev-bind",), "SOURCE TARGET", "the same, writable, with its device files", "mounts",
        _bind(writable=True, devices=True), "files",
    ),
    Option(("--tmpfs",), "TARGET", "mount an empty file system in memory, of 64 MiB", "mounts",
           _at(Tmpfs), "files"),
    Option(("--tmpfs-of",), "SIZE TARGET", "the same, of SIZE bytes, or 512K, 512M, 2G", "mounts",
           _sized, "files"),
    Option(("--proc",), "TARGET", "mount a new /proc there", "mounts", _at(Proc), "files"),
    Option(("--dev",), "TARGET", "mount a minimal /dev there", "mounts", _at(Dev), "files"),
    Option(
        ("--mount-proc",), "",
        "mount a new /proc (the default where the pid and the mnt namespace are new)",
        "proc", _always(True), "files",
    ),
    Option(("--no-proc",), "", "do not mount a new /proc", "proc", _always(False), "files"),
    Option(("--wd", "-w", "--chdir"), "DIR", "the working directory, in the root", "cwd",
           group="files"),
    Option(("--umask",), "OCTAL", "of new files", "umask", _octal, "files"),
    Option(
        ("--preset",), "NAME",
        f"start from this, which the other options then change: {', '.join(_PRESETS)}",
        _PRESET, _preset, "what is denied",
    ),
    Option(
        ("--caps",), "NAME,…|all", "keep these capabilities alone; '': none", "capabilities",
        _capabilities, "what is denied",
    ),
    Option(
        ("--keep-caps",), "",
        "keep all capabilities, whoever it is to be: they are ambient for another user than 0",
        "capabilities", _all_capabilities, "what is denied",
    ),
    Option(
        ("--no-new-privs",), "", "no program gives privileges any more (prctl(2))",
        "no_new_privs", _always(True), "what is denied",
    ),
    Option(
        ("--landlock",), "PATH:[r][w][x]",
        "what may be read, written and executed below a path; elsewhere nothing may (landlock(7))",
        "landlock", _rule, "what is denied",
    ),
    Option(
        ("--landlock-bind",), "PORT,…", "the TCP ports that may be bound, and no others; '': none",
        "landlock_bind", _numbers, "what is denied",
    ),
    Option(
        ("--landlock-connect",), "PORT,…",
        "the TCP ports that may be connected to, and no others; '': none",
        "landlock_connect", _numbers, "what is denied",
    ),
    Option(
        ("--landlock-scope",), "NAME,…",
        "abstract_unix_socket, signal: neither leaves the command (landlock(7))",
        "landlock_scope", _words, "what is denied",
    ),
    Option(
        ("--seccomp",), "FILE|strict",
        "put on this filter: a file of struct sock_filter; strict: what ordinary programs never do",
        "seccomp", _filter, "what is denied",
    ),
    Option(
        ("--rlimit",), "NAME=SOFT[:HARD]", "a limit, named as in prlimit(1); may be repeated",
        "rlimits", _limit, "what is denied",
    ),
    Option(
        ("--cpus",), "LIST", "the processors that it may run on, as 0-2,5", "cpus", _processors,
        "what is denied",
    ),
    Option(("--into-cgroup",), "DIR", "start in this cgroup v2", "cgroup", group="what is denied"),
    Option(
        ("--limit",), "NAME=VALUE",
        "memory=SIZE, swap=SIZE, pids=NUMBER or cpus=NUMBER of the command and all that it starts, "
        "in a cgroup of its own",
        "limits", _tree_limit, "what is denied",
    ),
    Option(("--hostname",), "NAME", "of a new uts namespace", "hostname"),
    Option(
        ("--no-loopback",), "", "leave the loopback device of a new net namespace down",
        "loopback", _always(False),
    ),
    Option(
        ("--monotonic",), "SECONDS", "how far ahead that clock of a new time namespace is",
        "time_offsets", _offset("monotonic"),
    ),
    Option(
        ("--boottime",), "SECONDS", "the same, of the time since boot",
        "time_offsets", _offset("boottime"),
    ),
    Option(("--oom-score-adj",), "NUMBER", "-1000 … 1000", "oom_score_adj", _number),
    Option(
        ("--init",), "", "keep a small PID 1 in a new pid namespace: reaps, passes signals on",
        "init", _always(True),
    ),
    Option(
        ("--die-with-parent", "--kill-child"), "", "kill it when this command ends, however",
        "die_with_parent", _always(True),
    ),
    Option(
        ("--terminal",), "", "give it a terminal of its own, which this command passes on",
        "terminal", _always(True),
    ),
    Option(
        ("--same-session",), "", "stay in the session and the process group of this command",
        "new_session", _always(False),
    ),
    Option(("--fork", "-f", "--new-session"), "", "as it always is", "nothing"),
)  # fmt: skip


# ---- from words to Options


def options_of(given: ParsedArguments) -> Options:
    """Return the Options for the arguments.

    Raises:
        Usage: two arguments contradict each other.
        ValueError, TypeError: see `Options`.
    """
    fields: dict[str, Any] = {}
    for name, value in given.values:
        fields[name] = _together(fields.get(name), value)
    new, join = _namespaces(given, fields)
    maps = _maps(fields)
    for name in ("new", "join", "maps"):
        fields.pop(name, None)
    if maps and _PRESET not in fields and ALL not in new and not _has_user(new, join):
        new = (*new, NamespaceType.NEWUSER)
    if "limits" in fields:
        fields["limits"] = Limits(**fields["limits"])
    own = {name: value for name, value in fields.items() if name in Options._fields}
    found = {"new": ALL if ALL in new else new, "join": join, "maps": maps}
    return _start_from(fields.get(_PRESET))(**own, **{k: v for k, v in found.items() if v})


def _start_from(preset: str | None) -> Callable[..., Options]:
    if preset is None:
        return Options
    from nsenter import presets

    function: Callable[..., Options] = getattr(presets, preset)
    return function


def names_namespaces(given: ParsedArguments) -> bool:
    """Return whether the arguments name new or joined namespaces."""
    return any(name in ("new", "join", _KIND, _TARGET, _ALL) for name, _ in given.values)


def _together(before: Any, value: Any) -> Any:
    if isinstance(before, tuple) and isinstance(value, tuple):
        return before + value
    if isinstance(before, dict) and isinstance(value, dict):
        return before | value
    return value


def _namespaces(
    given: ParsedArguments, fields: dict[str, Any]
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    """Return the new and the joined namespaces."""
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
        raise Usage(f"--map-users and --map-groups cannot be given together with --map-{words}")
    if uids is None or gids is None:
        raise Usage("--map-users and --map-groups must be given together")
    return IDMappings(uids, gids)


def _has_user(new: tuple[str, ...], join: tuple[Any, ...]) -> bool:
    joined = any(isinstance(item, dict) and "user" in item for item in join)
    return joined or any(NamespaceType.parse(word) == NamespaceType.NEWUSER for word in new)
