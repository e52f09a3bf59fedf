"""Hypothesis strategies for bootstrap messages: good ones, wild ones, and good ones damaged.

The common form is `reference.Fields`, a dict of plain values, so that one example can be given
both to `nsenter.bootstrap` (by `to_data`) and to the reference, and so that values can be drawn
which the dataclasses themselves may refuse.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from hypothesis import strategies as st

import reference
from nsenter.bootstrap import Attribute, BootstrapData, TimeOffset
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, NamespaceType
from reference import ATTRIBUTE, HEADER, ID_MAX, KIND_FLAGS, NEWTIME, NEWUSER, Fields

Draw = Callable[[st.SearchStrategy[Any]], Any]

MEMBERS = {  # how NS_PATHS spells a kind → the member of NamespaceType
    "user": NamespaceType.NEWUSER,
    "ipc": NamespaceType.NEWIPC,
    "uts": NamespaceType.NEWUTS,
    "net": NamespaceType.NEWNET,
    "pid": NamespaceType.NEWPID,
    "mnt": NamespaceType.NEWNS,
    "cgroup": NamespaceType.NEWCGROUP,
    "time": NamespaceType.NEWTIME,
}
KINDS = {member: kind for kind, member in MEMBERS.items()}


# --- between the plain form and the dataclasses ------------------------------------------------


def to_data(fields: Mapping[str, Any]) -> BootstrapData:
    """The same message as a BootstrapData; ValueError where one of its parts refuses a value."""
    return BootstrapData(
        clone_flags=fields.get("clone_flags", 0),
        namespace_paths=tuple(
            Namespace(MEMBERS[kind], os.fsdecode(path)) for kind, path in fields.get("ns_paths", ())
        ),
        uid_mappings=_mappings(fields.get("uidmap", ())),
        gid_mappings=_mappings(fields.get("gidmap", ())),
        uidmap_path=_tool(fields.get("uidmappath")),
        gidmap_path=_tool(fields.get("gidmappath")),
        setgroup=fields.get("setgroup"),
        oom_score_adj=fields.get("oom_score_adj"),
        rootless_euid=fields.get("rootless_euid", False),
        time_offsets=tuple(TimeOffset(*offset) for offset in fields.get("timensoffset", ())),
    )


def _mappings(rows: Iterable[tuple[int, int, int]]) -> tuple[IDMap, ...]:
    return tuple(IDMap(*row) for row in rows)


def _tool(path: bytes | None) -> str | None:
    return None if path is None else os.fsdecode(path)


def to_fields(data: BootstrapData) -> Fields:
    """The same message in plain form: what is None or an empty tuple is not in the dict."""
    fields: Fields = {
        "clone_flags": data.clone_flags,
        "ns_paths": [(KINDS[ns.type], os.fsencode(ns.path)) for ns in data.namespace_paths],
        "uidmap": [_row(line) for line in data.uid_mappings],
        "gidmap": [_row(line) for line in data.gid_mappings],
        "uidmappath": None if data.uidmap_path is None else os.fsencode(data.uidmap_path),
        "gidmappath": None if data.gidmap_path is None else os.fsencode(data.gidmap_path),
        "setgroup": data.setgroup,
        "oom_score_adj": data.oom_score_adj,
        "rootless_euid": data.rootless_euid,
        "timensoffset": [(t.clock, t.secs, t.nsecs) for t in data.time_offsets],
    }
    return {name: value for name, value in fields.items() if value is not None and value != []}


def _row(line: IDMap) -> tuple[int, int, int]:
    return line.container_id, line.host_id, line.size


# --- good messages -----------------------------------------------------------------------------


def paths(*, forbidden: bytes = b"\0") -> st.SearchStrategy[bytes]:
    """Absolute paths of any bytes but these; not all of them are UTF-8."""
    plain = st.from_regex(rb"/proc/[1-9][0-9]{0,6}/ns/[a-z]{2,6}", fullmatch=True)
    anything = st.binary(max_size=80).map(
        lambda tail: b"/" + tail.translate(None, delete=forbidden)
    )
    return plain | anything


def flag_sets(kinds: Iterable[str]) -> st.SearchStrategy[int]:
    """Any union of the clone flags of these kinds."""
    choices = sorted(kinds)
    if not choices:
        return st.just(0)
    subsets = st.sets(st.sampled_from(choices))
    return subsets.map(lambda chosen: sum(KIND_FLAGS[kind] for kind in chosen))


@st.composite
def id_ranges(draw: Draw, *, most: int = 8) -> list[tuple[int, int, int]]:
    """Ranges that overlap on neither side, in any order, up to the last id."""
    count = draw(st.integers(1, most))
    sizes = draw(st.lists(id_sizes(), min_size=count, max_size=count))
    starts = [_spread(draw, sizes) for _side in ("container", "host")]
    rows = list(zip(*starts, sizes, strict=True))
    return list(draw(st.permutations(rows)))


def id_sizes() -> st.SearchStrategy[int]:
    """How many ids a range has; eight of the largest still fit in 32 bits."""
    return st.sampled_from([1, 999, 65536, 1 << 28]) | st.integers(1, 1 << 28)


def _spread(draw: Draw, sizes: list[int]) -> list[int]:
    """A start for each range, ascending, with gaps drawn from what is left of the ids."""
    spare = ID_MAX + 1 - sum(sizes)
    starts, at = [], 0
    for size in sizes:
        gap = draw(st.sampled_from([0, spare]) | st.integers(0, spare))
        spare -= gap
        starts.append(at + gap)
        at += gap + size
    return starts


def time_offsets() -> st.SearchStrategy[list[tuple[str, int, int]]]:
    offset = st.tuples(
        st.sampled_from(reference.CLOCKS),
        st.integers(-(2**63), 2**63 - 1),
        st.integers(0, reference.NSECS_MAX),
    )
    return st.lists(offset, min_size=1, max_size=2, unique_by=lambda row: row[0])


@st.composite
def fields(draw: Draw) -> Fields:
    """A good message in plain form."""
    joined = draw(st.lists(st.sampled_from(sorted(KIND_FLAGS)), unique=True))
    flags = draw(flag_sets(set(KIND_FLAGS) - set(joined)))
    for kind in sorted(
        {"time", "user"} - set(joined)
    ):  # more often: what depends on them is the most
        flags |= draw(st.sampled_from([0, KIND_FLAGS[kind]]))
    optional: dict[str, st.SearchStrategy[Any]] = {
        "uidmappath": paths(),
        "gidmappath": paths(),
        "setgroup": st.booleans(),
        "oom_score_adj": st.integers(-reference.OOM_MAX, reference.OOM_MAX),
    }
    if flags & NEWUSER:
        optional |= {"uidmap": id_ranges(), "gidmap": id_ranges()}
    if flags & NEWTIME:
        optional |= {"timensoffset": time_offsets()}
    message: Fields = {"clone_flags": flags, "rootless_euid": draw(st.booleans())}
    if joined:
        message["ns_paths"] = [(kind, draw(paths(forbidden=b"\0,"))) for kind in joined]
    more: Fields = draw(st.fixed_dictionaries({}, optional=optional))
    return message | more


def bootstrap_data() -> st.SearchStrategy[BootstrapData]:
    """A good message as the library's own value."""
    return fields().map(to_data)


