"""A new root has the mounts that were asked for, for root and for a user.

No path leads out of it, and nothing of the caller's tree is changed or left behind. An interpreter
that boots there reads none of its files.
"""

from __future__ import annotations

import ast
import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pythons
import rootless
from launching import PYTHONPATH
from needs import needs
from nsenter import Bind, BootstrapError, Dev, Options, Proc, Program, Tmpfs
from system_root import SYSTEM, box, mounts_of, output, told

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do")


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder to be a root, with files in it."""
    folder = tmp_path / "root"
    (folder / "etc").mkdir(parents=True)
    (folder / "etc" / "name").write_text("box\n")
    yield folder


# --- the root -------------------------------------------------------------------------------------


def test_an_empty_root_has_what_is_mounted_and_nothing_else() -> None:
    assert output(box(), "echo /*") == [
        " ".join(sorted(["/proc", *(str(bind.source) for bind in SYSTEM)]))
    ]


def test_a_folder_becomes_the_root(root: Path) -> None:
    options = box(root=root, cwd="/etc")
    assert output(options, "pwd; cat name; cat ../../etc/name") == ["/etc", "box", "box"]
    # The mount points that were missing have been made.
    assert {"proc", "usr"} <= {path.name for path in root.iterdir()}


def test_nothing_of_the_old_root_is_left_in_sight(root: Path) -> None:
    for options in (box(), box(root=root)):
        mounts = mounts_of(options)
        assert set(mounts) == {"/", "/proc", *(str(bind.source) for bind in SYSTEM)}


def test_all_mounts_of_a_root_are_nosuid_and_nodev(root: Path) -> None:
    for options in (box(mounts=[Tmpfs("/tmp")]), box(root=root)):
        assert all({"nosuid", "nodev"} <= flags for flags in mounts_of(options).values())


@pytest.mark.parametrize("kind", ["tmpfs", "folder"])
def test_a_read_only_root_takes_nothing_and_has_mount_points_still(kind: str, root: Path) -> None:
    where = "tmpfs" if kind == "tmpfs" else root
    options = box(root=where, read_only=True, mounts=[Tmpfs("/made/here")])
    script = "touch /made/here/x; no touch /x; no touch /made/x; no touch /usr/x; echo done"
    assert output(options, script)[-1] == "done"
    flags = mounts_of(options)
    assert "ro" in flags["/"]
    assert "rw" in flags["/made/here"]


def test_a_writable_root_is_written_through(root: Path) -> None:
    output(box(root=root), "echo hello > /etc/said")
    assert (root / "etc" / "said").read_text() == "hello\n"


@as_root
def test_what_is_mounted_in_the_folder_comes_along_and_is_read_only_too(root: Path) -> None:
    script = """
mount -t tmpfs none "$1/etc"; mkdir -p "$1/etc/deep"; mount -t tmpfs none "$1/etc/deep"
exec "$2" -c "$3" "$1"
"""
    code = """
