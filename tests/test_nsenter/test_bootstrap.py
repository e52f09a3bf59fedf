"""A bootstrap message decodes to what was encoded, and any other bytes are refused."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import struct
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given

import reference
import strategies
from nsenter.bootstrap import (
    Attribute,
    BootstrapData,
    MessageError,
    TimeOffset,
    bootstrap_data,
    decode_attributes,
    encode_attributes,
)
from nsenter.idmap import IDMap
from nsenter.namespaces import Namespace, Namespaces, NamespaceType
from strategies import KINDS, MEMBERS, to_data, to_fields, to_raw

VECTORS = Path(__file__).parents[1] / "vectors"


def load(file: str, key: str) -> list[Any]:
    """The vectors in a file, as parameters named after them."""
    vectors = json.loads((VECTORS / file).read_text())[key]
    return [pytest.param(vector, id=vector["name"]) for vector in vectors]


def parsed_by_c(blob: bytes) -> reference.Fields | None:
    """What the library reads in the blob; None when it refuses."""
    try:
        return to_fields(BootstrapData.decode(blob))
    except MessageError:
        return None


def parsed_by_reference(blob: bytes) -> reference.Fields | None:
    """What the reference reads in the blob, with the library's defaults; None when refused."""
    try:
        return {"clone_flags": 0, "rootless_euid": False} | reference.parse(blob)
    except reference.Refused:
        return None


# --- properties --------------------------------------------------------------------------------


@given(strategies.bootstrap_data())
def test_what_is_encoded_decodes_to_the_same(data: BootstrapData) -> None:
    assert BootstrapData.decode(data.encode()) == data


@given(strategies.fields())
def test_encoding_is_the_reference_encoding(fields: reference.Fields) -> None:
    assert to_data(fields).encode() == reference.encode(fields)


@given(strategies.blobs())
def test_a_good_blob_is_read_in_any_order_of_attributes(blob: bytes) -> None:
    parsed = parsed_by_c(blob)
    assert parsed is not None
    assert parsed == parsed_by_reference(blob)


@given(strategies.damaged_blobs())
def test_a_damaged_blob_is_read_alike_or_refused_by_both(blob: bytes) -> None:
    assert parsed_by_c(blob) == parsed_by_reference(blob)


SMUGGLED_LINE = {
    "clone_flags": reference.NEWTIME,
    "rootless_euid": False,
    "timensoffset": [("boottime 1 2\nmonotonic", 0, 0)],
}
SMUGGLED_PATH = {
    "clone_flags": 0,
    "rootless_euid": False,
    "ns_paths": [("ipc", b"/a,net:/b")],
}


@given(strategies.wild_fields())
@example(SMUGGLED_LINE)
@example(SMUGGLED_PATH)
def test_encode_refuses_whatever_decode_would(fields: reference.Fields) -> None:
    try:
        expected = reference.encode(fields)
        good = parsed_by_reference(expected) == fields
    except (reference.Refused, struct.error):
        good = False
    if good:
        assert to_data(fields).encode() == expected
    else:
        with pytest.raises(ValueError):
            to_data(fields).encode()


@given(strategies.attribute_lists())
def test_raw_attributes_survive_the_round_trip(attributes: list[Attribute]) -> None:
    blob = encode_attributes(attributes)
    assert blob == reference.encode_raw(to_raw(attributes))
    assert decode_attributes(blob) == attributes


@given(strategies.attribute_lists())
def test_every_truncation_of_a_message_is_refused(attributes: list[Attribute]) -> None:
    blob = encode_attributes(attributes)
    for end in range(len(blob)):
        with pytest.raises(MessageError):
            decode_attributes(blob[:end])


# --- vectors -----------------------------------------------------------------------------------


def attribute_of(vector: dict[str, Any]) -> Attribute:
    """One attribute as golden.json spells it."""
    kind, number = vector["kind"], vector["type"]
    if kind == "bytes":
        return Attribute(number, kind, bytes_of(vector))
    return Attribute(number, kind, bool(vector["int"]) if kind == "bool" else vector["int"])