def blobs() -> st.SearchStrategy[bytes]:
    """A good message as bytes, by the reference encoder; attributes in runc's order or any."""
    in_order = fields().map(reference.encode)
    return in_order | in_order.flatmap(_shuffled)


def _shuffled(blob: bytes) -> st.SearchStrategy[bytes]:
    return st.permutations(reference.parse_raw(blob)).map(reference.encode_raw)


# --- wild messages: perhaps good, perhaps not --------------------------------------------------


def _wild_ids() -> st.SearchStrategy[int]:
    edges = [-1, 0, 1, ID_MAX - 1, ID_MAX, ID_MAX + 1, 2**32, 2**64]
    return st.sampled_from(edges) | st.integers(0, 200)


def _wild_paths() -> st.SearchStrategy[bytes]:
    # "/a,net:/b" is one path that would read back as two.
    odd = [b"", b"relative", b"/a,net:/b", b"/a\0b", b"/a\0", b"/", b"//", b"/a\n", b"/\xff"]
    return st.sampled_from(odd) | paths()


def _wild_clocks() -> st.SearchStrategy[str]:
    # The last two would smuggle in a line of their own.
    odd = ["realtime", "", "Monotonic", "1", "boottime 1 2\nmonotonic", "monotonic 0 0\nboottime"]
    return st.sampled_from([*reference.CLOCKS, *odd])