import sys
from system_root import box, mounts_of
flags = mounts_of(box(root=sys.argv[1], read_only=True))
print(all("ro" in flags[point] for point in ("/", "/etc", "/etc/deep")))
"""
    done = subprocess.run(
        ["unshare", "-m", "sh", "-euc", script, "sh", root, sys.executable, code],
        env={**os.environ, "PYTHONPATH": PYTHONPATH},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.stdout == "True\n", done.stderr


# --- mounts ---------------------------------------------------------------------------------------


def test_binds_are_read_only_unless_they_are_to_be_written(tmp_path: Path) -> None:
    options = box(mounts=[Bind(tmp_path, "/data"), Bind(tmp_path, "/out", writable=True)])
    output(options, "no touch /data/no; echo yes > /out/file; cat /data/file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_file_is_bound_to_a_file_that_is_made_for_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("one line\n")
    options = box(mounts=[Bind(tmp_path / "secret", "/run/deep/secret")])
    assert output(options, "cat /run/deep/secret; ls /run/deep") == ["one line", "secret"]


def test_device_files_can_be_opened_where_that_was_said() -> None:
    options = box(mounts=[Bind("/dev/null", "/null"), Bind("/dev/null", "/ok", devices=True)])
    assert output(options, "no cat /null; cat /ok; echo read")[-1] == "read"


def test_a_tmpfs_has_its_size_and_mode() -> None:
    options = box(mounts=[Tmpfs("/small", size=1 << 20, mode=0o1777), Tmpfs("/tmp")])
    script = "stat -c %a /small /tmp; stat -f -c '%b %S' /small"
    mode, plain, size = output(options, script)
    blocks, block_size = map(int, size.split())
    assert (mode, plain, blocks * block_size) == ("1777", "755", 1 << 20)


def test_later_mounts_go_over_and_into_earlier_ones(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in\n")
    options = box(mounts=[Tmpfs("/a"), Bind(tmp_path, "/a/b"), Tmpfs("/a/c"), Tmpfs("/a/b")])
    assert output(options, "ls /a; ls /a/b | wc -l") == ["b", "c", "0"]


def test_a_bind_is_of_the_tree_that_the_caller_has(tmp_path: Path) -> None:
    # Not of what an earlier mount has put there.
    (tmp_path / "file").write_text("the caller's\n")
    options = Options(
        new="user,mnt,pid", mounts=[Tmpfs(tmp_path), Bind(tmp_path / "file", tmp_path / "copy")]
    )
    assert output(options, 'cat "$1/copy"', str(tmp_path)) == ["the caller's"]


def test_without_a_root_mounts_go_over_the_callers_tree_and_nothing_is_made(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    options = Options(new="user,mnt,pid", mounts=[Tmpfs(tmp_path / "there")])
    output(options, 'touch "$1/there/x"', str(tmp_path))
    assert list((tmp_path / "there").iterdir()) == []
    with pytest.raises(BootstrapError) as caught:
        options.replace(mounts=[Tmpfs(tmp_path / "not")]).launch(Program(["true"]))
    assert caught.value.subject == f"{tmp_path}/not"
    assert not (tmp_path / "not").exists()


def test_a_minimal_dev_works() -> None:
    options = box(mounts=[Dev(), Proc(), Proc("/other/proc")])
    script = """
echo x > /dev/null; head -c 3 /dev/zero | wc -c; head -c 5 /dev/urandom | wc -c
no sh -c "echo x > /dev/full"; echo hello | cat /dev/stdin; touch /dev/shm/x; test -c /dev/ptmx
stat -c %a /dev/shm /dev/pts/ptmx; ls /dev | tr "\\n" " "; echo; test -e /other/proc/1/status
"""
    three, five, hello, shm, ptmx, names = output(options, script)
    assert (three, five, hello, shm, ptmx) == ("3", "5", "hello", "1777", "666")
    assert names.split() == sorted(
        "fd full null ptmx pts random shm stderr stdin stdout tty urandom zero".split()
    )


def test_a_pty_can_be_opened_in_a_minimal_dev() -> None:
    code = "import os; m, s = os.openpty(); print(os.ttyname(s))"
    prefixes = {sys.base_prefix, sys.prefix} - {"/usr"}
    options = box(mounts=[Dev(), *(Bind(prefix) for prefix in prefixes)])
    assert output(options, '"$1" -c "$2"', sys.executable, code) == ["/dev/pts/0"]


def test_nothing_is_made_in_what_is_bound_to_be_read(tmp_path: Path) -> None:
    for writable in (True, False):
        bind = Bind(tmp_path, "/data", writable=writable)
        options = box(mounts=[bind, Tmpfs(f"/data/{writable}")])
        if writable:
            output(options, "touch /data/True/x")
        else:
            with pytest.raises(BootstrapError) as caught:
                options.launch(Program(["true"]))
            assert caught.value.subject == "/data/False"
    assert [path.name for path in tmp_path.iterdir()] == ["True"]


def test_the_hosts_root_can_be_ones_own_and_read_only(tmp_path: Path) -> None:
    options = Options(
        new="user,mnt,pid", root="/", read_only=True, mounts=[Dev(), Bind(tmp_path, writable=True)]
    )
    script = """
