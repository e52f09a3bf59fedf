"""Workspaces of a sandbox: bound, or with an overlay whose changes are listed and brought back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import launching
import nsenter
import rootless
from launching import PYTHONPATH
from needs import needs
from nsenter import presets
from nsenter._sandbox.changes import Change
from nsenter._sandbox.safe_files import UnsafeFile
from nsenter._sandbox.workspace import Workspace
from sweeps import some
from workspaces import fuse_overlays

BASE = presets.sandbox()
OVERLAYS = ("overlayfs", "copy", *fuse_overlays())
BACKENDS = ("bind", *OVERLAYS)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The real directory, with files that runs change."""
    made = tmp_path / "job"
    (made / "sub" / "deep").mkdir(parents=True)
    (made / "text").write_text("one\ntwo\nthree\n")
    (made / "same").write_text("same\n")
    (made / "sub" / "inner").write_text("inner\n")
    (made / "sub" / "deep" / "leaf").write_text("leaf\n")
    (made / "link").symlink_to("text")
    return made


def opened(folder: Path, backend: str, **arguments: Any) -> Workspace:
    overlay = False if backend == "bind" else backend
    return Workspace(folder, BASE, overlay=overlay, **arguments)  # type: ignore[arg-type]


@pytest.fixture(params=OVERLAYS)
def overlay(request: pytest.FixtureRequest, folder: Path) -> Iterator[Workspace]:
    with opened(folder, request.param) as workspace:
        yield workspace