@st.composite
def wild_fields(draw: Draw) -> Fields:
    """A message in plain form of which any part may break any rule."""
    message: Fields = draw(fields())
    id_rows = st.lists(st.tuples(_wild_ids(), _wild_ids(), _wild_ids()), min_size=1, max_size=4)
    offset = st.tuples(_wild_clocks(), st.integers(-(2**65), 2**65), st.integers(-2, 10**9 + 1))
    joined = st.tuples(st.sampled_from(sorted(KIND_FLAGS)), _wild_paths())
    wild: dict[str, st.SearchStrategy[Any]] = {
        "clone_flags": flag_sets(KIND_FLAGS) | st.integers(-1, 2**33),
        "ns_paths": st.lists(joined, min_size=1, max_size=3),
        "uidmap": id_rows,
        "gidmap": id_rows,
        "uidmappath": _wild_paths(),
        "gidmappath": _wild_paths(),
        "oom_score_adj": st.sampled_from([-1001, -1000, 1000, 1001, 2**31, 10**6]),
        "timensoffset": st.lists(offset, min_size=1, max_size=3),
    }
    # One part at a time keeps most examples close to the border between good and bad.
    name = draw(st.sampled_from(sorted(wild)))
    message[name] = draw(wild[name])
    return message


# --- raw level ---------------------------------------------------------------------------------


@st.composite
def attribute_lists(draw: Draw) -> list[Attribute]:
    """Attributes of known types, none twice, in any order, values of any sense."""
    types = draw(st.lists(st.sampled_from(sorted(reference.NAMES)), unique=True))
    return [_attribute(draw, kind) for kind in types]


def _attribute(draw: Draw, kind: int) -> Attribute:
    if kind in reference.INTEGERS:
        return Attribute(kind, "int32", draw(st.integers(0, 0xFFFFFFFF)))
    if kind in reference.BOOLEANS:
        return Attribute(kind, "bool", draw(st.booleans()))
    text = st.binary(max_size=64).map(lambda value: value.translate(None, delete=b"\0"))
    return Attribute(kind, "bytes", draw(text))


def to_raw(attributes: Iterable[Attribute]) -> reference.Raw:
    """The same attributes as the reference has them: payloads, a string's with its NUL."""
    return [(attribute.type, _payload(attribute)) for attribute in attributes]


def _payload(attribute: Attribute) -> bytes:
    if isinstance(attribute.value, bytes):
        return attribute.value + b"\0"
    return reference.U32.pack(attribute.value)


# --- damage ------------------------------------------------------------------------------------

# Bytes on which a hand-written parser of numbers, lines and lists goes wrong.
_TEXTS = [b"", b" ", b"  ", b"\t", b"\n", b"\n\n", b"\0", b",", b",,", b":", b"/", b"-", b"+", b"0"]
_TEXTS += [b"-0", b"+1", b"00", b"0x1", b"1e3", b"1000", b"-1000", b"1001", b"-1001", b"99999999"]
_TEXTS += [b"4294967293", b"4294967294", b"4294967295", b"4294967296", b"18446744073709551616"]
_TEXTS += [b"9223372036854775807", b"9223372036854775808", b"-9223372036854775809", b"1000000000"]
_TEXTS += [b"0 0 1\n", b"1 1 1\n", b"0 0 0\n", b"0 0 1", b"\xd9\xa1", b"\xff"]
_TEXTS += [b"net:/a", b"user:/a", b"mount:/a", b"net:", b"boottime 0 0\n", b"monotonic 1 1\n"]


def _position(draw: Draw, blob: bytes, *, last: int = 0) -> int:
    return int(draw(st.integers(0, max(0, len(blob) - last))))


def _flip_bit(draw: Draw, blob: bytes) -> bytes:
    at, bit = _position(draw, blob, last=1), draw(st.integers(0, 7))
    return blob[:at] + bytes([blob[at] ^ (1 << bit)]) + blob[at + 1 :] if blob else blob


def _set_byte(draw: Draw, blob: bytes) -> bytes:
    at = _position(draw, blob, last=1)
    byte: bytes = draw(st.binary(min_size=1, max_size=1))
    return blob[:at] + byte + blob[at + 1 :]


def _insert(draw: Draw, blob: bytes) -> bytes:
    at = _position(draw, blob)
    inserted: bytes = draw(st.binary(min_size=1, max_size=8))
    return blob[:at] + inserted + blob[at:]


def _delete(draw: Draw, blob: bytes) -> bytes:
    at = _position(draw, blob)
    return blob[:at] + blob[at + draw(st.integers(1, 8)) :]


def _truncate(draw: Draw, blob: bytes) -> bytes:
    return blob[: _position(draw, blob)]


def _edit_message_length(draw: Draw, blob: bytes) -> bytes:
    edges = [0, 1, 8, 15, 16, 17, reference.MESSAGE_CAP, reference.MESSAGE_CAP + 1, 0x7FFFFFFF]
    near = st.integers(-4, 4).map(lambda delta: max(0, len(blob) + delta))
    length = draw(st.sampled_from([*edges, 0xFFFFFFFF]) | near)
    return reference.U32.pack(length) + blob[4:]


