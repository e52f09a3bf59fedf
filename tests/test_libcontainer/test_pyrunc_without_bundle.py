"""`pyrunc run --rootfs` runs a command in a container without a bundle, with safe defaults."""

from __future__ import annotations

import fcntl
import itertools
import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pyrunc
import rootless
from libcontainer.errors import ContainerError
from libcontainer.pyrunc import without_bundle
from libcontainer.pyrunc.options import parse_command
from pyrunc import Runtime

runtime = pytest.fixture(pyrunc.runtimes)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return pyrunc.make_root(tmp_path / "root")


def _options(*words: str) -> dict[str, Any]:
    return parse_command("run", [*words, "x"])[0]


def test_a_command_in_a_folder(runtime: Runtime, root: Path) -> None:
    words = ("run", "--rootfs", root, "box", "--", "sh", "-c", "echo $$; hostname 2>&1; ls -d /*")
    said = runtime.good(*words).split()
    assert said[0] == "1"
    assert "/bin" in said
    assert runtime.good("list", "-q") == ""


def test_its_options(runtime: Runtime, root: Path, tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/file").write_text("content")
    script = "echo $A; id -u; id -g; echo $PWD; cat file; echo x 2>/dev/null > file || echo ro"
    words = ["-e", "A=b", "--user", "5:6", "--cwd", "/src", "--volume", f"{tmp_path}/src:/src:ro"]
    said = runtime.good("run", *words, "--rw", "--rootfs", root, "box", "--", "sh", "-c", script)
    assert said == "b\n5\n6\n/src\ncontentro\n"


@pytest.mark.parametrize(("network", "own"), [("none", True), ("host", False)])
def test_networks(runtime: Runtime, root: Path, network: str, own: bool) -> None:
    words = ("--network", network, "--rootfs", root, "box", "--", "readlink", "/proc/self/ns/net")
    said = runtime.good("run", *words).strip()
    assert (said != str(Path("/proc/self/ns/net").readlink())) is own


def test_it_is_read_only_unless_asked(runtime: Runtime, root: Path) -> None:
    script = "echo x 2>/dev/null > /file || echo ro"
    command = ("--rootfs", root, "box", "--", "sh", "-c", script)
    assert runtime.good("run", *command) == "ro\n"
    assert runtime.good("run", "--rw", *command) == ""
    assert (root / "file").read_text() == "x\n"


def test_the_hosts_root_is_read_only_whatever_is_mounted_there(tmp_path: Path) -> None:
    """In a mount namespace of the test's own, with a tmpfs on /mnt."""
    probe = (
        "for d in / /mnt /mnt/sub /etc /usr; do touch $d/pyrunc-probe 2>/dev/null && echo bad $d; "
        "done; ls /mnt; touch /tmp/works && ls -A /run /tmp"
    )
    command = " ".join(map(str, pyrunc.PYRUNC))
    script = (
        "mount -t tmpfs none /mnt; mkdir /mnt/sub; touch /mnt/kept; mount -t tmpfs none /mnt/sub; "
        f"{command} --root {tmp_path}/state run --rootfs / box -- sh -c '{probe}'"
    )
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", script],
        capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    words = done.stdout.split()
    assert "bad" not in words
    assert words[:2] == ["kept", "sub"]
    assert words[-1] == "works"
    assert not Path("/tmp/works").exists()


_NAMES = [
    "a blank", "tab\\there", "new\\nline", "back\\\\slash", "\\\\040", "\\377\\376", "a - tmpfs b",
]  # fmt: skip


def _own_mounts(script: str, propagation: str = "private") -> str:
    """What a shell's script says, in a mount namespace of its own."""
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", propagation, "sh", "-ec", script],
        capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def _places() -> Iterator[object]:
    """(rootfs, name, covered); the quick run has each name once, and the rest with the first."""
    for rootfs, name, covered in itertools.product(("/", "a folder"), _NAMES, (False, True)):
        is_quick = (rootfs == "/" and not covered) or name == _NAMES[0]
        marks = [] if is_quick else [pytest.mark.sweep]
        yield pytest.param(rootfs, name, covered, marks=marks)


@pytest.mark.parametrize(("rootfs", "name", "covered"), [*_places()])
def test_no_mount_in_a_read_only_root_is_writable(
    root: Path, tmp_path: Path, rootfs: str, name: str, covered: bool
) -> None:
    """Whatever its name is, and with another mount on it."""
    if rootfs != "/":
        (root / "mnt").mkdir()
        rootfs = str(root)
    place = f"{rootfs}/mnt".replace("//", "/")
    command = f"{' '.join(map(str, pyrunc.PYRUNC))} --root {tmp_path}/state"
    cover = 'mount -t tmpfs none "$at/sub"; echo secret >"$at/sub/kept";' if covered else ""
    said = _own_mounts(
        f"""
        mount -t tmpfs none {place}
        at="{place}/$(printf '{name}x')"; at="${{at%x}}"; mkdir "$at"
        mount -t tmpfs none "$at"; mkdir "$at/sub"; echo secret >"$at/sub/kept"
        {cover}
        {command} run --rootfs {rootfs} box -- sh -c '
            for f in /mnt/*/sub/kept; do
                cat "$f"; (echo changed >"$f") 2>/dev/null || echo refused
            done'
        cat "$at/sub/kept"
        """
    )
    assert said.split() == ["secret", "refused", "secret"]


def test_a_file_mounted_at_the_top_of_the_root_is_read_only(root: Path, tmp_path: Path) -> None:
    command = " ".join(map(str, pyrunc.PYRUNC))
    (root / "file").touch()
    (tmp_path / "source").write_text("secret\n")
    said = _own_mounts(
        f"mount --bind {tmp_path}/source {root}/file; {command} --root {tmp_path}/state "
        f"run --rootfs {root} box -- sh -c '(echo changed >/file) 2>/dev/null || echo refused'"
    )
    assert said == "refused\n"
    assert (tmp_path / "source").read_text() == "secret\n"


def test_what_the_host_mounts_later_does_not_come_along(root: Path, tmp_path: Path) -> None:
    """It would be writable."""
    (root / "mnt").mkdir()
    command = f"{' '.join(map(str, pyrunc.PYRUNC))} --root {tmp_path}/state"
    said = _own_mounts(
        f"""
        mount -t tmpfs none {root}/mnt; mkdir {root}/mnt/late
        {command} run -d --rootfs {root} box -- sleep 100 >/dev/null 2>&1
        mount -t tmpfs none {root}/mnt/late; touch {root}/mnt/late/come
        {command} exec box ls /mnt /mnt/late; {command} delete --force box
        umount -R {root}/mnt
        """,
        propagation="shared",
    )
    assert said.split() == ["/mnt:", "late", "/mnt/late:"]


@pytest.mark.parametrize("rw", [False, True])
def test_what_can_be_written_in_memory_is_bounded(tmp_path: Path, rw: bool) -> None:
    command = f"{' '.join(map(str, pyrunc.PYRUNC))} --root {tmp_path}/state"
    probe = (
        'grep " - tmpfs " /proc/self/mountinfo | while read -r _ _ _ _ place _; do '
        'if [ -w "$place" ]; then echo $place $(stat -f -c "%b %S %c" "$place"); fi; done'
    )
    option = "--rw" if rw else ""
    said = _own_mounts(f"{command} run {option} --rootfs / box -- sh -c '{probe}'")
    ours = ("/dev", "/dev/shm", "/run", "/tmp", "/var/tmp")
    rows = [line.split() for line in said.splitlines() if line.split()[0] in ours]
    assert {row[0] for row in rows} == set(ours)
    for place, blocks, size, inodes in rows:
        assert int(blocks) * int(size) <= 64 << 20, place
        assert int(inodes) <= 16384, place


def test_exec_finds_what_it_was_started_with(runtime: Runtime, root: Path) -> None:
    words = ("run", "-d", "-e", "A=b", "--rootfs", root, "box", "--", "sleep", "1000")
    runtime.good(*words, **pyrunc.NO_STREAMS)
    assert runtime.good("exec", "box", "sh", "-c", "echo $A") == "b\n"
    assert runtime.state("box")["bundle"] == f"{runtime.root}/box"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--user", "root"], "UID[:GID]"),
        (["--volume", "/a"], "SOURCE:/DESTINATION"),
        (["--volume", "/a:b"], "SOURCE:/DESTINATION"),
        (["--volume", "/a:/b:x"], "SOURCE:/DESTINATION"),
        (["--network", "bridge"], "none or host"),
        (["--volume", "/etc:/nonexistent"], "does not exist"),
    ],
)
def test_what_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(ContainerError) as caught:
        without_bundle.spec_of(_options("--rootfs", "/", *words), "x", [])
    assert said in str(caught.value)


