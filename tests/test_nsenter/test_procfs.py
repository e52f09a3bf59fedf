"""The readers of /proc are not deceived by crafted names."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from nsenter._host import procfs
from nsenter._host.syscalls import Failure

LINE = rb"36 25 98:0 /a /b rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue"
# A name of each kind that has confused a reader of mountinfo somewhere.
NAMES = [
    b"a blank", b"tab\there", b"new\nline", b"back\\slash", b"\\040", b"#hash", b"carriage\rreturn",
    b"\xff\xfe", "\x85\u2028\x0b\x0c\x1c".encode(), b" - tmpfs tmpfs rw", b"//deleted",
    b"gone (deleted)", b"a\n1 1 0:1 / /etc rw - proc proc rw",
]  # fmt: skip


def test_a_line_is_taken_apart() -> None:
    (mount,) = procfs.mounts(LINE + b"\n")
    assert (mount.id, mount.parent, mount.device, mount.root, mount.point) == (
        36, 25, "98:0", "/a", "/b",
    )  # fmt: skip
    assert mount.options == ("rw", "noatime")
    assert mount.propagation == ("master:1", "shared:2")
    assert (mount.fstype, mount.source) == ("ext3", "/dev/root")
    assert mount.super_options == ("rw", "errors=continue")
    assert not mount.deleted


@pytest.mark.parametrize(
    ("line", "field", "value"),
    [
        (rb"1 1 0:1 / /a\040b\011c\012d\134e rw - x y rw", "point", "/a b\tc\nd\\e"),
        (rb"1 1 0:1 / /\134040 rw - x y rw", "point", "/\\040"),
        (rb"1 1 0:1 / /a rw - tmpfs  rw", "source", ""),
        (rb"1 1 0:1 / /a rw - fuse.x a\040-\040b rw", "source", "a - b"),
        (rb"1 1 0:1 /a//deleted /b rw - x y rw", "root", "/a"),
        (rb"1 1 0:1 //deleted /b rw - x y rw", "root", "/"),
        (rb"1 1 0:1 net:[4026531840] /b rw - nsfs nsfs rw", "root", "net:[4026531840]"),
        (b"1 1 0:1 / /\xff\r\x85 rw - x y rw", "point", "/\udcff\r\udc85"),
        (rb"1 1 0:1 / /a\9 rw - x y rw", "point", "/a\\9"),
        (b"1 1 0:1 / /a rw - x y rw,a b", "super_options", ("rw", "a b")),
    ],
)
def test_fields_that_hold_anything(line: bytes, field: str, value: object) -> None:
    (mount,) = procfs.mounts(line)
    assert getattr(mount, field) == value


def test_what_is_mounted_of_something_removed_is_marked() -> None:
    assert procfs.mounts(rb"1 1 0:1 /a//deleted /b rw - x y rw")[0].deleted


@pytest.mark.parametrize(
    "line", [b"x", b"1 1 0:1 / /a rw", b"1 1 0:1 / /a - x y rw", b"1 1 0:1 / /a rw - x", b"a" * 99]
)
def test_a_line_that_is_no_mount_is_an_error_that_shows_it(line: bytes) -> None:
    with pytest.raises(Failure, match="read a line of mountinfo") as caught:
        procfs.mounts(LINE + b"\n" + line)
    assert line.decode() in str(caught.value)


def test_mounts_with_such_names_are_seen_one_by_one(tmp_path: Path) -> None:
    """The kernel's own lines, of mounts over mounts as well."""
    script = f"""
import os
from nsenter._host import procfs, syscalls
here = {os.fsencode(tmp_path)!r}
before = len(procfs.mounts())
points = []
for name in {[name.replace(b"/", b"_") for name in NAMES]!r}:
    point = here + b"/" + name
    os.mkdir(point)
    for _ in range(2):
        syscalls.mount(name, point, "tmpfs", 0)
        points.append(os.fsdecode(point))
found = procfs.mounts()[before:]
assert [mount.point for mount in found] == points, found
assert {{mount.fstype for mount in found}} == {{"tmpfs"}}
assert [os.path.basename(mount.point) for mount in found] == [mount.source for mount in found]
"""
    subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", sys.executable, "-c", script],
        check=True, timeout=60,
    )  # fmt: skip


def test_paths_of_cgroups_are_split_at_newlines_alone() -> None:
    text = "1:name=systemd:/a:b\n0::/x\x0b\x85\u2028y\r\n"
    assert dict(procfs.cgroups(text)) == {"name=systemd": "/a:b", "": "/x\x0b\x85\u2028y\r"}
    with pytest.raises(OSError, match="cgroups"):
        list(procfs.cgroups("nonsense\n"))


def test_a_name_does_not_forge_fields() -> None:
    """Of this process, under such a name."""
    for name in (b"a) R 1 1", b"x\nUid:\t7", b"\xff)"):
        code = (
            "import os\nfrom nsenter._host import procfs\n"
            f"open('/proc/self/comm','wb').write({name!r})\n"
            "fields = procfs.stat(procfs.read('/proc/self/stat'))\n"
            "status = procfs.status(procfs.read('/proc/self/status'))\n"
            "print(fields[0], fields[1] == str(os.getppid()), status['Uid'].split()[0])\n"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.stdout.split() == ["R", "True", str(os.getuid())], done.stderr
