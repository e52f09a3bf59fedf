"""Files that hostile code has left in a workspace, or changes while they are read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import launching
import nsenter
from nsenter import presets
from nsenter._sandbox import changes
from nsenter._sandbox.changes import Change
from nsenter._sandbox.safe_files import UnsafeFile
from nsenter._sandbox.workspace import Workspace
from sweeps import some
from workspaces import fuse_overlays

BASE = presets.sandbox()
SECRET = "the caller's secret\n"
OVERLAYS = ("overlayfs", "copy", *fuse_overlays())
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do: run as root")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A workspace, with a secret beside it."""
    made = tmp_path / "job"
    (made / "out").mkdir(parents=True)
    (tmp_path / "secret").write_text(SECRET)
    (made / "honest").write_text("honest\n")
    return made


@pytest.fixture(params=[False, *OVERLAYS], ids=["bind", *OVERLAYS])
def workspace(request: pytest.FixtureRequest, folder: Path) -> Iterator[Workspace]:
    with Workspace(folder, BASE, overlay=request.param) as made:
        yield made


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, folder: Path) -> Iterator[Workspace]:
    with Workspace(folder, BASE, overlay=request.param) as made:
        yield made


def attack(workspace: Workspace, code: str) -> None:
    """Run Python code in the sandbox."""
    options = BASE.replace(**workspace.changes(BASE))
    words = [sys.executable, "-I", "-S", "-c", f"import os, socket\n{code}"]
    done = nsenter.run(words, options, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# What the code makes, and what is said of it.
GIFTS = {
    "an absolute link": ("os.symlink('/etc/passwd', 'gift')", "symbolic link"),
    "a link that goes up": ("os.symlink('../secret', 'gift')", "symbolic link"),
    "a link through the root of a process": (
        "os.symlink(f'/proc/1/root/etc/passwd', 'gift')",
        "symbolic link",
    ),
    "a link to a descriptor": ("os.symlink('/proc/self/fd/0', 'gift')", "symbolic link"),
    "a link that goes up later": ("os.symlink('out/../../secret', 'gift')", "symbolic link"),
    "a pipe": ("os.mkfifo('gift')", "pipe"),
    "a socket": ("socket.socket(socket.AF_UNIX).bind('gift')", "socket"),
    "a sparse giant": ("open('gift', 'w').truncate(1 << 40)", "bytes, more than the limit"),
    "a large file": ("open('gift', 'wb').write(bytes(2 << 20))", "bytes, more than the limit"),
}
each_gift = pytest.mark.parametrize(("code", "reason"), GIFTS.values(), ids=GIFTS)


@each_gift
def test_a_gift_is_not_read(workspace: Workspace, code: str, reason: str) -> None:
    attack(workspace, code)
    with pytest.raises(UnsafeFile, match=f"^workspace: gift: .*{reason}") as caught:
        workspace.read("gift", limit="1M")
    assert caught.value.path == "gift"
    assert workspace.read("honest") == b"honest\n"


@each_gift
def test_a_gift_is_replaced_when_its_name_is_written(
    workspace: Workspace, folder: Path, code: str, reason: str
) -> None:
    """What it links to stays what it is, and nobody waits for the other end of a pipe."""
    attack(workspace, code)
    workspace.write("gift", "new\n")
    assert workspace.read("gift") == b"new\n"
    assert (folder.parent / "secret").read_text() == SECRET
    if workspace.backend == "bind":
        assert stat.S_ISREG((folder / "gift").lstat().st_mode)
        assert names(folder) == ["gift", "honest", "out"], "no temporary file is left"


@each_gift
def test_a_gift_is_not_committed(overlay: Workspace, folder: Path, code: str, reason: str) -> None:
    """Nor is anything else then."""
    attack(overlay, f"open('aaa', 'w').write('first')\nos.unlink('honest')\n{code}")
    said = {"symbolic link": "out of the workspace"}.get(reason, reason)
    with pytest.raises(UnsafeFile, match=f"^workspace: gift: .*{said}"):
        overlay.commit(".", limit="1M")
    assert names(folder) == ["honest", "out"]
    overlay.commit("aaa", "honest")
    assert names(folder) == ["aaa", "out"]


@each_gift
def test_a_gift_does_not_hold_up_the_list_or_the_difference(
    overlay: Workspace, code: str, reason: str
) -> None:
    attack(overlay, code)
    (change,) = overlay.changed()
    assert (change.kind, change.path) == ("added", "gift")
    shown = "Binary file gift differs\n" if change.type == "file" else ""
    assert overlay.diff() == shown


# What is in the way to a file.
ON_THE_WAY = {
    "a link out": "os.symlink('/etc', 'way')",
    "a link up": "os.symlink('..', 'way')",
    "a link inside": "os.symlink('out', 'way')",
}


@pytest.mark.parametrize("code", ON_THE_WAY.values(), ids=ON_THE_WAY)
def test_no_path_leads_through_a_link(workspace: Workspace, folder: Path, code: str) -> None:
    attack(workspace, code)
    for use in (
        lambda: workspace.read("way/passwd"),
        lambda: workspace.write("way/new", b"x"),
        lambda: workspace.write("way/a/b/new", b"x"),
    ):
        with pytest.raises(UnsafeFile, match="symbolic link"):
            use()
    assert names(folder.parent) == ["job", "secret"]
    assert names(folder / "out") == []


@pytest.mark.parametrize("name", ["gift", "gift/inner"])
def test_a_pipe_in_the_place_of_a_directory_is_refused(workspace: Workspace, name: str) -> None:
    attack(workspace, "os.mkfifo('gift')")
    with pytest.raises(NotADirectoryError):
        workspace.write(f"{name}/file", b"x")


# --- links that are brought back ------------------------------------------------------------------

LINKS = {
    "honest": True,
    "./honest": True,
    "out": True,
    "out/new": True,
    "dangling": True,
    "gift": True,  # to itself: it leads nowhere
    "": None,
    "/": False,
    "..": False,
    "../job/honest": False,
    "out/..": False,
    "out/../honest": False,
    "there": False,  # the caller's own link, which leads out
    "there/x": False,
}


@pytest.mark.parametrize("target", [word for word in LINKS if word])
def test_a_link_is_committed_if_it_stays_inside(
    overlay: Workspace, folder: Path, target: str
) -> None:
    (folder / "there").symlink_to(folder.parent)
    attack(overlay, f"os.symlink({target!r}, 'gift'); open('before', 'w')")
    if LINKS[target]:
        overlay.commit("gift")
        assert os.readlink(folder / "gift") == target  # noqa: PTH115
    else:
        with pytest.raises(UnsafeFile, match="leads, or may lead, out of the workspace"):
            overlay.commit(".")
        assert not (folder / "gift").is_symlink()
        assert not (folder / "before").exists(), "all is checked before anything is written"


def test_a_link_in_a_directory_may_go_up_as_far_as_the_top(
    overlay: Workspace, folder: Path
) -> None:
    attack(overlay, "os.mkdir('d'); os.symlink('../honest', 'd/a'); os.symlink('../..', 'd/b')")
    overlay.commit("d/a")
    assert (folder / "d/a").read_text() == "honest\n"
    with pytest.raises(UnsafeFile, match="d/b"):
        overlay.commit("d")


def test_nothing_is_committed_through_the_callers_own_links(
    overlay: Workspace, folder: Path
) -> None:
    """The code puts a directory where the caller has a link that leads out."""
    (folder / "there").symlink_to(folder.parent)
    attack(overlay, "try: os.unlink('there')\nexcept OSError: pass\nos.mkdir('there')\n"
        "open('there/secret', 'w').write('forged')")  # fmt: skip
    overlay.commit(".")
    assert (folder.parent / "secret").read_text() == SECRET
    assert (folder / "there/secret").read_text() == "forged"


# --- permissions ----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", [0o4755, 0o2755, 0o6777, 0o1777, 0o600], ids=oct)
def test_no_setuid_bit_is_committed(overlay: Workspace, folder: Path, mode: int) -> None:
    attack(overlay, "open('tool', 'w'); os.mkdir('d')")
    assert overlay._generation is not None
    for name in ("tool", "d"):  # the sandbox's filter would refuse this
        os.chmod(f"/proc/self/fd/{overlay._generation.merged}/{name}", mode)  # noqa: PTH101
    overlay.commit("tool", "d")
    for name in ("tool", "d"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == mode & 0o755


def test_a_committed_file_keeps_its_permissions_and_belongs_to_the_owner(
    overlay: Workspace, folder: Path
) -> None:
    (folder / "honest").chmod(0o664)
    overlay.reset()
    overlay.reset()
    attack(overlay, "open('honest', 'a').write('more'); open('new', 'w')")
    overlay.commit(".")
    found = (folder / "honest").stat()
    assert stat.S_IMODE(found.st_mode) == 0o664
    for name in ("honest", "new"):
        there = (folder / name).stat()
        assert (there.st_uid, there.st_gid) == (folder.stat().st_uid, folder.stat().st_gid)


def test_another_name_of_a_file_is_not_written(overlay: Workspace, folder: Path) -> None:
    """What the caller has linked to from elsewhere changes in the workspace alone."""
    os.link(folder / "honest", folder.parent / "elsewhere")
    attack(overlay, "open('honest', 'w').write('forged')")
    overlay.commit("honest")
    assert (folder / "honest").read_text() == "forged"
    assert (folder.parent / "elsewhere").read_text() == "honest\n"


def test_names_that_are_no_text_travel(overlay: Workspace, folder: Path) -> None:
    attack(overlay, r"open(b'\xff\x1b[2J\n', 'w').write('x'); os.mkdir(b'\x80')")
    overlay.commit(".")
    found = {os.fsencode(path.name) for path in folder.iterdir()}
    assert found == {b"\x80", b"honest", b"out", b"\xff\x1b[2J\n"}
    assert overlay.read(b"\xff\x1b[2J\n") == b"x"


def test_the_difference_escapes_names(overlay: Workspace) -> None:
    attack(overlay, r"open('a\n+++ b\x1b[2J', 'w').write('x')")
    assert "+++ b/a\\n+++ b\\x1b[2J\n" in overlay.diff()


@as_root
@pytest.mark.parametrize("overlay", [False, True], ids=["bind", "overlay"])
def test_root_does_not_read_what_the_code_cannot(folder: Path, overlay: bool) -> None:
    """The code can rename files of others in its directory, and link to some."""
    for path in (folder, folder / "honest"):
        os.chown(path, 1000, 1000)
    (folder / "private").write_text(SECRET)
    (folder / "private").chmod(0o600)  # root's
    (folder / "public").write_text("public\n")
    with Workspace(folder, BASE, overlay=overlay) as workspace:
        attack(workspace, "try: os.rename('private', 'gift')\nexcept OSError: pass")
        for name in ("private", "gift"):
            with pytest.raises(OSError, match=r"not for everybody to read|No such file"):
                workspace.read(name)
        assert workspace.read("public") == b"public\n"
        assert workspace.read("honest") == b"honest\n"
        os.link(folder / "public", folder / "second")
        if not overlay:
            with pytest.raises(UnsafeFile, match="has other names"):
                workspace.read("second")


# --- what changes meanwhile -----------------------------------------------------------------------


def test_a_lease_does_not_hold_up_a_reader(folder: Path) -> None:
    (folder / "gift").write_text("x")
    with (folder / "gift").open("r+") as file, Workspace(folder, BASE) as workspace:
        previous = signal.signal(signal.SIGIO, lambda *_: None)
        try:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
            with pytest.raises(UnsafeFile, match="holds a lease"):
                workspace.read("gift")
        finally:
            fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)
            signal.signal(signal.SIGIO, previous)


SWAP = """
import os, sys
os.chdir(sys.argv[1])
os.symlink(sys.argv[2], "link")
os.mkfifo("pipe")
open("file", "w").write("honest")
open("gift", "w").write("honest")
print(flush=True)
while True:
    for name in ("link", "pipe", "file"):
        try: os.link(name, "next", follow_symlinks=False); os.rename("next", "gift")
        except OSError: pass
        try: os.unlink("next")
        except OSError: pass
"""


def test_a_name_that_is_swapped_all_the_time_gives_honest_content_or_an_error(
    folder: Path,
) -> None:
    words = [sys.executable, "-c", SWAP, str(folder), str(folder.parent / "secret")]
    with (
        subprocess.Popen(words, stdout=subprocess.PIPE) as process,
        Workspace(folder, BASE) as workspace,
    ):
        assert process.stdout is not None
        process.stdout.readline()
        try:
            for _ in range(2000):
                with contextlib.suppress(UnsafeFile, FileNotFoundError):
                    assert workspace.read("gift") == b"honest"
        finally:
            process.kill()


def test_directories_that_change_meanwhile_are_listed_without_an_error(overlay: Workspace) -> None:
    assert overlay._generation is not None
    top = Path(f"/proc/self/fd/{overlay._generation.merged}")
    stop = threading.Event()

    def change() -> None:
        while not stop.is_set():
            (top / "a" / "b" / "c").mkdir(parents=True)
            (top / "a" / "b" / "file").write_text("x")
            (top / "a").rename(top / "z")
            (top / "a").symlink_to("/etc")
            (top / "a").unlink()
            for path in ("z/b/file", "z/b/c", "z/b", "z"):
                target = top / path
                target.rmdir() if target.is_dir() else target.unlink()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for _ in range(100):
            found = {change.path for change in overlay.changed()}
            assert found <= {*"az", "a/b", "z/b", "a/b/c", "a/b/file", "z/b/c", "z/b/file"}
    finally:
        stop.set()
        thread.join()


def test_a_path_that_is_too_long_is_an_error_and_others_are_committed(
    overlay: Workspace, folder: Path
) -> None:
    deep = "for _ in range(30): os.mkdir('d' * 200); os.chdir('d' * 200)"
    attack(overlay, f"open('new', 'w')\ntry:\n {deep}\nexcept OSError: pass")
    if overlay.backend == "fuse-overlayfs":  # which cannot make longer ones
        assert len(overlay.changed()) > 10
    else:
        with pytest.raises(UnsafeFile, match="more bytes than the 4095"):
            overlay.changed()
    overlay.commit("new")
    assert names(folder) == ["honest", "new", "out"]


def test_a_directory_that_cannot_be_read_holds_nothing_up(overlay: Workspace) -> None:
    attack(overlay, "os.mkdir('d'); open('d/f', 'w'); os.chmod('d', 0); os.chmod('out', 0)")
    kinds = {change.path: change.kind for change in overlay.changed()}
    assert kinds["d"] == "added"
    assert kinds["out"] == "modified"


# --- the upper layer ------------------------------------------------------------------------------


@pytest.fixture
def layers(tmp_path: Path) -> tuple[Path, Path]:
    upper, lower = tmp_path / "upper", tmp_path / "lower"
    for path in (upper, lower / "d"):
        path.mkdir(parents=True)
    for name in ("a", "b", "d/c", "d/e"):
        (lower / name).write_text(name)
    return upper, lower


def listed(upper: Path, lower: Path) -> list[Change]:
    fds = [os.open(path, os.O_RDONLY | os.O_DIRECTORY) for path in (upper, lower)]
    try:
        return [*changes.in_upper_layer(*fds)]
    finally:
        for fd in fds:
            os.close(fd)


@as_root
def test_a_device_without_numbers_is_a_whiteout(layers: tuple[Path, Path]) -> None:
    upper, lower = layers
    for name in ("a", "d", "gone"):
        os.mknod(upper / name, stat.S_IFCHR, os.makedev(0, 0))
    os.mknod(upper / "b", stat.S_IFCHR, os.makedev(1, 3))
    assert listed(upper, lower) == [
        Change("deleted", "a", "file", 1),
        Change("modified", "b", "device"),
        Change("deleted", "d", "directory"),
        Change("deleted", "d/c", "file", 3),
        Change("deleted", "d/e", "file", 3),
    ]


@pytest.mark.parametrize("prefix", ["user", "trusted"])
def test_extended_attributes_are_whiteouts_and_opaque(
    layers: tuple[Path, Path], prefix: str
) -> None:
    if prefix == "trusted" and os.geteuid() != 0:
        prefix = "user"
    upper, lower = layers
    (upper / "d").mkdir()
    (upper / "a").touch()
    os.setxattr(upper, f"{prefix}.overlay.opaque", b"x")
    os.setxattr(upper / "a", f"{prefix}.overlay.whiteout", b"y")
    (upper / "b").touch()  # without the attribute: a file
    assert [f"{c.kind} {c.path}" for c in listed(upper, lower)] == ["deleted a", "modified b"]
    os.removexattr(upper, f"{prefix}.overlay.opaque")
    assert [f"{c.kind} {c.path}" for c in listed(upper, lower)] == ["modified a", "modified b"]
    os.setxattr(upper / "d", f"{prefix}.overlay.opaque", b"y")
    assert [f"{c.kind} {c.path}" for c in listed(upper, lower)][2:] == [
        "deleted d/c",
        "deleted d/e",
    ]


def test_hostile_code_cannot_forge_a_whiteout(folder: Path) -> None:
    forge = """
for name in (b'user.overlay.opaque', b'trusted.overlay.opaque', b'user.overlay.whiteout'):
    for path in ('.', 'out', 'honest'):
        for value in (b'x', b'y'):
            try: os.setxattr(path, name, value)
            except OSError: pass
try: os.mknod('honest2', 0o020600, 0)
except OSError: pass
open('.wh.honest', 'w')
"""
    with Workspace(folder, BASE, overlay="overlayfs") as workspace:
        attack(workspace, forge)
        assert [f"{c.kind} {c.path}" for c in workspace.changed()] == ["added .wh.honest"]


OTHERS = "bind or copy or fuse"


# The quick run has the overlay of the kernel alone, which users and root mount in different ways.
@as_root
@pytest.mark.parametrize("others", some((OTHERS, "no_backend"), OTHERS))
def test_all_of_this_works_for_an_ordinary_user(others: str) -> None:
    launching.run_tests_as_user(__file__, f"not (root or ordinary_user or {others})")
