"""Mounts that the command makes for its init, and what of the host's own stays with them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from pyrunc import Runtime, make_bundle

runtime = pytest.fixture(pyrunc.runtimes)

MAPS = [{"containerID": 0, "hostID": 100_000, "size": 65_536}]


def bind(source: Path, *options: str, **more: Any) -> dict[str, Any]:
    return {"destination": "/mnt", "source": str(source), "options": ["bind", *options], **more}


def in_userns(spec: dict[str, Any]) -> None:
    spec["linux"]["namespaces"].append({"type": "user"})
    spec["linux"] |= {"uidMappings": MAPS, "gidMappings": MAPS}


def seen(
    runtime: Runtime, folder: Path, *mounts: dict[str, Any], userns: bool, host: str = "true"
) -> subprocess.CompletedProcess[str]:
    """/mnt as a container has it: its owner and its flags.

    Args:
        host: what is done before, in a mount namespace of the runtime's own.
    """

    def change(spec: dict[str, Any]) -> None:
        spec["mounts"] += mounts
        if userns:
            in_userns(spec)

    for above in (folder, *folder.parents):
        above.chmod(above.stat().st_mode | 0o011)
    script = "stat -c %u:%g /mnt/file; grep ' /mnt ' /proc/self/mountinfo | cut -d ' ' -f 6"
    bundle = make_bundle(folder / "bundle", ["busybox", "sh", "-c", script], change=change)
    if userns:
        os.chown(bundle / "rootfs", 100_000, 100_000)
    words = [*runtime.argv, "run", "-b", str(bundle), "box"]
    inner = f'{host}; exec "$@"'
    return subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-ec", inner, "-", *words],
        capture_output=True, text=True, timeout=pyrunc.TIMEOUT, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("by", "userns"), [("mappings", False), ("mappings", True), ("idmap", True)]
)
def test_an_id_mapped_mount(runtime: Runtime, tmp_path: Path, by: str, userns: bool) -> None:
    source = tmp_path / "source"
    source.mkdir()
    # Not every file system can be mapped, as an overlay in a container.
    host = f"mount -t tmpfs none {source}; touch {source}/file"
    more = {"uidMappings": MAPS, "gidMappings": MAPS} if by == "mappings" else {}
    mount = bind(source, *(["idmap"] if by == "idmap" else []), **more)
    done = seen(runtime, tmp_path, mount, userns=userns, host=host)
    owner = "0:0" if userns else "100000:100000"
    assert (done.returncode, done.stdout.splitlines()[:1]) == (0, [owner]), done.stderr


@pytest.mark.parametrize("userns", [False, True])
def test_a_source_that_comes_with_an_earlier_mount(
    runtime: Runtime, tmp_path: Path, userns: bool
) -> None:
    (tmp_path / "source" / "inner").mkdir(parents=True)
    (tmp_path / "source" / "inner" / "file").touch()
    earlier = bind(tmp_path / "source") | {"destination": "/earlier"}
    mount = bind(tmp_path / "bundle" / "rootfs" / "earlier" / "inner")
    done = seen(runtime, tmp_path, earlier, mount, userns=userns)
    assert done.stdout.splitlines()[:1] == ["65534:65534" if userns else "0:0"], done.stderr


@pytest.mark.parametrize("userns", [False, True])
def test_a_source_that_is_nowhere_is_named(runtime: Runtime, tmp_path: Path, userns: bool) -> None:
    done = seen(runtime, tmp_path, bind(tmp_path / "nowhere"), userns=userns)
    assert done.returncode == 1
    assert "nowhere to /mnt" in done.stderr and "the source does not exist" in done.stderr


LOCKED = "a locked flag"


@pytest.mark.parametrize(
    ("has", "options", "flags"),
    [
        ("ro", ["nosuid", "nodev"], {"ro", "nosuid", "nodev"}),
        ("ro", ["rw"], LOCKED),
        ("nodev,nosuid,noexec,noatime", ["ro"], {"ro", "nodev", "nosuid", "noexec", "noatime"}),
        ("nodev,nosuid,noatime", ["dev", "suid", "exec"], LOCKED),
        ("noatime", ["strictatime"], LOCKED),
        ("noatime", ["relatime"], LOCKED),
        ("strictatime", ["noatime"], LOCKED),
        ("nodiratime", ["noatime"], LOCKED),
        ("noatime", ["noatime", "noexec"], {"noatime", "noexec"}),
        ("noatime", ["atime"], {"noatime"}),
        ("nosuid", [], {"nosuid"}),
        ("rw", ["ro"], {"ro"}),
    ],
)
def test_what_the_host_has_set_the_root_of_a_user_namespace_cannot_clear(
    runtime: Runtime, tmp_path: Path, has: str, options: list[str], flags: set[str] | str
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    host = (
        f"mount -t tmpfs none {source}; touch {source}/file; mount -o remount,bind,{has} {source}"
    )
    done = seen(runtime, tmp_path, bind(source, *options), userns=True, host=host)
    if flags is LOCKED:
        assert done.returncode == 1
        assert "flags of the source are locked by its user namespace" in done.stderr
        return
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()[1].split(",")) - {"rw", "relatime"} == flags


def test_without_a_user_namespace_they_are_what_is_asked_for(
    runtime: Runtime, tmp_path: Path
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    host = f"mount -t tmpfs none {source}; touch {source}/file; mount -o remount,bind,ro {source}"
    done = seen(runtime, tmp_path, bind(source, "rw", "nodev"), userns=False, host=host)
    assert done.stdout.split()[1].split(",")[:2] == ["rw", "nodev"]


@pytest.mark.parametrize(
    ("asked", "is_slave"), [("slave", True), ("rslave", True), ("private", False)]
)
def test_a_root_that_is_a_slave_hears_of_the_hosts_mounts(
    runtime: Runtime, tmp_path: Path, asked: str, is_slave: bool
) -> None:
    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["rootfsPropagation"] = asked

    script = "grep ' / / ' /proc/self/mountinfo || grep ' / rw\\| / ro' /proc/self/mountinfo"
    bundle = make_bundle(tmp_path / "bundle", ["busybox", "sh", "-c", script], change=change)
    words = [*runtime.argv, "run", "-b", str(bundle), "box"]
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "shared", *words],
        capture_output=True, text=True, timeout=pyrunc.TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ("master:" in done.stdout) is is_slave, done.stdout
    assert "shared:" not in done.stdout


def test_an_init_that_ends_before_it_hears_of_them_says_why(
    runtime: Runtime, tmp_path: Path
) -> None:
    """What its parent sends it then, it never reads."""

    def change(spec: dict[str, Any]) -> None:
        in_userns(spec)

    bundle = make_bundle(tmp_path / "bundle", change=change)
    for above in (bundle / "rootfs", *bundle.parents):
        above.chmod(above.stat().st_mode | 0o011)
    for _ in range(20):
        done = runtime("run", "-b", bundle, "box")
        assert done.returncode == 1
        assert "make the mount point /proc: Permission denied" in done.stderr
