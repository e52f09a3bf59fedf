"""The stub can replace `runc init` of both generations of runc.

Up to 1.1 the parent waits for one byte before it writes the message, and attribute 27290 has mount
sources. From 1.2 on there is no such byte, and the attribute has the offsets of clocks.
"""

from __future__ import annotations

import contextlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interop import orphans
from interop.runc_parent import RuncParent, StubError
from nsenter.bootstrap import BootstrapData, TimeOffset
from nsenter.launch import nsinit_path

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts are made in a namespace of root's")

NEWNS, NEWTIME = 0x0002_0000, 0x80
ATTRIBUTE = 27290
SAYS_IT = {"_LIBCONTAINER_SYNCPIPE": "0"}


def message(cloneflags: int, last: bytes | None) -> bytes:
    """A message as runc 1.1 writes it: each attribute of bytes has a NUL behind it."""
    attributes = struct.pack("=HHI", 8, 27281, cloneflags)
    if last is not None:
        value = last + b"\0"
        attributes += struct.pack("=HH", 4 + len(value), ATTRIBUTE) + value + bytes(-len(value) % 4)
    return struct.pack("=IHHII", 16 + len(attributes), 62000, 0, 0, 0) + attributes


@contextlib.contextmanager
def stub(*argv: str, at_once: bytes = b"", **environment: str) -> Iterator[RuncParent]:
    words = [nsinit_path(), *argv]
    with RuncParent(words, environment=environment, at_once=at_once) as parent:
        yield parent


def check_the_rest(parent: RuncParent) -> None:
    assert parent.await_reply().raw.startswith(b"{")
    parent.await_stages()
    assert parent.await_stage2() == 0


def test_a_parent_of_1_2_gets_no_byte_before_its_reply() -> None:
    with stub("/bin/true", **SAYS_IT) as parent:
        time.sleep(0.2)  # it says what it is, and may take its time
        parent.send(message(0, None))
        check_the_rest(parent)


def test_nor_does_one_that_writes_at_once_and_says_nothing() -> None:
    with stub("/bin/true", at_once=message(0, None)) as parent:
        check_the_rest(parent)


def test_one_that_waits_gets_its_byte() -> None:
    with stub("/bin/true") as parent:
        parent.await_hello()
        parent.send(message(0, None))
        check_the_rest(parent)


@as_root
@pytest.mark.parametrize("says", [SAYS_IT, {}])
def test_the_attribute_has_the_offsets_of_clocks_from_1_2_on(says: dict[str, str]) -> None:
    blob = BootstrapData(
        clone_flags=NEWTIME, time_offsets=(TimeOffset("boottime", 1_000_000, 0),)
    ).encode()
    script = 'read up _ </proc/uptime; test "${up%.*}" -ge 1000000'
    with stub("/bin/sh", "-c", script, at_once=blob, **says) as parent:
        check_the_rest(parent)


@contextlib.contextmanager
def places(count: int) -> Iterator[list[int]]:
    """Descriptors that stand for those to come, as runc's parent passes its own socket."""
    fds = [os.open("/dev/null", os.O_RDONLY) for _ in range(count)]
    try:
        for fd in fds:
            os.set_inheritable(fd, True)
        yield fds
    finally:
        for fd in fds:
            os.close(fd)


def run_with_sources(sources: bytes, mount_fds: str, script: str, fds: tuple[int, ...]) -> int:
    argv = ["/bin/sh", "-c", script]
    environment = {"_LIBCONTAINER_MOUNT_FDS": mount_fds}
    with RuncParent([nsinit_path(), *argv], environment=environment, pass_fds=fds) as parent:
        parent.await_hello()
        parent.send(message(NEWNS, sources))
        parent.await_reply()
        parent.await_stages()
        return parent.await_stage2()


@as_root
def test_mount_sources_of_1_1_are_opened_and_put_where_they_are_wanted(tmp_path: Path) -> None:
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.touch()
    with places(2) as (one, two):
        sources = b"\0".join([b"", os.fsencode(folder), b"", os.fsencode(file), b""])
        script = (
            f'test "$(readlink /proc/self/fd/{one})" = {folder} && '
            f'test "$(readlink /proc/self/fd/{two})" = {file} && '
            f"grep -q 'flags:.*010000000$' /proc/self/fdinfo/{two}"  # O_PATH
        )
        assert run_with_sources(sources, f"[-1,{one},-1,{two}]", script, (one, two)) == 0


@as_root
@pytest.mark.parametrize(
    ("sources", "mount_fds", "why"),
    [
        (b"/nowhere/at/all\0", "[7]", "open the mount source /nowhere/at/all: ENOENT"),
        (b"/tmp\0/\0", "[7]", "_LIBCONTAINER_MOUNT_FDS [7]"),
        (b"/tmp\0", "[7,8]", "_LIBCONTAINER_MOUNT_FDS [7,8]"),
        (b"/tmp\0", "[x]", "_LIBCONTAINER_MOUNT_FDS [x]"),
        (b"/tmp\0", "", "in _LIBCONTAINER_MOUNT_FDS"),
        (b"/" + b"a" * 5000 + b"\0", "[7]", "longer than a path"),
    ],
)
def test_sources_that_cannot_be_opened_or_have_no_place_are_named(
    sources: bytes, mount_fds: str, why: str
) -> None:
    environment = {"_LIBCONTAINER_MOUNT_FDS": mount_fds}
    argv = [nsinit_path(), "/bin/true"]
    with orphans.settled(), RuncParent(argv, environment=environment) as parent:
        parent.await_hello()
        parent.send(message(NEWNS, sources))
        with pytest.raises(StubError):
            parent.await_reply()
        assert parent.await_exit(parent.stage0_pid) == 1
        assert why in "".join(line["msg"] for line in parent.log_lines)
