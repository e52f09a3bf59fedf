# SPDX-License-Identifier: Apache-2.0
"""Mappings of user and group ids between a user namespace and its parent.

user_namespaces(7) and the kernel's map_write (kernel/user_namespace.c) say which are valid. The
text form is that of runc's encodeIDMapping (libcontainer/container_linux.go). subuid(5) and
subgid(5) say who may use which ids.
"""

from __future__ import annotations

import os
from _collections_abc import Callable, Iterable, Iterator, Sequence  # without all of collections
from itertools import pairwise

from nsenter._host.records import Value

__all__ = [
    "MAX_BYTES",
    "MAX_LINES",
    "IDMap",
    "IDMappings",
    "SubIDRange",
    "check",
    "encode",
    "host_id",
    "map_auto",
    "map_current",
    "map_root",
    "parse",
    "parse_subid",
    "subordinate_ranges",
]

MAX_LINES = 340
"""The largest number of lines in a map: UID_GID_MAP_MAX_EXTENTS, since Linux 4.15."""

MAX_BYTES = 4095
"""The longest map in bytes: map_write refuses a whole page, and no page is below 4096 bytes."""

# (uid_t)-1 is not an id: system calls take it for "leave unchanged".
_NO_ID = 2**32 - 1

# The longest decimal number below 2**32 has this many digits.
_MAX_DIGITS = 10

# What useradd(8) allocates by default (login.defs(5), SUB_UID_MIN and SUB_UID_COUNT).
_SUBID_MIN = 100_000
_SUBID_COUNT = 65_536


class IDMap(Value):
    """One line of a map: it maps `size` ids, from `container_id` inside and `host_id` outside on.

    Args:
        container_id: the first id in the new user namespace.
        host_id: the first id in its parent.
        size: the number of ids, at least 1.

    Raises:
        ValueError: a field is not an integer, or an id is above 2**32 - 2, the largest one; the
            message names the field.

    Example:
        >>> IDMap(container_id=0, host_id=1000, size=1)
        IDMap(container_id=0, host_id=1000, size=1)
    """

    container_id: int
    host_id: int
    size: int

    def __post_init__(self) -> None:
        _check_range("id map container_id", self.container_id, "size", self.size)
        _check_range("id map host_id", self.host_id, "size", self.size)


class IDMappings(Value):
    """The two maps of a user namespace.

    Args:
        uid: the lines of the map of user ids.
        gid: the lines of the map of group ids.
    """

    uid: tuple[IDMap, ...]
    gid: tuple[IDMap, ...]


class SubIDRange(Value):
    """A line of subuid(5) or subgid(5): `count` subordinate ids from `start` on.

    Args:
        start: the first id.
        count: the number of ids, at least 1.

    Raises:
        ValueError: see `IDMap`.
    """

    start: int
    count: int

    def __post_init__(self) -> None:
        _check_range("subordinate ids' start", self.start, "count", self.count)


def host_id(maps: Iterable[IDMap], id: int) -> int | None:
    """Return the id outside for an id inside; None if no line maps it.

    Args:
        maps: the lines of a map.
        id: an id in the user namespace.

    Example:
        >>> host_id([IDMap(0, 100_000, 65_536)], 1000)
        101000
    """
    for line in maps:
        if line.container_id <= id < line.container_id + line.size:
            return line.host_id + id - line.container_id
    return None


def _check_range(first_name: str, first: int, size_name: str, size: int) -> None:
    if type(first) is type(size) is int and 0 <= first < first + size <= _NO_ID:
        return  # the code below says what is wrong
    _check_integer(first_name, first)
    _check_integer(f"{first_name} {first}: {size_name}", size)
    if not 0 <= first < _NO_ID:
        raise ValueError(f"{first_name} {first}: must be in 0..{_NO_ID - 1}")
    if size < 1:
        raise ValueError(f"{first_name} {first}: {size_name} {size}: must be at least 1")
    if first + size > _NO_ID:
        raise ValueError(
            f"{first_name} {first}: {size_name} {size}: runs past {_NO_ID - 1}, the last id"
        )