def bytes_of(vector: dict[str, Any]) -> bytes:
    if "text" in vector:
        return str(vector["text"]).encode()
    if "b64" in vector:
        return base64.b64decode(vector["b64"])
    character, count = vector["repeat"]
    return bytes(character.encode() * count)


@pytest.mark.parametrize("vector", load("golden.json", "vectors"))
def test_golden(vector: dict[str, Any]) -> None:
    attributes = [attribute_of(attribute) for attribute in vector["attrs"]]
    if "error" in vector:
        with pytest.raises(ValueError, match=str(attributes[0].type)):
            encode_attributes(attributes)
        return
    blob = encode_attributes(attributes)
    if "hex" in vector:
        assert blob.hex() == vector["hex"]
    else:
        assert len(blob) == vector["length"]
        assert hashlib.sha256(blob).hexdigest() == vector["sha256"]
    if not any(b"\0" in bytes_of(a) for a in vector["attrs"] if a["kind"] == "bytes"):
        assert decode_attributes(blob) == attributes


def without_seq_and_pid(blob: bytes) -> bytes:
    return blob[:8] + bytes(8) + blob[16:]


@pytest.mark.parametrize("vector", load("captured.json", "blobs"))
def test_captured_from_runc_is_decoded_and_encoded_to_the_byte(vector: dict[str, Any]) -> None:
    blob = bytes.fromhex(vector["hex"])
    data = BootstrapData.decode(blob)
    assert to_fields(data) == reference.parse(blob)
    assert data.encode() == without_seq_and_pid(blob)


# The attribute at fault in each, or None if the fault is the message's own; and the reason, as
# several checks may refuse one message.
FAULTS = {
    "nla-len-zero": (reference.OOM_SCORE_ADJ, "below the header's own 4 bytes"),
    "nla-len-short": (reference.OOM_SCORE_ADJ, "below the header's own 4 bytes"),
    "nla-len-past-end": (reference.OOM_SCORE_ADJ, "runs past the end of the message"),
    "string-without-nul": (reference.OOM_SCORE_ADJ, "no NUL at its end"),
    "string-with-inner-nul": (reference.OOM_SCORE_ADJ, "a NUL inside"),
    "u32-empty": (reference.CLONE_FLAGS, "not four bytes"),
    "u32-two-bytes": (reference.CLONE_FLAGS, "not four bytes"),
    "bool-2": (reference.ROOTLESS_EUID, "neither 0 nor 1"),
    "duplicate-flags": (reference.CLONE_FLAGS, "stands twice"),
    "unknown-attribute": (27299, "type is not known"),
    "trailing-bytes": (None, "bytes trail"),
    "nlmsg-len-below-header": (None, "below the header's own 16 bytes"),
    "nlmsg-len-2gib": (None, "beyond any well-formed message"),
    "truncated": (None, "ends before nlmsg_len says"),
    "wrong-type": (None, "of another type"),
    "error-type": (None, "of another type"),
    "flags-not-namespaces": (reference.CLONE_FLAGS, "none of the CLONE_NEW"),
    "ns-path-unknown-kind": (reference.NS_PATHS, "kind is none of"),
    "ns-path-no-colon": (reference.NS_PATHS, "not `kind:path`"),
    "ns-path-twice": (reference.NS_PATHS, "stands twice"),
    "ns-joined-and-new": (reference.NS_PATHS, "both joined and new"),
    "map-without-userns": (reference.UIDMAP, "no new user namespace"),
    "map-garbage": (reference.UIDMAP, "not `container host size`"),
}


@pytest.mark.parametrize("vector", load("malformed.json", "messages"))
def test_malformed_is_refused_with_attribute_and_offset(vector: dict[str, Any]) -> None:
    blob = bytes.fromhex(vector["hex"])
    with pytest.raises(MessageError) as caught:
        BootstrapData.decode(blob)
    error, (fault, reason) = caught.value, FAULTS[vector["name"]]
    assert error.attribute == fault
    assert 0 <= error.offset <= len(blob)  # type: ignore[operator]
    assert reason in error.reason
    assert error.reason in str(error)
    assert str(error.offset) in str(error)
    if fault in reference.NAMES:
        assert f"{reference.NAMES[fault]} ({fault})" in str(error)
    elif fault is not None:
        assert str(fault) in str(error)