def _edit_attribute_length(draw: Draw, blob: bytes) -> bytes:
    starts = _attribute_starts(blob)
    if not starts:
        return blob
    at = draw(st.sampled_from(starts))
    old, kind = ATTRIBUTE.unpack_from(blob, at)
    near = st.integers(-4, 4).map(lambda delta: (old + delta) % 65536)
    length = draw(near | st.sampled_from([0, 1, 3, 4, 5, 8, 0x7FFF, 0xFFFC, 0xFFFF]))
    return blob[:at] + ATTRIBUTE.pack(length, kind) + blob[at + ATTRIBUTE.size :]


def _attribute_starts(blob: bytes) -> list[int]:
    """Where attributes begin, as far as the lengths on the way make sense."""
    starts, at = [], HEADER.size
    while at + ATTRIBUTE.size <= len(blob):
        starts.append(at)
        length, _ = ATTRIBUTE.unpack_from(blob, at)
        if length < ATTRIBUTE.size:
            break
        at += reference.padded(length)
    return starts


def _attributes_of(blob: bytes) -> reference.Raw:
    """The attributes of a blob that earlier damage may have made unreadable: then none."""
    try:
        return reference.parse_raw(blob)
    except reference.Refused:
        return []


def _rearrange(draw: Draw, blob: bytes) -> bytes:
    """Swap, double or drop whole attributes."""
    attributes = _attributes_of(blob)
    if not attributes:
        return blob
    pick = st.integers(0, len(attributes) - 1)
    here, there = draw(pick), draw(pick)
    match draw(st.sampled_from(["swap", "double", "drop", "retype"])):
        case "swap":
            attributes[here], attributes[there] = attributes[there], attributes[here]
        case "double":
            attributes.insert(there, attributes[here])
        case "drop":
            del attributes[here]
        case "retype":
            attributes[here] = (draw(st.integers(27279, 27292)), attributes[here][1])
    return reference.encode_raw(attributes)


def _edit_text(draw: Draw, blob: bytes) -> bytes:
    """Put a treacherous text into one payload, with every length in order."""
    attributes = _attributes_of(blob)
    if not attributes:
        return blob
    at = draw(st.integers(0, len(attributes) - 1))
    kind, payload = attributes[at]
    start = draw(st.integers(0, len(payload)))
    end = start + draw(st.integers(0, 6))
    attributes[at] = (kind, payload[:start] + draw(st.sampled_from(_TEXTS)) + payload[end:])
    return reference.encode_raw(attributes)


def _replace_word(draw: Draw, blob: bytes) -> bytes:
    """Replace one whole word of one text: a number by a number past some limit, mostly."""
    attributes = _attributes_of(blob)
    texts = [at for at, (_, payload) in enumerate(attributes) if payload.endswith(b"\0")]
    if not texts:
        return blob
    at = draw(st.sampled_from(texts))
    kind, payload = attributes[at]
    words = payload[:-1].split(b" ")
    words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(_TEXTS))
    attributes[at] = (kind, b" ".join(words) + b"\0")
    return reference.encode_raw(attributes)


def _fix_message_length(blob: bytes) -> bytes:
    return reference.U32.pack(len(blob)) + blob[4:] if len(blob) >= 4 else blob


_DAMAGE: list[Callable[[Draw, bytes], bytes]] = [
    _flip_bit,
    _set_byte,
    _insert,
    _delete,
    _truncate,
    _edit_message_length,
    _edit_attribute_length,
    _rearrange,
    # More often than the rest: most of the rules are about what the texts say.
    *[_edit_text, _replace_word] * 4,
]


@st.composite
def damaged_blobs(draw: Draw, good: st.SearchStrategy[bytes] | None = None) -> bytes:
    """A good message with one to three things done to it. It may still be a good one."""
    blob: bytes = draw(blobs() if good is None else good)
    for _ in range(draw(st.sampled_from([1, 1, 2, 3]))):
        blob = draw(st.sampled_from(_DAMAGE))(draw, blob)
    # Otherwise nearly all of these would be refused for nlmsg_len, and nothing else be tried.
    return _fix_message_length(blob) if draw(st.integers(0, 3)) else blob


def chunkings(length: int) -> st.SearchStrategy[list[int]]:
    """Ways to cut `length` bytes into writes: a list of sizes that add up to it."""
    cuts = st.lists(st.integers(1, max(1, length - 1)), unique=True, max_size=12).map(sorted)
    return cuts.map(lambda at: _sizes([*[cut for cut in at if cut < length], length]))


def _sizes(ends: list[int]) -> list[int]:
    return [end - start for start, end in itertools.pairwise([0, *ends])]
