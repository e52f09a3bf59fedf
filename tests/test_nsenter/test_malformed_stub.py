"""The real stub refuses a malformed message at once, by name and offset, and leaves nothing.

test_wire and test_bootstrap test the parser. Here the messages arrive on the init pipe of a
process. The tests see from outside that it reads no further, starts no stage and says why.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import struct
import time
import zlib
from pathlib import Path
from typing import Any

import pytest

import reference
from faults import AT_ONCE, LaunchedStub, hung_up, kill_children, nothing_left
from interop.runc_parent import RuncParent
from nsenter._message import codec
from nsenter._message.launch import LaunchAttribute
from nsenter.bootstrap import BootstrapData
from nsenter.launch import nsinit_path

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0, reason="what is wrongly accepted should go as far as it can"
)

VECTORS = Path(__file__).parent.parent / "vectors"
MALFORMED: list[dict[str, Any]] = json.loads((VECTORS / "malformed.json").read_text())["messages"]
CAPTURED = json.loads((VECTORS / "captured.json").read_text())

# Where each is wrong: the attribute (None: the message as a whole), and the first byte of it.
PLACES = {
    "nla-len-zero": ("OOM_SCORE_ADJ", 24),
    "nla-len-short": ("OOM_SCORE_ADJ", 24),
    "nla-len-past-end": ("OOM_SCORE_ADJ", 24),
    "string-without-nul": ("OOM_SCORE_ADJ", 24),
    "string-with-inner-nul": ("OOM_SCORE_ADJ", 24),
    "u32-empty": ("CLONE_FLAGS", 16),
    "u32-two-bytes": ("CLONE_FLAGS", 16),
    "bool-2": ("ROOTLESS_EUID", 24),
    "duplicate-flags": ("CLONE_FLAGS", 24),
    "unknown-attribute": ("27299", 24),
    "trailing-bytes": (None, 24),
    "nlmsg-len-below-header": (None, 0),
    "nlmsg-len-2gib": (None, 0),
    "truncated": (None, 28),
    "wrong-type": (None, 4),
    "error-type": (None, 4),
    "flags-not-namespaces": ("CLONE_FLAGS", 16),
    "ns-path-unknown-kind": ("NS_PATHS", 24),
    "ns-path-no-colon": ("NS_PATHS", 24),
    "ns-path-twice": ("NS_PATHS", 24),
    "ns-joined-and-new": ("NS_PATHS", 24),
    "map-without-userns": ("UIDMAP", 24),
    "map-garbage": ("UIDMAP", 24),
}
_OFFSET = re.compile(r"(?:attribute (?P<attribute>.+?) )?at offset (?P<offset>\d+): (?P<why>.+)")


def refusal(message: bytes, *, end_of_file: bool, argv: tuple[str, ...] = ("/bin/true",)) -> str:
    """What the stub says when it is sent this, having been held to all that is promised."""
    problems: list[str] = []
    with nothing_left(problems), RuncParent([nsinit_path(), *argv]) as parent:
        parent.await_hello()
        parent.write(message)
        if end_of_file:
            parent.finish_sending()
        # The log pipe is open for as long as any stage, or what it became, is there.
        assert hung_up(parent._log_read, AT_ONCE), f"lives on; log {parent.log_bytes!r}"
        assert parent.await_exit(parent.stage0_pid) == 1
        (line,) = parent.log_lines
    assert not problems
    assert sorted(line) == ["level", "msg"]
    assert line["level"] == "fatal"
    return line["msg"]


def offset_in(said: str) -> tuple[str | None, int]:
    found = _OFFSET.search(said)
    assert found, said
    return found["attribute"], int(found["offset"])


# --- the first message, from any parent ----------------------------------------------------------


def test_every_vector_has_a_place() -> None:
    assert [message["name"] for message in MALFORMED] == list(PLACES)


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: message["name"])
def test_malformed_message_is_refused_by_attribute_and_offset(message: dict[str, Any]) -> None:
    blob = bytes.fromhex(message["hex"])
    attribute, start = PLACES[message["name"]]
    said, offset = offset_in(refusal(blob, end_of_file="end of file" in message["why"]))
    assert start <= offset <= len(blob)
    if attribute:
        assert said and attribute in said
        assert offset < start + max(4, struct.unpack_from("=H", blob, start)[0])
    else:
        assert offset == start


@pytest.mark.parametrize("message", MALFORMED, ids=lambda message: message["name"])
def test_malformed_message_is_refused_in_any_pieces(message: dict[str, Any]) -> None:
    blob = bytes.fromhex(message["hex"])
    said = refusal(blob, end_of_file=True)
    problems: list[str] = []
    with nothing_left(problems), RuncParent([nsinit_path(), "/bin/true"]) as parent:
        parent.await_hello()
        # It need not wait for the rest of what is wrong already.
        with contextlib.suppress(BrokenPipeError):
            for at in range(0, len(blob), 3):
                parent._pipe.send(blob[at : at + 3])
                time.sleep(0.0005)
        parent.finish_sending()
        assert hung_up(parent._log_read, AT_ONCE)
        assert parent.await_exit(parent.stage0_pid) == 1
        assert [line["msg"] for line in parent.log_lines] == [said]
    assert not problems


def seeds() -> list[bytes]:
    return [bytes.fromhex(message["hex"]) for message in CAPTURED["blobs"]]


def mutated(blob: bytes, dice: random.Random) -> bytes:
    """One to three bytes changed, or a piece cut out, repeated, or cut off."""
    data = bytearray(blob)
    at, size = dice.randrange(len(data)), dice.randrange(1, 9)
    match dice.randrange(4):
        case 0:
            for _ in range(dice.randrange(1, 4)):
                data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        case 1:
            del data[at : at + size]
        case 2:
            data[at:at] = data[at : at + size]
        case 3:
            del data[at:]
    return bytes(data)


def is_refused(blob: bytes) -> bool:
    try:
        reference.parse(blob)
    except reference.Refused:
        # A good message with more bytes behind it is one whose rest the payload may read.
        size = struct.unpack_from("=I", blob)[0] if len(blob) >= 16 else 0
        return not 16 <= size < len(blob) or is_refused(blob[:size])
    return False


def mutations(count: int) -> list[bytes]:
    dice = random.Random(20_240_131)
    found: list[bytes] = []
    while len(found) < count:
        blob = mutated(dice.choice(seeds()), dice)
        if is_refused(blob):
            found.append(blob)
    return found


@pytest.mark.parametrize("blob", mutations(60), ids=lambda blob: f"{zlib.crc32(blob):08x}")
def test_mutated_message_is_refused_by_offset(blob: bytes) -> None:
    _, offset = offset_in(refusal(blob, end_of_file=True) + ": ")
    assert offset <= len(blob)


def test_message_of_random_bytes_is_refused() -> None:
    dice = random.Random(7)
    for size in (1, 15, 16, 17, 100, 5000):
        refusal(dice.randbytes(size), end_of_file=True)


# --- the second message, from our own launcher ---------------------------------------------------

FIRST = BootstrapData().encode()
LAUNCH_TYPE = 62100
_HOSTNAME, _MOUNT_PROC, _KEEP_FDS = (
    int(LaunchAttribute.HOSTNAME),
    int(LaunchAttribute.MOUNT_PROC),
    int(LaunchAttribute.KEEP_FDS),
)
_TIMEOUT, _TRACE = int(LaunchAttribute.TIMEOUT), int(LaunchAttribute.TRACE)


def attribute(kind: int, payload: bytes, length: int | None = None) -> bytes:
    size = 4 + len(payload)
    return (struct.pack("=HH", size if length is None else length, kind) + payload).ljust(
        (size + 3) // 4 * 4, b"\0"
    )


def second(*attributes: bytes, kind: int = LAUNCH_TYPE, size: int | None = None) -> bytes:
    body = b"".join(attributes)
    return struct.pack("=IHHII", 16 + len(body) if size is None else size, kind, 1, 0, 0) + body


ONE = struct.pack("=I", 1)
TRACE_OFF = attribute(_TRACE, struct.pack("=I", 0))  # 8 bytes: what follows is at offset 24

# name → the message, the attribute at fault (None: the whole), the first byte of it
BAD_SECONDS: dict[str, tuple[bytes, str | None, int]] = {
    "nla-len-zero": (second(TRACE_OFF, attribute(_HOSTNAME, b"x\0", 0)), "HOSTNAME", 24),
    "nla-len-short": (second(TRACE_OFF, attribute(_HOSTNAME, b"x\0", 3)), "HOSTNAME", 24),
    "nla-len-past-end": (second(TRACE_OFF, attribute(_HOSTNAME, b"x\0", 4096)), "HOSTNAME", 24),
    "text-without-nul": (second(attribute(_HOSTNAME, b"box!")), "HOSTNAME", 16),
    "text-with-inner-nul": (second(attribute(_HOSTNAME, b"a\0b\0")), "HOSTNAME", 16),
    "text-empty": (second(attribute(_HOSTNAME, b"")), "HOSTNAME", 16),
    "u32-empty": (second(attribute(_TIMEOUT, b"")), "TIMEOUT", 16),
    "u32-of-eight-bytes": (second(attribute(_TIMEOUT, ONE + ONE)), "TIMEOUT", 16),
    "bool-2": (second(attribute(_MOUNT_PROC, struct.pack("=I", 2))), "MOUNT_PROC", 16),
    "twice": (second(TRACE_OFF, TRACE_OFF), "TRACE", 24),
    "unknown": (second(TRACE_OFF, attribute(62_199, ONE)), "62199", 24),
    "of-the-first-message": (second(TRACE_OFF, attribute(27_281, ONE)), "27281", 24),
    "trailing-bytes": (second(TRACE_OFF, b"\0\0"), None, 24),
    "no-padding": (second(TRACE_OFF, attribute(_HOSTNAME, b"x\0")[:6]), "HOSTNAME", 24),
    "size-below-header": (second(TRACE_OFF, size=15), None, 0),
    "size-of-2-gib": (second(TRACE_OFF, size=0x7FFFFFFF), None, 0),
    "type-of-the-first": (second(TRACE_OFF, kind=62_000), None, 4),
    "truncated": (second(TRACE_OFF, size=32), None, 24),
    "header-truncated": (second(TRACE_OFF)[:9], None, 9),
    "nothing": (b"", None, 0),
    "keep-fds-no-numbers": (second(attribute(_KEEP_FDS, b"0,one\0")), "KEEP_FDS", 16),
    "keep-fds-falling": (second(attribute(_KEEP_FDS, b"2,1\0")), "KEEP_FDS", 16),
    "keep-fds-empty-item": (second(attribute(_KEEP_FDS, b"0,,2\0")), "KEEP_FDS", 16),
}


@pytest.mark.parametrize("name", BAD_SECONDS)
def test_malformed_second_message_is_a_record_by_attribute_and_offset(name: str) -> None:
    message, attribute_name, start = BAD_SECONDS[name]
    problems: list[str] = []
    with nothing_left(problems), LaunchedStub() as stub:
        stub.channel.sendall(FIRST + message)
        if not name.startswith("size-of"):
            stub.channel.shutdown(1)
        status, records = stub.end()
        kill_children()  # the payload, of a message that is taken
    assert not problems
    assert status == 1, records
    (record,) = records
    assert (record["type"], record["stage"]) == ("error", "parent")
    said, offset = offset_in(f"{record['subject']}: ")
    assert start <= offset <= max(start, len(message))
    assert attribute_name is None or (said and attribute_name in said), record


def test_second_message_as_the_launcher_writes_it_is_taken() -> None:
    message = codec.encode([(LaunchAttribute.KEEP_FDS, b"0,1,2")], codec.LAUNCH)
    problems: list[str] = []
    with nothing_left(problems), LaunchedStub() as stub:
        stub.channel.sendall(FIRST + message)
        status, records = stub.end()
        os.waitpid(-1, 0)  # the payload
    assert (status, records, problems) == (0, [{"type": "ready"}], [])