@pytest.mark.parametrize("more", [b"\0", bytes(4), reference.encode_raw([])])
def test_bytes_behind_the_end_of_the_message_are_refused(more: bytes) -> None:
    blob = reference.encode({"clone_flags": 0})
    with pytest.raises(MessageError, match="behind nlmsg_len") as caught:
        BootstrapData.decode(blob + more)
    assert (caught.value.attribute, caught.value.offset) == (None, len(blob))


def test_the_offset_points_into_the_attribute_at_fault() -> None:
    good = reference.encode({"clone_flags": 0, "oom_score_adj": 0})
    blob = good.replace(b"0\0", b"x\0")
    with pytest.raises(MessageError) as caught:
        BootstrapData.decode(blob)
    assert caught.value.attribute == reference.OOM_SCORE_ADJ
    assert 24 <= caught.value.offset < len(blob)  # type: ignore[operator]


# --- borders -----------------------------------------------------------------------------------


def rows(count: int) -> tuple[IDMap, ...]:
    """`count` short lines that do not overlap, of ten or so bytes each."""
    return tuple(IDMap(at, at, 1) for at in range(count))


def wide_rows(count: int) -> tuple[IDMap, ...]:
    """`count` lines of 24 bytes each."""
    return tuple(IDMap(10**9 + at, 10**9 + at, 1) for at in range(count))


def with_uid_mappings(mappings: tuple[IDMap, ...]) -> BootstrapData:
    return BootstrapData(clone_flags=reference.NEWUSER, uid_mappings=mappings)


def test_an_id_map_has_at_most_340_lines() -> None:
    assert len(BootstrapData.decode(with_uid_mappings(rows(340)).encode()).uid_mappings) == 340
    with pytest.raises(ValueError, match="340"):
        with_uid_mappings(rows(341)).encode()


def test_an_id_map_is_shorter_than_a_page() -> None:
    # 170 lines of 24 make 4080, and one of 15 bytes makes 4095, one of 16 makes 4096.
    fits, too_long = IDMap(1, 20000000, 100), IDMap(10, 20000000, 100)
    assert with_uid_mappings((*wide_rows(170), fits)).encode()
    with pytest.raises(ValueError, match=r"409[56]"):
        with_uid_mappings((*wide_rows(170), too_long)).encode()


def test_a_value_over_the_u16_limit_is_refused_before_a_byte_is_written() -> None:
    longest = "/" + "a" * (65530 - len("net:/"))
    assert len(joining(longest).encode()) == 8 + 65552 + 8  # golden.json's, and flags, rootless
    with pytest.raises(ValueError, match=r"NS_PATHS|/aaaa"):
        joining(longest + "a").encode()


def test_a_mapping_tool_over_the_u16_limit_is_refused() -> None:
    with pytest.raises(ValueError):
        BootstrapData(uidmap_path="/" + "a" * 65530).encode()


def joining(path: str, kind: NamespaceType = NamespaceType.NEWNET) -> BootstrapData:
    return BootstrapData(namespace_paths=(Namespace(kind, path),))


@pytest.mark.parametrize(
    "path",
    ["/run/a,b", "/run/a,net:/proc/1/ns/net", "/run/a\0b", "relative/net", ""],
    ids=["comma", "smuggled", "nul", "relative", "empty"],
)
def test_a_path_that_cannot_be_sent_is_refused_by_its_name(path: str) -> None:
    # Not only encode(): the value types may refuse it earlier, and a path may be "new".
    with pytest.raises(ValueError) as caught:
        joining(path).encode()
    if path:
        assert path in str(caught.value) or repr(path) in str(caught.value)


