"""In a Bind with `as_owner`, the process has the rights of the owner of the source."""

from __future__ import annotations

import os
import signal
import stat
import sys
from pathlib import Path

import pytest

import nsenter
import rootless
from nsenter import Bind, Options, presets
from nsenter._launch.descriptors import Descriptors, open_fds
from nsenter._launch.idmapped_binds import with_idmapped_trees
from system_root import SYSTEM, output

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="what only root may do: run as root")
NOBODY = 65534


def ids(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_uid, found.st_gid


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Nobody but its owner gets into it."""
    made = tmp_path / "folder"
    made.mkdir(mode=0o700)
    return made


@as_root
@pytest.mark.parametrize(
    "owner", [(0, 0), (1000, 1000), (1000, 0), (0, NOBODY), (NOBODY, NOBODY)], ids=str
)
def test_a_sandbox_of_root_writes_for_the_owner(folder: Path, owner: tuple[int, int]) -> None:
    (folder / "old").write_text("old\n")
    (folder / "old").chmod(0o600)
    for path in (folder, folder / "old"):
        os.chown(path, *owner)
    script = 'cd "$1"; cat old; echo more >> old; mkdir new; echo hi > new/file; id -u'
    assert output(presets.sandbox(write=[folder]), script, str(folder)) == ["old", str(NOBODY)]
    assert (folder / "old").read_text() == "old\nmore\n"
    group = owner[1] if owner[0] != NOBODY else NOBODY
    for name in ("new", "new/file"):
        assert ids(folder / name) == (owner[0], group)


@as_root
def test_a_single_file_can_be_written(folder: Path) -> None:
    (folder / "file").touch(0o600)
    output(presets.sandbox(write=[folder / "file"]), 'echo hi > "$1"', str(folder / "file"))
    assert (folder / "file").read_text() == "hi\n"


@as_root
def test_what_belongs_to_others_stays_theirs(folder: Path) -> None:
    (folder / "theirs").write_text("secret")
    (folder / "theirs").chmod(0o600)
    os.chown(folder / "theirs", 1000, 1000)
    script = 'cd "$1"; no cat theirs; no chmod 666 theirs; stat -c %u theirs'
    assert output(presets.sandbox(write=[folder]), script, str(folder)) == [str(NOBODY)]
    assert ids(folder / "theirs") == (1000, 1000)


@as_root
def test_the_mount_is_restricted_as_that_of_any_bind(folder: Path) -> None:
    os.mknod(folder / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))
    bind = Bind(folder, "/mnt", as_owner=True)
    script = "grep ' /mnt ' /proc/self/mountinfo; no touch /mnt/x; no cat /mnt/null"
    (row,) = output(presets.sandbox(mounts=[bind]), script)
    assert {"ro", "nosuid", "nodev"} <= set(row.split()[5].split(","))


@as_root
def test_nothing_is_left_open(folder: Path) -> None:
    options = presets.sandbox(write=[folder])
    assert output(options, "ls /proc/self/fd") == output(presets.sandbox(), "ls /proc/self/fd")
    before = open_fds()
    output(options, "true")
    assert open_fds() == before


@as_root
def test_a_call_writes_for_the_owner_too(folder: Path) -> None:
    options = presets.sandbox(write=[folder])
    nsenter.call(os.mkdir, str(folder / "new"), options=options)
    assert ids(folder / "new") == (0, 0)


@as_root
def test_a_process_that_joins_a_pid_namespace_writes_for_the_owner(folder: Path) -> None:
    os.chown(folder, 1000, 1000)
    with nsenter.Popen(["sleep", "60"], Options(new="pid,mnt")) as other:
        options = Options(
            new="mnt", join={"pid": other}, root="tmpfs", uid=NOBODY, gid=NOBODY,
            mounts=[*SYSTEM, Bind(folder, "/mnt", writable=True, as_owner=True)],
        )  # fmt: skip
        output(options, "touch /mnt/new")
        other.send_signal(signal.SIGKILL)
    assert ids(folder / "new") == (1000, 1000)


@as_root
def test_a_file_system_without_id_mapped_mounts_is_named() -> None:
    with pytest.raises(nsenter.BootstrapError) as caught:
        nsenter.run(["true"], presets.sandbox(write=["/sys/kernel"]))
    error = caught.value
    assert (error.stage, error.operation, error.subject) == (
        "launcher", "mount_setattr", "/sys/kernel",
    )  # fmt: skip
    assert "let uid 65534 write there" in error.hint


@as_root
def test_without_them_what_everybody_may_write_is_bound_as_it_is() -> None:
    bind = Bind(f"/proc/{os.getpid()}/timerslack_ns", "/mnt", writable=True, as_owner=True)
    with Descriptors() as owner:
        assert list(with_idmapped_trees([bind], NOBODY, NOBODY, owner)) == [bind]


def test_a_source_that_is_missing_is_named() -> None:
    options = Options(new="user,mnt", mounts=[Bind("/no/such", "/mnt", as_owner=True)])
    with pytest.raises(FileNotFoundError, match="bind /no/such"):
        nsenter.run(["true"], options)


def test_a_user_stands_in_for_nobody_else() -> None:
    code = """
import nsenter, tempfile
how = dict(target="/mnt", writable=True, as_owner=True)
with tempfile.TemporaryDirectory() as own:
    for source in own, "/usr":
        options = nsenter.presets.sandbox(mounts=[nsenter.Bind(source, **how)])
        try:
            print(nsenter.run(["touch", "/mnt/x"], options).returncode)
        except nsenter.BootstrapError as error:
            print(error.operation, error.errno, "CAP_SYS_ADMIN" in error.hint)
"""
    done = rootless.as_user([sys.executable, "-c", code])
    assert done.stdout.splitlines() == ["0", "open_tree 1 True"], done.stderr


@as_root
def test_no_owner_is_known_in_a_user_namespace_that_is_joined(folder: Path) -> None:
    with nsenter.Popen(["sleep", "60"], Options(new="user")) as other:
        options = Options(
            new="mnt", join={"user": other}, mounts=[Bind(folder, "/mnt", as_owner=True)]
        )
        with pytest.raises(ValueError, match="as_owner cannot be had in a user namespace"):
            nsenter.run(["true"], options)
        other.kill()