def run(workspace: Workspace, script: str) -> str:
    """What a shell in the sandbox prints, which must not fail."""
    options = BASE.replace(**workspace.changes(BASE))
    done = nsenter.run(["sh", "-ec", script], options, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text: str = done.stdout
    return text


def tree(folder: Path) -> dict[str, str]:
    """What a directory holds."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_dir():
            found[name] = "/"
        else:
            found[name] = path.read_text()
    return found


def told(workspace: Workspace, only: str = ".") -> list[str]:
    return [f"{change.kind} {change.path}" for change in workspace.changed(only)]


# --- what a run sees and does ---------------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_run_works_in_it_and_its_files_belong_to_the_owner(folder: Path, backend: str) -> None:
    with opened(folder, backend) as workspace:
        assert workspace.backend == backend
        said = run(workspace, "pwd; cat text sub/deep/leaf; echo new > new; echo more >> sub/inner")
        assert said == "/workspace\none\ntwo\nthree\nleaf\n"
        assert workspace.read("new") == b"new\n"
        assert workspace.read("sub/inner") == b"inner\nmore\n"
        assert run(workspace, "cat new sub/inner") == "new\ninner\nmore\n"
    is_bound = backend == "bind"
    assert (folder / "new").exists() == is_bound
    assert (folder / "sub/inner").read_text() == ("inner\nmore\n" if is_bound else "inner\n")
    if is_bound:
        assert (folder / "new").stat().st_uid == folder.stat().st_uid


@pytest.mark.parametrize("backend", BACKENDS)
def test_what_is_written_from_outside_can_be_changed_inside(folder: Path, backend: str) -> None:
    with opened(folder, backend) as workspace:
        workspace.write("in/a/data", b"\0\xff")
        workspace.write("in/text", "grüß\n")
        workspace.write("text", "")
        run(workspace, "printf x >> in/a/data; rm in/text; rmdir in/a 2>&- || touch in/a/more")
        assert workspace.read("in/a/data") == b"\0\xffx"
        assert workspace.read("in/a/more") == workspace.read("text") == b""


def test_two_runs_at_once_share_an_overlay(overlay: Workspace) -> None:
    options = BASE.replace(**overlay.changes(BASE))
    wait = "echo here > first; while ! [ -e second ]; do sleep 0.01; done; cat second"
    with nsenter.Popen(["sh", "-ec", wait], options, stdout=subprocess.PIPE) as process:
        run(overlay, "while ! [ -e first ]; do sleep 0.01; done; echo there > .s; mv .s second")
        assert process.communicate(timeout=60)[0] == b"there\n"


def test_many_threads_run_in_one_workspace(overlay: Workspace) -> None:
    """Each answer of the keeper goes to the thread that has asked."""

    def work(number: int) -> None:
        for _ in range(3):
            run(overlay, f"echo x >> n{number}")
            overlay.changed()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))
    assert [overlay.read(f"n{number}") for number in range(8)] == [b"x\n" * 3] * 8


def test_options_can_be_used_again(overlay: Workspace) -> None:
    options = BASE.replace(**overlay.changes(BASE))
    for number in "123":
        said = nsenter.check_output(["sh", "-c", "echo x >> n; wc -l < n"], options, text=True)
        assert said.strip() == number


def test_the_size_of_the_changes_is_limited(folder: Path) -> None:
    for backend in OVERLAYS:
        with opened(folder, backend, size="1M", inodes=40) as workspace:
            run(workspace, "! dd if=/dev/zero of=big bs=64k count=99 2>&-; [ -s big ]; rm big")
            run(workspace, "! (for i in $(seq 99); do : > file$i || exit 1; done)")
            assert len(workspace.read("same")) == 5


@pytest.mark.parametrize(
    "name", ["a:b,c", "back\\slash", "new\nline", "=x upperdir=y", "%s", "\u00fc"]
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_a_directory_may_have_any_name(folder: Path, backend: str, name: str) -> None:
    odd = folder.rename(folder.with_name(name))
    with opened(odd, backend) as workspace:
        run(workspace, "echo new > new")
        assert workspace.read("new") == b"new\n"


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_call_works_in_it_too(folder: Path, backend: str) -> None:
    with opened(folder, backend) as workspace:
        options = BASE.replace(**workspace.changes(BASE))
        names = sorted(path.name for path in folder.iterdir())
        assert sorted(nsenter.call(os.listdir, ".", options=options)) == names


# --- changes --------------------------------------------------------------------------------------

EDIT = {
    "a new file": ("echo > n", ["added n"]),
    "more text": ("echo >> text", ["modified text"]),
    "another text of the same size": ("echo Same > same", ["modified same"]),
    "opened, but not changed": (": >> text; touch same", []),
    "the same content again": ("cat text > .x; rm text; mv .x text", []),
    "another mode": ("chmod 600 text; chmod 700 sub", ["modified sub", "modified text"]),
    "a deleted file": ("rm text", ["deleted text"]),
    "a deleted directory": (
        "rm -r sub",
        ["deleted sub", "deleted sub/deep", "deleted sub/deep/leaf", "deleted sub/inner"],
    ),
    "a directory made again": (
        "rm -r sub; mkdir sub; echo > sub/other",
        ["added sub/other", "deleted sub/deep", "deleted sub/deep/leaf", "deleted sub/inner"],
    ),
    "a directory made again, with a file as before": (
        "rm -r sub; mkdir sub; echo inner > sub/inner",
        ["deleted sub/deep", "deleted sub/deep/leaf"],
    ),
    "a renamed directory": (
        "mv sub/deep sub/moved",
        ["added sub/moved", "added sub/moved/leaf", "deleted sub/deep", "deleted sub/deep/leaf"],
    ),
    "a file in the place of a directory": (
        "rm -r sub/deep; echo > sub/deep",
        ["deleted sub/deep/leaf", "modified sub/deep"],
    ),
    "a directory in the place of a file": (
        "rm text; mkdir text; echo > text/x",
        ["added text/x", "modified text"],
    ),
    "another target of a link": ("ln -sfn same link", ["modified link"]),
    "a file in the place of a link": ("rm link; echo > link", ["modified link"]),
    "a new directory": ("mkdir -p a/b; echo > a/b/c", ["added a", "added a/b", "added a/b/c"]),
    "what was added and deleted again": ("mkdir a; echo > a/b; rm -r a", []),
    "a pipe": ("mkfifo p", ["added p"]),
    "two names": ("ln text second", ["added second"]),
    "names that are odd": ("echo > '.wh.text'; echo > '-n'", ["added -n", "added .wh.text"]),
}


@pytest.mark.parametrize(("script", "expected"), EDIT.values(), ids=EDIT)
@pytest.mark.parametrize("backend", OVERLAYS)
def test_changes(folder: Path, backend: str, script: str, expected: list[str]) -> None:
    before = tree(folder)
    if backend == "fuse-overlayfs" and ".wh." in script:  # it refuses such names
        script, expected = "echo > -n", ["added -n"]
    with opened(folder, backend) as workspace:
        run(workspace, script)
        assert sorted(told(workspace)) == expected
        assert tree(folder) == before
        if not any("pipe" in change.type for change in workspace.changed()) and expected:
            workspace.commit(".")
            assert workspace.changed() == [], "the real directory is as the workspace"
            after = tree(folder)
            workspace.reset()
            assert sorted(run(workspace, "find . -mindepth 1").split()) == sorted(
                f"./{name}" for name in after
            )


def test_changes_have_types_and_sizes(overlay: Workspace) -> None:
    run(overlay, "printf 12345 > f; mkdir d; ln -s f l; mkfifo p; rm same")
    assert overlay.changed() == [
        Change("added", "d", "directory"),
        Change("added", "f", "file", 5),
        Change("added", "l", "symbolic link"),
        Change("added", "p", "pipe"),
        Change("deleted", "same", "file", 5),
    ]


def test_changes_of_one_path(overlay: Workspace) -> None:
    run(overlay, "echo > n; rm -r sub/deep; echo > sub/other; mkdir -p a/b; echo > a/b/c")
    assert told(overlay, "sub/deep/leaf") == ["deleted sub/deep/leaf"]
    assert told(overlay, "sub/deep") == ["deleted sub/deep", "deleted sub/deep/leaf"]
    assert told(overlay, "a/b/c") == ["added a/b/c"]
    assert told(overlay, "./n/") == ["added n"]
    assert told(overlay, "su") == told(overlay, "no/such") == []


def test_reset_forgets_everything(overlay: Workspace) -> None:
    for _ in range(4):
        run(overlay, "! [ -e n ]; echo > n; rm -r sub; echo more >> text")
        assert len(overlay.changed()) == 6
        overlay.reset()
        assert overlay.changed() == []
    assert run(overlay, "cat text sub/inner") == "one\ntwo\nthree\ninner\n"


def end_waiting(*_: object) -> None:
    raise TimeoutError("the keeper was waited for")


def test_reset_waits_for_nothing(folder: Path) -> None:
    """Neither for the next generation, nor until the files of the last one are freed."""
    with opened(folder, "overlayfs") as workspace:
        run(workspace, "echo > n")  # its mount comes after the next generation
        assert workspace._keeper is not None
        keeper = workspace._keeper._child
        before = signal.signal(signal.SIGALRM, end_waiting)
        keeper.send_signal(signal.SIGSTOP)
        signal.alarm(30)
        try:
            workspace.reset()
            assert workspace.changed() == []
        finally:
            signal.alarm(0)
            keeper.send_signal(signal.SIGCONT)
            signal.signal(signal.SIGALRM, before)
        run(workspace, "! [ -e n ]")


# --- the difference -------------------------------------------------------------------------------


def test_diff_is_what_patch_takes(overlay: Workspace, folder: Path, tmp_path: Path) -> None:
    long = "".join(f"{n}\n" for n in range(200))
    (folder / "long").write_text(long)
    (folder / "end").write_text("no newline")
    overlay.reset()
    if overlay.backend == "overlayfs":  # the next generation has looked at nothing yet
        overlay.reset()
    run(overlay, "sed -i -e 5d -e 100s/$/x/ -e '180a new' long; echo >> end; rm same; echo new > n")
    said = overlay.diff()
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", folder, other], check=True)
    words = [needs("patch", package="patch"), "-p1", "--no-backup-if-mismatch"]
    done = subprocess.run(words, cwd=other, input=said, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    for name in ("long", "end", "n"):
        assert (other / name).read_bytes() == overlay.read(name)
    assert not (other / "same").exists()
    assert "@@ -2,7 +2,6 @@\n 1\n 2\n 3\n-4\n 5\n 6\n 7\n" in said


def test_diff_says_what_it_does_not_show(overlay: Workspace) -> None:
    run(overlay, "printf 'a\\0b' > binary; head -c 2000000 /dev/zero | tr '\\0' a > large")
    assert overlay.diff() == "Binary file binary differs\nBinary file large differs\n"


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"overlay": "zfs"}, 'overlay must be True, False, "overlayfs"'),
        ({"size": "1M"}, "can be limited only with overlay=True"),
        ({"overlay": True, "size": "much"}, "overlay size must be a number above 0"),
        ({"overlay": True, "inodes": 0}, "overlay inodes must be a number above 0"),
    ],
)
def test_a_bad_argument_is_refused(folder: Path, arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Workspace(folder, BASE, **arguments)  # type: ignore[arg-type]


def test_a_missing_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="missing"):
        Workspace(tmp_path / "missing", BASE, overlay=True).open()
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        Workspace(tmp_path / "file", BASE).open()


def test_without_an_overlay_there_are_no_changes(folder: Path) -> None:
    with Workspace(folder, BASE) as workspace:
        for ask in (workspace.changed, workspace.diff, workspace.reset):
            with pytest.raises(ValueError, match="requires overlay=True"):
                ask()
        with pytest.raises(ValueError, match="requires overlay=True"):
            workspace.commit("text")


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "", "a\0b"])
def test_a_path_that_is_not_in_it_is_refused(folder: Path, path: str) -> None:
    with Workspace(folder, BASE) as workspace:
        for use in (workspace.read, lambda path: workspace.write(path, b"")):
            with pytest.raises(ValueError, match="path must be relative to the workspace"):
                use(path)


def test_commit_names_what_has_not_changed(overlay: Workspace, folder: Path) -> None:
    run(overlay, "echo new > n")
    with pytest.raises(FileNotFoundError, match="same"):
        overlay.commit("n", "same")
    assert not (folder / "n").exists()
    with pytest.raises(TypeError, match="requires a path"):
        overlay.commit()


def test_a_keeper_that_ends_is_named(folder: Path) -> None:
    with opened(folder, "overlayfs") as workspace:
        assert workspace._keeper is not None
        workspace._keeper._child.kill()
        workspace._keeper._child.wait()
        with pytest.raises(ConnectionResetError, match="which keeps the overlay, has ended"):
            for _ in range(3):
                workspace.reset()


def test_it_closes_twice_and_opens_again(folder: Path) -> None:
    workspace = opened(folder, "overlayfs")
    for _ in range(2):
        workspace.open()
        with pytest.raises(ValueError, match="open already"):
            workspace.open()
        run(workspace, "! [ -e n ]; echo > n")
        workspace.close()
        workspace.close()
        with pytest.raises(ValueError, match="open"):
            workspace.read("text")


# The quick run has a bound directory and the overlay of the kernel.
@pytest.mark.skipif(os.geteuid() != 0, reason="it starts as root: run as root")
@pytest.mark.parametrize("besides", some(("copy or fuse", "no_backend"), "copy or fuse"))
def test_all_of_this_works_for_a_user(besides: str) -> None:
    said = launching.run_tests_as_user(__file__, f"not (root_has or a_user or {besides})")
    assert "skipped" not in said


def test_an_unsafe_file_travels() -> None:
    import pickle

    error = pickle.loads(pickle.dumps(UnsafeFile("a\x1b", "it is a pipe")))
    assert str(error) == "workspace: a\\x1b: it is a pipe"


# --- where the kernel refuses an overlay ----------------------------------------------------------

TRY = """
import json, sys, nsenter
with nsenter.Sandbox(workspace=sys.argv[1], overlay=True) as box:
    box.run(["sh", "-c", "set -e; echo more >> old; echo new > new"]).check()
    told = [f"{change.kind} {change.path}" for change in box.changes()]
    box.reset()
    print(json.dumps([box.workspace.backend, box.workspace.refused, told, box.changes()]))
"""


def tried(mounts: str, folder: Path, *python: str) -> list[object]:
    """What comes of a sandbox, after a shell has made mounts of its own."""
    words = [needs("unshare", package="util-linux"), "--mount", "--propagation", "private"]
    words += ["sh", "-ec", f'{mounts}\nshift; exec "$@"', "sh", str(folder), *python]
    words += ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-c", TRY, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found: list[object] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount: run as root")
def test_root_has_a_copy_where_ids_cannot_be_mapped(tmp_path: Path) -> None:
    """Of a directory on an overlay file system."""
    mounts = """
    mount -t tmpfs none "$1"; cd "$1"; mkdir lower upper work merged; echo old > lower/old
    mount -t overlay none -o lowerdir=lower,upperdir=upper,workdir=work merged
    mount --bind merged "$1"
    """
    backend, refused, told, after = tried(mounts, tmp_path)
    assert backend == "copy"
    assert isinstance(refused, dict)
    assert "id-mapped mounts" in refused["overlayfs"]
    assert "another user" in refused["fuse-overlayfs"]
    assert (told, after) == (["added new", "modified old"], [])


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount: run as root")
def test_a_user_has_something_else_where_a_file_system_is_mounted_below() -> None:
    mounts = f"""
    echo old > "$1/old"; mkdir "$1/below"; mount -t tmpfs none "$1/below"
    chown -R {rootless.UID}:{rootless.UID} "$1"
    """
    user = (sys.executable, rootless.__file__, "", "--")
    with tempfile.TemporaryDirectory() as folder:  # others may not get into pytest's own
        backend, refused, told, after = tried(mounts, Path(folder), *user)
    assert backend in ("fuse-overlayfs", "copy")
    assert isinstance(refused, dict)
    assert f"mounted below, as on {folder}/below" in refused["overlayfs"]
    assert (told, after) == (["added new", "modified old"], [])