def test_a_path_of_a_namespace_in_a_message_is_absolute() -> None:
    blob = reference.encode_raw([(reference.NS_PATHS, b"net:relative/net\0")])
    with pytest.raises(MessageError, match="absolute") as caught:
        BootstrapData.decode(blob)
    assert caught.value.attribute == reference.NS_PATHS


@pytest.mark.parametrize("tool", ["newuidmap", "", "/usr/bin/new\0uidmap"])
def test_a_mapping_tool_is_an_absolute_path(tool: str) -> None:
    with pytest.raises(ValueError):
        BootstrapData(uidmap_path=tool).encode()
    with pytest.raises(ValueError):
        BootstrapData(gidmap_path=tool).encode()


@pytest.mark.parametrize("text", [b"+1", b"-0", b"00", b"01", b"-", b"", b" 1", b"1 ", b"1001"])
def test_a_score_that_is_not_canonical_is_refused(text: bytes) -> None:
    with pytest.raises(MessageError) as caught:
        BootstrapData.decode(reference.encode_raw([(reference.OOM_SCORE_ADJ, text + b"\0")]))
    assert caught.value.attribute == reference.OOM_SCORE_ADJ


@pytest.mark.parametrize("score", [-1001, 1001, 2**31, -(2**63)])
def test_a_score_out_of_range_is_refused(score: int) -> None:
    with pytest.raises(ValueError, match=r"(?i)oom"):
        BootstrapData(oom_score_adj=score).encode()


BAD_MAPS = {
    "no newline": b"0 0 1",
    "empty": b"",
    "blank line": b"0 0 1\n\n",
    "two words": b"0 0\n",
    "four words": b"0 0 1 1\n",
    "two blanks": b"0  0 1\n",
    "tab": b"0\t0 1\n",
    "leading blank": b" 0 0 1\n",
    "trailing blank": b"0 0 1 \n",
    "leading zero": b"0 00 1\n",
    "minus": b"-1 0 1\n",
    "plus": b"+1 0 1\n",
    "hexadecimal": b"0 0x1 1\n",
    "size 0": b"0 0 0\n",
    "invalid id": b"4294967295 0 1\n",
    "past the last id": b"4294967294 0 2\n",
    "host past the last id": b"0 1 4294967295\n",
    "wraps 32 bits": b"4294967296 0 1\n",
    "wraps 64 bits": b"18446744073709551616 0 1\n",
    "overlap in the container": b"0 0 10\n9 100 1\n",
    "overlap on the host": b"0 0 10\n100 9 1\n",
    "the same twice": b"0 0 1\n0 0 1\n",
}


@pytest.mark.parametrize("text", [pytest.param(t, id=name) for name, t in BAD_MAPS.items()])
@pytest.mark.parametrize("kind", [reference.UIDMAP, reference.GIDMAP])
def test_a_bad_id_map_is_refused(kind: int, text: bytes) -> None:
    flags = (reference.CLONE_FLAGS, reference.U32.pack(reference.NEWUSER))
    with pytest.raises(MessageError) as caught:
        BootstrapData.decode(reference.encode_raw([flags, (kind, text + b"\0")]))
    assert caught.value.attribute == kind


def test_the_whole_of_the_ids_can_be_mapped() -> None:
    data = with_uid_mappings((IDMap(0, 0, 0xFFFFFFFF),))
    assert BootstrapData.decode(data.encode()) == data


BAD_OFFSETS = {
    "empty": b"",
    "no newline": b"monotonic 1 1",
    "unknown clock": b"realtime 1 1\n",
    "clock twice": b"monotonic 1 1\nmonotonic 2 2\n",
    "a whole second": b"monotonic 1 1000000000\n",
    "nanoseconds below 0": b"monotonic 1 -1\n",
    "seconds over 64 bits": b"monotonic 9223372036854775808 0\n",
    "seconds under 64 bits": b"monotonic -9223372036854775809 0\n",
    "minus 0": b"monotonic -0 0\n",
    "clock by number": b"1 1 1\n",
    "carriage return": b"monotonic 1 1\r\n",
}