no touch /usr/x; no touch "$1/../x"; touch "$1/x"; echo x > /dev/null; readlink /proc/self
"""
    (pid,) = output(options, script, str(tmp_path))
    assert int(pid) < 20
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


def test_a_proc_is_mounted_once() -> None:
    before = Path("/proc/mounts").read_text().count(" /proc proc ")
    options = Options(new="user,mnt,pid", mounts=[Tmpfs("/mnt")])
    for given in (options, options.replace(mounts=[Proc()])):
        lines = output(given, "grep -c ' /proc proc ' /proc/mounts; ls /proc | grep -c '^[0-9]'")
        assert int(lines[0]) == before + 1
        assert int(lines[1]) < 10


SHARED = """
from pathlib import Path
import nsenter, sys
mounts = Path("/proc/self/mountinfo")
before = mounts.read_text()
words = ["grep", "-c", f" {sys.argv[1]} ", mounts]
options = nsenter.Options(new="mnt", mounts=[nsenter.Tmpfs(sys.argv[1])])
assert " shared:" in before
assert nsenter.check_output(words, options) == b"1\\n"
print(mounts.read_text() == before)
"""


@as_root
def test_mounts_do_not_reach_a_caller_whose_tree_is_shared(tmp_path: Path) -> None:
    unshare = needs("unshare", package="util-linux")
    words = [unshare, "--mount", "--propagation", "shared", sys.executable, "-c", SHARED, tmp_path]
    env = {**os.environ, "PYTHONPATH": PYTHONPATH}
    done = subprocess.run(words, capture_output=True, text=True, env=env, check=False)
    assert (done.stdout, done.stderr) == ("True\n", "")


def test_a_directory_of_the_callers_is_no_working_directory(root: Path) -> None:
    """CVE-2024-21626: not even if the program gets the descriptor that leads there."""
    host = os.open("/usr", os.O_RDONLY | os.O_DIRECTORY)
    try:
        for way in (box(), box(root=root)):
            with pytest.raises(BootstrapError, match="outside the root"):
                way.replace(cwd=f"/proc/self/fd/{host}").launch(Program(["true"]), pass_fds=[host])
    finally:
        os.close(host)


# --- an enemy's root ------------------------------------------------------------------------------


@pytest.mark.parametrize("link", ["/{outside}", "../../../../../../..{outside}", "/proc/self/root"])
def test_a_link_in_the_root_leads_a_mount_nowhere_else(
    link: str, root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "trap").symlink_to(link.format(outside=outside))
    with contextlib.suppress(BootstrapError):  # one that leads nowhere
        output(box(root=root, mounts=[Tmpfs("/trap/x/y")]), "true")
    assert list(outside.iterdir()) == []


def test_a_link_inside_the_root_is_followed_inside(root: Path) -> None:
    (root / "real").mkdir()
    (root / "link").symlink_to("/real")
    options = box(root=root, mounts=[Tmpfs("/link/x", mode=0o700)])
    assert output(options, "stat -c %a /real/x") == ["700"]


def test_a_root_that_changes_all_the_time_gets_a_mount_out_of_it_no_time(
    root: Path, tmp_path: Path
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (root / "b").symlink_to(outside)
    (root / "a").mkdir()
    code = """
import ctypes, sys
rename = ctypes.CDLL(None).renameat2
a, b = (f"{sys.argv[1]}/{name}".encode() for name in "ab")
print(flush=True)
while True:
    rename(-100, a, -100, b, 2)
