"""The bootstrap message a second time, in pure Python, to check the C against.

Written from DESIGN.md's wire table and the rules implied by vectors/malformed.json, and from
nothing else: it imports no line of `nsenter`, so that an error there cannot repeat itself here.

Two levels. Raw: a list of `(type, payload)` pairs, structure only. Semantic: a dict with the
attributes' names in lower case as keys (`clone_flags`, `ns_paths`, `uidmap`, `gidmap`,
`setgroup`, `oom_score_adj`, `rootless_euid`, `uidmappath`, `gidmappath`, `timensoffset`); an
attribute that is not in the message is not in the dict.
"""

from __future__ import annotations

import itertools
import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: len, type, flags, seq, pid
ATTRIBUTE = struct.Struct("=HH")  # struct nlattr: len, type
U32 = struct.Struct("=I")

MESSAGE_TYPE = 62000
MESSAGE_FLAGS = 1  # NLM_F_REQUEST, as runc sets it; readers ignore it
MESSAGE_CAP = 16 + 10 * 65536
U16_MAX = 0xFFFF

CLONE_FLAGS, NS_PATHS, UIDMAP, GIDMAP, SETGROUP = range(27281, 27286)
OOM_SCORE_ADJ, ROOTLESS_EUID, UIDMAPPATH, GIDMAPPATH, TIMENSOFFSET = range(27286, 27291)

NAMES = {
    CLONE_FLAGS: "CLONE_FLAGS",
    NS_PATHS: "NS_PATHS",
    UIDMAP: "UIDMAP",
    GIDMAP: "GIDMAP",
    SETGROUP: "SETGROUP",
    OOM_SCORE_ADJ: "OOM_SCORE_ADJ",
    ROOTLESS_EUID: "ROOTLESS_EUID",
    UIDMAPPATH: "UIDMAPPATH",
    GIDMAPPATH: "GIDMAPPATH",
    TIMENSOFFSET: "TIMENSOFFSET",
}
INTEGERS = frozenset({CLONE_FLAGS})
BOOLEANS = frozenset({SETGROUP, ROOTLESS_EUID})

# The order in which runc writes them.
WRITE_ORDER = (
    CLONE_FLAGS,
    NS_PATHS,
    UIDMAPPATH,
    UIDMAP,
    GIDMAP,
    GIDMAPPATH,
    SETGROUP,
    OOM_SCORE_ADJ,
    ROOTLESS_EUID,
    TIMENSOFFSET,
)

# How a namespace is spelt in NS_PATHS → its CLONE_NEW* flag.
KIND_FLAGS = {
    "mnt": 0x00020000,
    "cgroup": 0x02000000,
    "uts": 0x04000000,
    "ipc": 0x08000000,
    "user": 0x10000000,
    "pid": 0x20000000,
    "net": 0x40000000,
    "time": 0x00000080,
}
NAMESPACE_FLAGS = sum(KIND_FLAGS.values())
NEWUSER = KIND_FLAGS["user"]
NEWTIME = KIND_FLAGS["time"]

MAP_LINES_MAX = 340
MAP_BYTES_MAX = 4096
ID_MAX = 0xFFFFFFFE  # 0xffffffff is (uid_t)-1, the invalid id
OOM_MAX = 1000
NSECS_MAX = 999_999_999
CLOCKS = ("monotonic", "boottime")

_CANONICAL = re.compile(rb"0|[1-9][0-9]*")
_SIGNED_CANONICAL = re.compile(rb"0|-?[1-9][0-9]*")

Raw = list[tuple[int, bytes]]
Fields = dict[str, Any]


class Refused(ValueError):
    """The message is not one that may be acted upon."""


def _require(condition: object, why: str) -> None:
    if not condition:
        raise Refused(why)


# --- raw level ---------------------------------------------------------------------------------