@pytest.mark.parametrize("text", [pytest.param(t, id=name) for name, t in BAD_OFFSETS.items()])
def test_bad_time_offsets_are_refused(text: bytes) -> None:
    flags = (reference.CLONE_FLAGS, reference.U32.pack(reference.NEWTIME))
    with pytest.raises(MessageError) as caught:
        BootstrapData.decode(reference.encode_raw([flags, (reference.TIMENSOFFSET, text + b"\0")]))
    assert caught.value.attribute == reference.TIMENSOFFSET


def test_time_offsets_need_a_new_time_namespace() -> None:
    with pytest.raises(ValueError):
        BootstrapData(time_offsets=(TimeOffset("monotonic", 1),)).encode()


@pytest.mark.parametrize(
    "blob",
    [
        pytest.param(reference.encode_raw([]), id="no attributes"),
        pytest.param(reference.encode_raw([], flags=0xFFFF), id="any nlmsg_flags"),
        pytest.param(reference.HEADER.pack(16, 62000, 1, 2**32 - 1, 2**32 - 1), id="seq and pid"),
    ],
)
def test_an_empty_message_asks_for_nothing(blob: bytes) -> None:
    assert BootstrapData.decode(blob) == BootstrapData()


def test_padding_is_required_and_its_contents_are_not_looked_at() -> None:
    blob = reference.encode({"oom_score_adj": 10})  # 3 bytes of text, 1 of padding
    assert BootstrapData.decode(blob[:-1] + b"\xff").oom_score_adj == 10
    with pytest.raises(MessageError):
        BootstrapData.decode(reference.U32.pack(len(blob) - 1) + blob[4:-1])


@given(strategies.damaged_blobs())
@example(b"")
@example(bytes(15))
@example(bytes(16))
def test_a_refusal_points_inside_the_blob_and_names_its_reason(blob: bytes) -> None:
    try:
        BootstrapData.decode(blob)
    except MessageError as error:
        assert 0 <= error.offset <= len(blob)  # type: ignore[operator]
        assert error.reason
        assert str(error.offset) in str(error)


def test_unknown_and_double_attributes_are_refused_at_the_raw_level_too() -> None:
    flags = (reference.CLONE_FLAGS, bytes(4))
    with pytest.raises(MessageError, match="stands twice"):
        decode_attributes(reference.encode_raw([flags, flags]))
    with pytest.raises(MessageError, match="type is not known"):
        decode_attributes(reference.encode_raw([flags, (27299, bytes(4))]))


# --- bootstrap_data(): runc's rules of what is sent --------------------------------------------

RUNC_ORDER = ["user", "ipc", "uts", "net", "pid", "mnt", "cgroup", "time"]


def own(kind: str) -> Namespace:
    """A namespace of this very process, to be joined by path."""
    return Namespace(MEMBERS[kind], f"/proc/self/ns/{kind}")


def new(kind: str) -> Namespace:
    return Namespace(MEMBERS[kind], "")