"""
    with subprocess.Popen([sys.executable, "-c", code, root], stdout=subprocess.PIPE) as swapper:
        try:
            assert swapper.stdout and swapper.stdout.readline()
            for _ in range(40):
                with contextlib.suppress(BootstrapError):
                    output(box(root=root, mounts=[Tmpfs("/a/x/y")]), "true")
        finally:
            swapper.kill()
    assert list(outside.iterdir()) == []


# --- a Python there -------------------------------------------------------------------------------


def test_a_python_init_is_in_its_root_with_nothing_of_python_there() -> None:
    found = told(Options(new="user,mnt", root="tmpfs", mounts=[Tmpfs("/here")], cwd="/here"))
    assert found == {"/": ["here"], "..": ["here"], ".": [], "cwd": "/here"}


def test_a_python_init_gives_up_its_rights_in_its_root() -> None:
    options = Options(
        new="user,mnt", root="tmpfs", read_only=True, capabilities=(), uid=0, landlock={"/": "r"}
    )
    assert told(options) == {"/": [], "..": [], ".": [], "cwd": "/"}


def test_a_poisoned_root_has_no_say_in_the_boot(root: Path) -> None:
    """Where the interpreter would look, if it looked: all of its folders, with other modules."""
    bad = "import posix; posix.write(2, b'poisoned'); posix._exit(99)\n"
    for folder in ("", *sys.path, f"{sys.prefix}/lib"):
        place = root / folder.lstrip("/")
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            place.mkdir(parents=True, exist_ok=True)
        if place.is_dir():
            names = ("encodings", "codecs", "site", "sitecustomize", "os", "posixpath")
            for name in (*names, "report_status"):
                (place / f"{name}.py").write_text(bad)
    assert set(told(Options(new="user,mnt", root=root))["/"]) >= {"os.py", "report_status.py"}


def test_a_poisoned_bind_over_the_callers_python_has_no_say_in_the_boot(tmp_path: Path) -> None:
    (tmp_path / "os.py").write_text("import posix; posix._exit(99)\n")
    library = Path(os.__file__).parent
    found = told(Options(new="user,mnt", mounts=[Bind(tmp_path, library)], cwd=library))
    assert found["."] == ["os.py"]


IN_ITS_ROOT = """
from nsenter import Options, Proc, PythonInit
options = Options(
    new="user,mnt,pid", root="tmpfs", mounts=[Proc()], read_only=True, umask=0o27,
    rlimits={"nofile": 99}, capabilities=["kill"], seccomp=bytes.fromhex("060000000000ff7f"),
    landlock={"/": "r"}, die_with_parent=True,
)
with options.launch(PythonInit("report_status:tell")) as child:
    assert child.wait(20) == 0
"""


@pytest.fixture(scope="module")
def stage() -> Iterator[pythons.Stage]:
    with pythons.staged() as stage:
        shutil.copy(Path(__file__).parents[1] / "payloads" / "report_status.py", stage.folder)
        yield stage


@pytest.mark.parametrize("python", pythons.installed(), ids=str)
def test_every_python_has_given_up_what_it_is_to_by_its_first_line(
    python: pythons.Python, stage: pythons.Stage
) -> None:
    done = subprocess.run(
        [python.binary, "-s", "-P", "-c", IN_ITS_ROOT],
        env=stage.environment(python),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = ast.literal_eval(done.stdout)
    assert (found["Umask"], found["nofile"]) == ("0027", ["99", "99"])
    assert found["CapEff"] == found["CapBnd"] == f"{1 << 5:016x}"
    assert (found["NoNewPrivs"], found["Seccomp"], found["cwd"]) == ("1", "2", "/")


# --- as a user ------------------------------------------------------------------------------------

AS_A_USER = """
import json, sys
from nsenter import Bind, Dev, Options, Program, Tmpfs
from system_root import box, mounts_of, output, told
folder = sys.argv[1]
print(json.dumps({
    "listed": output(box(mounts=[Dev(), Tmpfs("/tmp")]), "echo /*; id -u; touch /tmp/x"),
    "dev": output(box(mounts=[Dev()]), "echo x > /dev/null; touch /dev/shm/x; ls /dev/pts"),
    "read-only": output(box(read_only=True), "no touch /x; echo done"),
    "over": output(Options(new="user,mnt,pid", mounts=[Tmpfs("/mnt")]), "ls /mnt; touch /mnt/x"),
    "python": told(Options(new="user,mnt", root="tmpfs", mounts=[Tmpfs("/here")], cwd="/here")),
    "flags": sorted({flag for flags in mounts_of(box()).values() for flag in flags}),
}))
"""


def test_a_user_has_a_root_of_its_own_as_well() -> None:
    words = ["env", f"PYTHONPATH={PYTHONPATH}", sys.executable, "-c", AS_A_USER, "/"]
    done = rootless.as_user(words)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    names = sorted(["/dev", "/proc", "/tmp", *(str(bind.source) for bind in SYSTEM)])
    assert found["listed"] == [" ".join(names), "0"]
    assert found["dev"] == ["ptmx"]
    assert found["read-only"] == ["done"]
    assert found["over"] == []
    assert found["python"]["/"] == ["here"]
    assert {"nosuid", "nodev"} <= set(found["flags"])