def padded(length: int) -> int:
    """`length` rounded up to the 4 bytes that attributes are aligned to."""
    return -(-length // 4) * 4


def parse_raw(blob: bytes) -> Raw:
    """The attributes of `blob` as `(type, payload)`, a string's payload with its NUL."""
    _check_header(blob)
    attributes = list(_split(blob))
    types = [kind for kind, _ in attributes]
    _require(len(types) == len(set(types)), "duplicate attribute")
    for kind, payload in attributes:
        _check_shape(kind, payload)
    return attributes


def _check_header(blob: bytes) -> None:
    _require(len(blob) >= HEADER.size, "short header")
    length, message_type, *_free = HEADER.unpack_from(blob)
    _require(HEADER.size <= length <= MESSAGE_CAP, "nlmsg_len out of range")
    _require(length == len(blob), "nlmsg_len is not the number of bytes")
    _require(message_type == MESSAGE_TYPE, "message type")


def _split(blob: bytes) -> Iterable[tuple[int, bytes]]:
    at = HEADER.size
    while at < len(blob):
        _require(len(blob) - at >= ATTRIBUTE.size, "trailing bytes")
        length, kind = ATTRIBUTE.unpack_from(blob, at)
        _require(length >= ATTRIBUTE.size, "nla_len below its header")
        _require(at + padded(length) <= len(blob), "nla_len past the end, or no padding")
        yield kind, blob[at + ATTRIBUTE.size : at + length]
        at += padded(length)


def _check_shape(kind: int, payload: bytes) -> None:
    _require(kind in NAMES, f"unknown attribute {kind}")
    if kind in INTEGERS | BOOLEANS:
        _require(len(payload) == U32.size, f"{NAMES[kind]} is not four bytes")
        _require(kind in INTEGERS or U32.unpack(payload)[0] <= 1, f"{NAMES[kind]} is no boolean")
    else:
        _require(payload.endswith(b"\0"), f"{NAMES[kind]} does not end in NUL")
        _require(payload.count(b"\0") == 1, f"{NAMES[kind]} has a NUL inside")


def encode_raw(attributes: Iterable[tuple[int, bytes]], *, flags: int = MESSAGE_FLAGS) -> bytes:
    """The message of these attributes, unchecked but for what the format cannot express."""
    body = b"".join(_encode_attribute(kind, payload) for kind, payload in attributes)
    return HEADER.pack(HEADER.size + len(body), MESSAGE_TYPE, flags, 0, 0) + body


def _encode_attribute(kind: int, payload: bytes) -> bytes:
    length = ATTRIBUTE.size + len(payload)
    _require(length <= U16_MAX, f"attribute {kind} does not fit a u16 length")
    return (ATTRIBUTE.pack(length, kind) + payload).ljust(padded(length), b"\0")


# --- semantic level ----------------------------------------------------------------------------


def parse(blob: bytes) -> Fields:
    """The message as a dict of fields, every rule checked; raises Refused."""
    fields = {NAMES[kind].lower(): _DECODERS[kind](value) for kind, value in parse_raw(blob)}
    _check_together(fields)
    return fields


def encode(fields: Mapping[str, Any]) -> bytes:
    """The message of `fields`, in runc's order. `parse()` says whether it is a good one."""
    return encode_raw(
        (kind, _ENCODERS[kind](fields[NAMES[kind].lower()]))
        for kind in WRITE_ORDER
        if NAMES[kind].lower() in fields
    )


def _check_together(fields: Fields) -> None:
    flags = fields.get("clone_flags", 0)
    for kind, _path in fields.get("ns_paths", ()):
        _require(not flags & KIND_FLAGS[kind], f"{kind} is both joined and new")
    for name in ("uidmap", "gidmap"):
        _require(name not in fields or flags & NEWUSER, f"{name} without a new user namespace")
    _require("timensoffset" not in fields or flags & NEWTIME, "offsets without a new time ns")


def _decode_flags(payload: bytes) -> int:
    flags: int = U32.unpack(payload)[0]
    _require(not flags & ~NAMESPACE_FLAGS, "flags that are no namespaces")
    return flags


def _decode_bool(payload: bytes) -> bool:
    return bool(U32.unpack(payload)[0])


def _decode_paths(payload: bytes) -> list[tuple[str, bytes]]:
    joined = [_decode_path(item) for item in payload[:-1].split(b",")]
    kinds = [kind for kind, _ in joined]
    _require(len(kinds) == len(set(kinds)), "a kind twice")
    return joined


def _decode_path(item: bytes) -> tuple[str, bytes]:
    kind, colon, path = item.partition(b":")
    name = kind.decode("latin-1")
    _require(colon and name in KIND_FLAGS, "no such kind of namespace")
    return name, _absolute(path)


def _absolute(path: bytes) -> bytes:
    _require(path.startswith(b"/"), "a path that is not absolute")
    return path


def _decode_tool(payload: bytes) -> bytes:
    return _absolute(payload[:-1])


def _number(text: bytes) -> int:
    # The length keeps int() away from its own limit on digits; nothing legal is as long.
    _require(_CANONICAL.fullmatch(text) and len(text) <= 20, f"not a number: {text[:20]!r}")
    return int(text)


def _signed(text: bytes) -> int:
    _require(_SIGNED_CANONICAL.fullmatch(text) and len(text) <= 20, f"not a number: {text[:20]!r}")
    return int(text)


def _lines(text: bytes) -> list[list[bytes]]:
    """Lines of exactly three words; single spaces, each line ended by its newline."""
    _require(text.endswith(b"\n"), "the last line has no newline")
    rows = [line.split(b" ") for line in text[:-1].split(b"\n")]
    _require(all(len(row) == 3 for row in rows), "a line that is not three words")
    return rows


def _decode_map(payload: bytes) -> list[tuple[int, int, int]]:
    _require(len(payload) - 1 < MAP_BYTES_MAX, "a map of too many bytes")
    rows = _lines(payload[:-1])
    _require(len(rows) <= MAP_LINES_MAX, "a map of too many lines")
    ranges = []
    for row in rows:
        container, host, size = map(_number, row)
        _check_range(container, host, size)
        ranges.append((container, host, size))
    _check_disjoint([(container, size) for container, _, size in ranges])
    _check_disjoint([(host, size) for _, host, size in ranges])
    return ranges


def _check_range(container: int, host: int, size: int) -> None:
    _require(size > 0, "an empty range")
    _require(max(container, host) + size - 1 <= ID_MAX, "a range past the last id")


def _check_disjoint(ranges: Sequence[tuple[int, int]]) -> None:
    ordered = sorted(ranges)
    for (first, size), (following, _) in itertools.pairwise(ordered):
        _require(first + size <= following, "ranges overlap")


def _decode_oom(payload: bytes) -> int:
    text = payload[:-1]
    _require(len(text) <= 5, "a score of too many characters")
    score = _signed(text)
    _require(abs(score) <= OOM_MAX, "a score out of range")
    return score


def _decode_offsets(payload: bytes) -> list[tuple[str, int, int]]:
    offsets = [_decode_offset(*row) for row in _lines(payload[:-1])]
    clocks = [clock for clock, *_ in offsets]
    _require(len(clocks) == len(set(clocks)), "a clock twice")
    return offsets


def _decode_offset(clock: bytes, secs: bytes, nsecs: bytes) -> tuple[str, int, int]:
    name, seconds, nanoseconds = clock.decode("latin-1"), _signed(secs), _number(nsecs)
    _require(name in CLOCKS, "no such clock")
    _require(-(2**63) <= seconds < 2**63, "seconds beyond 64 bits")
    _require(nanoseconds <= NSECS_MAX, "nanoseconds of a second or more")
    return name, seconds, nanoseconds


def _encode_u32(value: int) -> bytes:
    return U32.pack(value)


def _encode_paths(joined: Iterable[tuple[str, bytes]]) -> bytes:
    return b",".join(kind.encode() + b":" + path for kind, path in joined) + b"\0"


def _encode_rows(rows: Iterable[tuple[object, ...]]) -> bytes:
    return "".join(" ".join(map(str, row)) + "\n" for row in rows).encode() + b"\0"


def _encode_tool(path: bytes) -> bytes:
    return path + b"\0"


def _encode_oom(score: int) -> bytes:
    return b"%d\0" % score


_DECODERS: dict[int, Callable[[bytes], Any]] = {
    CLONE_FLAGS: _decode_flags,
    NS_PATHS: _decode_paths,
    UIDMAP: _decode_map,
    GIDMAP: _decode_map,
    SETGROUP: _decode_bool,
    OOM_SCORE_ADJ: _decode_oom,
    ROOTLESS_EUID: _decode_bool,
    UIDMAPPATH: _decode_tool,
    GIDMAPPATH: _decode_tool,
    TIMENSOFFSET: _decode_offsets,
}
_ENCODERS: dict[int, Callable[[Any], bytes]] = {
    CLONE_FLAGS: _encode_u32,
    NS_PATHS: _encode_paths,
    UIDMAP: _encode_rows,
    GIDMAP: _encode_rows,
    SETGROUP: _encode_u32,
    OOM_SCORE_ADJ: _encode_oom,
    ROOTLESS_EUID: _encode_u32,
    UIDMAPPATH: _encode_tool,
    GIDMAPPATH: _encode_tool,
    TIMENSOFFSET: _encode_rows,
}