def _check_integer(name: str, value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"{name} {value!r}: must be an integer")


def encode(maps: Iterable[IDMap]) -> bytes:
    r"""Return the text of a map: ``b"container host size\n"`` for each line.

    This text is written to /proc/PID/uid_map and, with a NUL at the end, to the bootstrap message.
    `check` says whether the kernel accepts the lines together.

    Args:
        maps: the lines of a map.

    Example:
        >>> encode([IDMap(0, 1000, 1)])
        b'0 1000 1\n'
    """
    return text(maps).encode("ascii")


def text(maps: Iterable[IDMap]) -> str:
    """Return the text of a map as a str: see `encode`."""
    # A list and an f-string are the fastest way, and every launch has maps.
    return "".join([f"{m.container_id} {m.host_id} {m.size}\n" for m in maps])


def parse(text: bytes | str) -> tuple[IDMap, ...]:
    """Return the lines of a map: the inverse of `encode`.

    Args:
        text: the text of a map. The columns may be padded, as in /proc/PID/uid_map, and the last
            newline may be missing.

    Raises:
        ValueError: a line is not three decimal numbers that are valid in an `IDMap`; the message
            names the line.

    Example:
        >>> parse("0 1000 1")
        (IDMap(container_id=0, host_id=1000, size=1),)
    """
    raw = text if isinstance(text, bytes) else text.encode("ascii", "backslashreplace")
    lines = raw.removesuffix(b"\n").split(b"\n") if raw else []
    return tuple(_parse_line(number, line) for number, line in enumerate(lines, 1))


def _parse_line(number: int, line: bytes) -> IDMap:
    fields = line.split()
    if len(fields) != 3 or not all(f.isdigit() and len(f) <= _MAX_DIGITS for f in fields):
        text = line.decode("ascii", "backslashreplace")
        raise ValueError(f"id map line {number} {text!r}: expected three decimal numbers")
    container_id, host_id, size = map(int, fields)
    try:
        return IDMap(container_id, host_id, size)
    except ValueError as err:
        raise ValueError(f"id map line {number}: {err}") from None


def check(maps: Sequence[IDMap]) -> None:
    """Refuse a map that the kernel would refuse, with a message that says why.

    An empty map is valid: it is not written.

    Args:
        maps: the lines, in any order.

    Raises:
        ValueError: there are more than `MAX_LINES` lines, their text is longer than `MAX_BYTES`,
            or two lines overlap, inside or outside; the message names both.

    Example:
        >>> check([IDMap(0, 0, 10), IDMap(5, 100, 1)])
        Traceback (most recent call last):
        ValueError: id map lines overlap in container ids: '0 0 10' (container 0-9) and '5 100 1' \
(container 5-5)
    """
    if len(maps) > MAX_LINES:
        raise ValueError(f"id map has {len(maps)} lines: the kernel takes at most {MAX_LINES}")
    length = len(encode(maps))
    if length > MAX_BYTES:
        raise ValueError(f"id map is {length} bytes long: the kernel takes at most {MAX_BYTES}")
    _refuse_overlap(maps, "container", lambda m: m.container_id)
    _refuse_overlap(maps, "host", lambda m: m.host_id)


def _refuse_overlap(maps: Sequence[IDMap], side: str, first: Callable[[IDMap], int]) -> None:
    # If any two of the sorted ranges overlap, then two neighbours overlap.
    ordered = sorted(maps, key=first)
    for low, high in pairwise(ordered):
        if first(high) < first(low) + low.size:
            raise ValueError(
                f"id map lines overlap in {side} ids: "
                f"{_describe(low, side, first(low))} and {_describe(high, side, first(high))}"
            )