@pytest.fixture
def mapping_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH that has newuidmap and newgidmap, and nothing else."""
    for name in ("newuidmap", "newgidmap"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def no_mapping_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


RANGES = (IDMap(0, 100000, 65536),)
SINGLE = (IDMap(0, os.getegid(), 1),)


def user_data(**options: Any) -> BootstrapData:
    """bootstrap_data() of a new user namespace with ranges, by default as root."""
    config: dict[str, Any] = {"uid_mappings": RANGES, "gid_mappings": RANGES}
    config |= {"rootless_euid": False} | options
    return bootstrap_data(Namespaces([new("user")]), **config)


def test_paths_are_in_runcs_order_whatever_the_config_says() -> None:
    shuffled = Namespaces([own(kind) for kind in reversed(RUNC_ORDER)])
    data = bootstrap_data(shuffled)
    assert [KINDS[ns.type] for ns in data.namespace_paths] == RUNC_ORDER
    assert data.clone_flags == 0


def test_only_what_is_not_joined_is_created() -> None:
    data = bootstrap_data(Namespaces([new("pid"), own("net"), new("mnt")]))
    assert data.clone_flags == reference.KIND_FLAGS["pid"] | reference.KIND_FLAGS["mnt"]
    assert data.namespace_paths == (own("net"),)


def test_no_mappings_for_a_user_namespace_that_is_joined() -> None:
    data = bootstrap_data(
        Namespaces([own("user"), new("net")]),
        uid_mappings=RANGES,
        gid_mappings=RANGES,
        rootless_euid=True,
    )
    assert data.uid_mappings == data.gid_mappings == ()
    assert data.uidmap_path is data.gidmap_path is data.setgroup is None
    assert data.encode()


def test_root_writes_its_mappings_itself(mapping_tools: Path) -> None:
    data = user_data()
    assert data.uid_mappings == data.gid_mappings == RANGES
    assert data.uidmap_path is data.gidmap_path is None
    assert data.rootless_euid is False


def test_rootless_mappings_are_written_by_the_tools_on_path(mapping_tools: Path) -> None:
    data = user_data(rootless_euid=True)
    assert data.uidmap_path == str(mapping_tools / "newuidmap")
    assert data.gidmap_path == str(mapping_tools / "newgidmap")
    assert data.rootless_euid is True


@pytest.mark.usefixtures("no_mapping_tools")
def test_tools_that_are_not_on_path_are_not_named() -> None:
    data = user_data(rootless_euid=True)
    assert data.uidmap_path is data.gidmap_path is None


def test_no_tools_without_mappings(mapping_tools: Path) -> None:
    data = user_data(uid_mappings=(), gid_mappings=(), rootless_euid=True)
    assert data.uidmap_path is data.gidmap_path is data.setgroup is None


def test_setgroups_stays_allowed_for_root_and_the_tools(mapping_tools: Path) -> None:
    assert user_data().setgroup is True
    assert user_data(rootless_euid=True).setgroup is True


def test_a_lone_gid_that_is_ones_own_does_not_ask_for_setgroups(mapping_tools: Path) -> None:
    # Not for root either: runc looks at the mapping alone (requiresRootOrMappingTool).
    assert user_data(uid_mappings=SINGLE, gid_mappings=SINGLE, rootless_euid=True).setgroup is None


def test_no_setgroups_without_gid_mappings() -> None:
    assert user_data(gid_mappings=()).setgroup is None


OFFSETS = (TimeOffset("monotonic", 3600, 5), TimeOffset("boottime", 7200))


def test_offsets_go_with_a_new_time_namespace() -> None:
    data = bootstrap_data(Namespaces([new("time")]), time_offsets=OFFSETS)
    assert data.time_offsets == OFFSETS
    assert BootstrapData.decode(data.encode()) == data


def test_no_offsets_for_a_time_namespace_that_is_joined() -> None:
    data = bootstrap_data(Namespaces([own("time")]), time_offsets=OFFSETS)
    assert data.time_offsets == ()
    assert data.encode()


def test_the_score_is_passed_on() -> None:
    assert bootstrap_data(Namespaces([]), oom_score_adj=-500).oom_score_adj == -500
    assert bootstrap_data(Namespaces([])).oom_score_adj is None


def test_rootless_is_by_default_what_the_caller_is(monkeypatch: pytest.MonkeyPatch) -> None:
    for euid in (0, 1000):
        monkeypatch.setattr(os, "geteuid", lambda euid=euid: euid)
        assert bootstrap_data(Namespaces([])).rootless_euid is (euid != 0)


@pytest.mark.parametrize("path", ["/run/a,b", "/run/a\0b", "relative/net"])
def test_bootstrap_data_refuses_a_bad_path_by_its_name(path: str) -> None:
    with pytest.raises(ValueError) as caught:
        bootstrap_data(Namespaces([Namespace(NamespaceType.NEWNET, path)])).encode()
    assert path in str(caught.value) or repr(path) in str(caught.value)