def test_a_command_needs_a_rootfs_and_a_rootfs_no_bundle(runtime: Runtime) -> None:
    done = runtime("run", "box", "--", "ls")
    assert "requires exactly 1 argument" in done.stderr
    assert done.returncode == 1
    assert "--bundle" in runtime("run", "--rootfs", "/", "-b", "/", "box").stderr


def test_without_root_it_is_rootless(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(without_bundle.os, "geteuid", lambda: 1000)  # type: ignore[attr-defined]
    spec = without_bundle.spec_of(_options("--rootfs", "/some", "--network", "none"), "x", ["ls"])
    kinds = [namespace["type"] for namespace in spec["linux"]["namespaces"]]
    assert {"user", "network"} <= set(kinds)
    assert json.dumps(spec)
    assert spec["linux"]["uidMappings"][0]["hostID"] == 1000


@pytest.fixture
def alone_in_tmp() -> Iterator[Any]:
    """Other test workers of root's have the same /tmp."""
    folder = os.open("/tmp", os.O_RDONLY | os.O_DIRECTORY)
    fcntl.flock(folder, fcntl.LOCK_EX)
    yield
    os.close(folder)


@pytest.fixture
def users_root(alone_in_tmp: None) -> Iterator[Any]:
    """A root that is an ordinary user's; in the end his folder of state is gone, too."""
    folder = Path(tempfile.mkdtemp(prefix="pyrunc-test-"))
    root = pyrunc.make_root(folder / "root")
    for path in (folder, root, root / "bin"):
        shutil.chown(path, rootless.UID)
    yield root
    shutil.rmtree(folder)
    state = Path(f"/tmp/pyrunc-{rootless.UID}")
    assert stat.S_IMODE(state.stat().st_mode) == 0o1700
    state.rmdir()


def test_an_ordinary_user_runs_one(users_root: Path) -> None:
    script = "id -u; cat /proc/self/uid_map; echo x 2>/dev/null > /file || echo ro; exit 6"
    words = [*pyrunc.PYRUNC, "run", "--rootfs", users_root, "box", "--", "sh", "-c", script]
    done = rootless.as_user(words)
    assert done.returncode == 6, done.stderr
    assert done.stdout.split() == ["0", "0", str(rootless.UID), "1", "ro"]


def test_an_ordinary_user_runs_one_in_the_hosts_root(users_root: Path) -> None:
    script = "id -u; touch /tmp/x /etc/x; ls /tmp"
    words = [*pyrunc.PYRUNC, "run", "--rootfs", "/", "box", "--", "sh", "-c", script]
    done = rootless.as_user(words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["0", "x"]
    assert "Read-only file system" in done.stderr


IN_A_USER_NAMESPACE = ("unshare", "--user", "--map-root-user", "--mount")


def test_the_root_of_a_user_namespace_without_the_group_of_terminals_runs_one(root: Path) -> None:
    words = [*IN_A_USER_NAMESPACE, *pyrunc.PYRUNC, "--root", root.parent / "inner", "run"]
    done = subprocess.run(
        [*words, "--rootfs", root, "box", "--", "id", "-u"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=pyrunc.TIMEOUT,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "0\n"), done.stderr


@pytest.mark.parametrize("option", ["gid=5", "uid=77"])
def test_an_owner_that_is_not_mapped_is_named(tmp_path: Path, option: str) -> None:
    """The kernel says no more than EINVAL of some file systems."""

    def change(spec: dict[str, Any]) -> None:
        spec["mounts"] = [m for m in spec["mounts"] if m["destination"] != "/dev/pts"]
        there = {"destination": "/dev/pts", "type": "devpts", "source": "devpts"}
        spec["mounts"].append({**there, "options": ["newinstance", option]})

    bundle = pyrunc.make_bundle(tmp_path / "bundle", change=change)
    words = [*IN_A_USER_NAMESPACE, *pyrunc.PYRUNC, "--root", tmp_path / "inner", "run"]
    done = subprocess.run(
        [*words, "-b", bundle, "box"],
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=pyrunc.TIMEOUT,
    )  # fmt: skip
    assert done.returncode == 1
    assert f"({option} is not mapped in this user namespace: map it, or" in done.stderr