def _describe(line: IDMap, side: str, first: int) -> str:
    text = encode([line]).decode().rstrip("\n")
    return f"'{text}' ({side} {first}-{first + line.size - 1})"


def parse_subid(text: str, name: str | None, uid: int) -> tuple[SubIDRange, ...]:
    """Return the ranges that a file of subuid(5) or subgid(5) gives to a user, in its order.

    Args:
        text: the content of the file: lines of ``owner:start:count``. All other lines (comments,
            blanks, garbage, numbers that are not ids) are skipped, as in shadow's
            lib/subordinateio.c.
        name: the login name of the user; None if there is none.
        uid: the uid of the user. The owner is a login name or a uid, also in subgid(5).

    Example:
        >>> parse_subid("ada:100000:65536", "ada", 1000)
        (SubIDRange(start=100000, count=65536),)
    """
    owners = {name, str(uid)}
    return tuple(found for owner, found in _subid_lines(text) if owner in owners)


def _subid_lines(text: str) -> Iterator[tuple[str, SubIDRange]]:
    for line in text.split("\n"):
        owner, *numbers = line.split(":")
        if not owner or len(numbers) != 2 or not all(map(_is_number, numbers)):
            continue
        try:
            found = SubIDRange(*map(int, numbers))
        except ValueError:
            continue
        yield owner, found


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS


def subordinate_ranges(
    path: str | os.PathLike[str] = "/etc/subuid", *, uid: int | None = None
) -> tuple[SubIDRange, ...]:
    """Return the subordinate ids of a user, in the order of the file.

    Only the file is read; a libsubid plugin of nsswitch.conf(5) is not used.

    Args:
        path: the file, ``/etc/subuid`` or ``/etc/subgid``. If it is missing, there are no ranges.
        uid: the user; None means the effective uid. The login name is looked up in the databases
            that nsswitch.conf(5) names.

    Raises:
        OSError: the file exists but cannot be read.
    """
    uid = os.geteuid() if uid is None else uid
    return parse_subid(_read(path) or "", _login_name(uid), uid)


def _read(path: str | os.PathLike[str]) -> str | None:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="\n") as file:
            return file.read()
    except FileNotFoundError:
        return None


def _login_name(uid: int) -> str | None:
    import pwd  # an extension in its own file on most machines, and rarely needed

    try:
        return pwd.getpwuid(uid).pw_name
    except (KeyError, OverflowError):
        return None


def map_root(*, uid: int | None = None, gid: int | None = None) -> IDMappings:
    """Return maps that map the caller to root, and no other id.

    They require no privilege and no subordinate ids, but setgroups(2) must be denied before the
    gid map is written (user_namespaces(7)).

    Args:
        uid: the uid outside; None means the effective uid.
        gid: the gid outside; None means the effective gid.

    Raises:
        ValueError: an argument is not an id.

    Example:
        >>> map_root(uid=1000, gid=1000).uid
        (IDMap(container_id=0, host_id=1000, size=1),)
    """
    uid, gid = _effective(uid, gid)
    return IDMappings((IDMap(0, uid, 1),), (IDMap(0, gid, 1),))


def map_current(*, uid: int | None = None, gid: int | None = None) -> IDMappings:
    """Return maps that map the caller to itself, and no other id.

    Args:
        uid: the uid outside; None means the effective uid.
        gid: the gid outside; None means the effective gid.

    Raises:
        ValueError: an argument is not an id.

    Example:
        >>> map_current(uid=1000, gid=1000).uid
        (IDMap(container_id=1000, host_id=1000, size=1),)
    """
    uid, gid = _effective(uid, gid)
    return IDMappings((IDMap(uid, uid, 1),), (IDMap(gid, gid, 1),))


def _effective(uid: int | None, gid: int | None) -> tuple[int, int]:
    return os.geteuid() if uid is None else uid, os.getegid() if gid is None else gid


def map_auto(
    *,
    uid: int | None = None,
    gid: int | None = None,
    subuid_path: str | os.PathLike[str] = "/etc/subuid",
    subgid_path: str | os.PathLike[str] = "/etc/subgid",
) -> IDMappings:
    """Return maps that map the caller to root, and its subordinate ids to 1 and up.

    The ranges follow each other, the lowest first, as in containers/storage. Ranges that overlap
    are merged, because a user may be listed by name and again by uid. To write such maps requires
    newuidmap(1) and newgidmap(1), or CAP_SETUID and CAP_SETGID.

    uid 0 requires no line in the files: root is then only mapped to itself. If it has ranges, they
    follow, as for other users.

    Args:
        uid: the user; None means the effective uid.
        gid: the gid outside for group 0; None means the effective gid.
        subuid_path: the file of subordinate uids.
        subgid_path: the file of subordinate gids.

    Raises:
        LookupError: the user has no subordinate uids or gids. The message says which file lacks a
            line, and which command adds it. `map_root` requires none.
        ValueError: the maps are not valid: see `check`.
        OSError: a file exists but cannot be read.
    """
    uid, gid = _effective(uid, gid)
    name = _login_name(uid)
    uids = _load("subuids", subuid_path, name, uid)
    gids = _load("subgids", subgid_path, name, uid)
    lacking = [file for file in (uids, gids) if not file.ranges]
    if lacking and uid != 0:
        raise LookupError(_advice(lacking, name, uid, _free_start((uids, gids))))
    return IDMappings(_root_and(uid, uids.ranges), _root_and(gid, gids.ranges))


def _root_and(own: int, ranges: Iterable[SubIDRange]) -> tuple[IDMap, ...]:
    maps = [IDMap(0, own, 1)]
    for found in _merged(ranges):
        above = maps[-1].container_id + maps[-1].size
        maps.append(IDMap(above, found.start, found.count))
    check(maps)
    return tuple(maps)


def _merged(ranges: Iterable[SubIDRange]) -> list[SubIDRange]:
    merged: list[SubIDRange] = []
    for found in sorted(ranges, key=lambda r: r.start):
        last = merged[-1] if merged else None
        if last is None or found.start >= last.start + last.count:
            merged.append(found)
        else:
            end = max(last.start + last.count, found.start + found.count)
            merged[-1] = SubIDRange(last.start, end - last.start)
    return merged


class _SubIDFile(Value):
    option: str
    path: str
    text: str | None
    ranges: tuple[SubIDRange, ...]


def _load(option: str, path: str | os.PathLike[str], name: str | None, uid: int) -> _SubIDFile:
    text = _read(path)
    return _SubIDFile(option, os.fspath(path), text, parse_subid(text or "", name, uid))


def _free_start(files: Iterable[_SubIDFile]) -> int:
    # Two users with the same subordinate ids own each other's files: never suggest that.
    taken = sorted(
        (found.start, found.start + found.count)
        for file in files
        for _, found in _subid_lines(file.text or "")
    )
    start = _SUBID_MIN
    for first, end in taken:
        if first >= start + _SUBID_COUNT:
            break
        start = max(start, end)
    return start


def _advice(lacking: Sequence[_SubIDFile], name: str | None, uid: int, start: int) -> str:
    paths = [file.path for file in lacking]
    problem = f"no subordinate ids: no line in {' or '.join(paths)} for "
    if name is None:
        line = f"{uid}:{start}:{_SUBID_COUNT}"
        return f"{problem}uid {uid}, which has no login name; add the line {line}"
    ids = f"{start}-{start + _SUBID_COUNT - 1}"
    options = " ".join(f"--add-{file.option} {ids}" for file in lacking)
    # usermod refuses the options if the file is missing.
    touch = "".join(f"touch {file.path} && " for file in lacking if file.text is None)
    return f"{problem}user {name} (uid {uid}); add it with: {touch}usermod {options} {name}"
