"""Mounts that the command makes for its init arrive there; the host's own mounts do not change."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import pyrunc
from pyrunc import Runtime, make_bundle, open_the_way
from sweeps import every

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

    open_the_way(folder)
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
    assert (
        'nowhere\\" to rootfs at \\"/mnt' in done.stderr
        and "the source does not exist" in done.stderr
    )


LOCKED = "a locked flag"


@pytest.mark.parametrize(
    ("has", "options", "flags"),
    every(
        2,
        [
            ("ro", ["rw"], LOCKED),
            ("ro", ["nosuid", "nodev"], {"ro", "nosuid", "nodev"}),
            ("nodev,nosuid,noatime", ["dev", "suid", "exec"], LOCKED),
            ("nodev,nosuid,noexec,noatime", ["ro"], {"ro", "nodev", "nosuid", "noexec", "noatime"}),
            ("noatime", ["strictatime"], LOCKED),
            ("noatime", ["relatime"], LOCKED),
            ("strictatime", ["noatime"], LOCKED),
            ("nodiratime", ["noatime"], LOCKED),
            ("noatime", ["noatime", "noexec"], {"noatime", "noexec"}),
            ("noatime", ["atime"], {"noatime"}),
            ("nosuid", [], {"nosuid"}),
            ("rw", ["ro"], {"ro"}),
        ],
    ),
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
    if asked == "slave":
        # It is said of "/" alone: a mount below it that the root is on is made private.
        is_slave = Path("/").stat().st_dev == tmp_path.stat().st_dev
    assert ("master:" in done.stdout) is is_slave, done.stdout
    assert "shared:" not in done.stdout


def test_an_init_that_ends_before_it_hears_of_them_says_why(
    runtime: Runtime, tmp_path: Path
) -> None:
    """What its parent sends it then, it never reads."""

    def change(spec: dict[str, Any]) -> None:
        in_userns(spec)

    bundle = make_bundle(tmp_path / "bundle", change=change)
    open_the_way(bundle / "rootfs")
    for _ in range(20):
        done = runtime("run", "-b", bundle, "box")
        assert done.returncode == 1
        assert "make the mount point /proc: permission denied" in done.stderr


# ---- sources that are in the container's own root


@pytest.mark.parametrize("exists", [False, True])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("userns", [False, True])
def test_a_source_that_an_earlier_mount_makes_or_covers(
    runtime: Runtime, tmp_path: Path, userns: bool, mapped: bool, exists: bool
) -> None:
    """Every way of binding it: by the init, id-mapped, in a user namespace, and all of these."""
    rootfs, source = tmp_path / "bundle" / "rootfs", tmp_path / "source"
    (source / "inner").mkdir(parents=True)
    host = f"mount -t tmpfs none {source}; mkdir {source}/inner; touch {source}/inner/file"
    if exists:
        host += f"; mkdir -p {rootfs}/earlier/inner"
    more = {"uidMappings": MAPS, "gidMappings": MAPS} if mapped else {}
    done = seen(
        runtime,
        tmp_path,
        bind(source) | {"destination": "/earlier"},
        bind(rootfs / "earlier" / "inner", **more),
        userns=userns,
        host=host,
    )
    owner = {(False, False): 0, (False, True): 100_000, (True, False): 65_534, (True, True): 0}
    expected = owner[userns, mapped]
    assert done.stdout.splitlines()[:1] == [f"{expected}:{expected}"], done.stderr


@pytest.mark.parametrize("place", ["nowhere", "bundle/rootfs/nowhere"])
def test_an_id_mapped_source_that_nothing_makes_is_named(
    runtime: Runtime, tmp_path: Path, place: str
) -> None:
    mount = bind(tmp_path / place, uidMappings=MAPS, gidMappings=MAPS)
    done = seen(runtime, tmp_path, mount, userns=False)
    assert done.returncode == 1
    assert 'nowhere\\" to rootfs at \\"/mnt' in done.stderr
    assert "the source does not exist" in done.stderr


@pytest.mark.parametrize(
    ("destination", "expected"),
    [
        ("{rootfs}/mnt/x", "/mnt/x"),
        ("/{rootfs}//mnt/./x/", "/mnt/x"),
        ("{rootfs}/../rootfs/mnt/x", "/mnt/x"),
        ("{rootfs}-not/mnt/x", "{rootfs}-not/mnt/x"),
    ],
)
def test_a_destination_may_begin_with_the_roots_own_path(
    runtime: Runtime, tmp_path: Path, destination: str, expected: str
) -> None:
    rootfs = str(tmp_path / "bundle" / "rootfs")

    def change(spec: dict[str, Any]) -> None:
        spec["root"]["readonly"] = False
        where = destination.format(rootfs=rootfs)
        spec["mounts"].append({"destination": where, "type": "tmpfs", "source": "found"})

    script = "grep ' found ' /proc/self/mountinfo"
    bundle = make_bundle(tmp_path / "bundle", ["sh", "-c", script], change=change)
    line = runtime.good("run", "-b", bundle, "box")
    assert line.split()[4] == expected.format(rootfs=rootfs)


# ---- flags and propagation


def mounts_of(
    runtime: Runtime, folder: Path, change: Any, host: str = "true"
) -> dict[str, list[str]]:
    """The lines of mountinfo that are of the root or below /mnt or /etc, by their place."""
    script = "cat /proc/self/mountinfo"
    bundle = make_bundle(folder / "bundle", ["sh", "-c", script], change=change)
    words = [*runtime.argv, "run", "-b", str(bundle), "box"]
    inner = f'set -e; {host}; exec "$@"'
    done = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", inner, "-", *words],
        capture_output=True, text=True, timeout=pyrunc.TIMEOUT, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, list[str]] = {}
    for line in done.stdout.splitlines():
        fields = line.split(" - ")[0].split()
        found.setdefault(fields[4], []).append(" ".join(fields[5:]))
    return found


@pytest.mark.parametrize(
    ("has", "options", "flags"),
    every(
        2,
        [
            ("ro,noexec", ["dev"], "rw,relatime"),
            ("ro,nosuid", ["rw"], "rw,relatime"),
            ("ro,nodev", ["exec", "suid"], "rw,relatime"),
            ("ro,noexec", ["async"], "rw,relatime"),
            ("ro,nosuid", [], "ro,nosuid,relatime"),
            ("ro,nosuid", ["private"], "ro,nosuid,relatime"),
            ("noatime", ["atime"], "rw,noatime"),
            ("ro,noatime", ["atime"], "rw,noatime"),
            ("nodiratime", ["diratime"], "rw,nodiratime,relatime"),
            ("noatime", ["ro"], "ro,noatime"),
            ("noatime", ["relatime"], "rw,relatime"),
        ],
    ),
)
def test_the_flags_of_a_bind_are_those_of_a_remount(
    runtime: Runtime, tmp_path: Path, has: str, options: list[str], flags: str
) -> None:
    """As runc has them from 1.2 on, and crun."""
    source = tmp_path / "source"
    source.mkdir()
    host = f"mount -t tmpfs none {source}; mount -o remount,bind,{has} {source}"
    mount = bind(source, *options)
    found = mounts_of(runtime, tmp_path, lambda spec: spec["mounts"].append(mount), host)
    assert found["/mnt"][0].split()[0] == flags


@pytest.mark.parametrize(
    "of_root",
    [
        *("rprivate", "rslave", "rshared"),
        *(pytest.param(word, marks=pytest.mark.sweep) for word in ("private", "slave", "shared")),
    ],
)
@pytest.mark.parametrize(
    ("own", "expected"),
    [("shared", "shared"), ("private", ""), ("rslave", "master"), ("unbindable", "unbindable")],
)
def test_the_roots_propagation_leaves_that_of_a_mount(
    runtime: Runtime, tmp_path: Path, of_root: str, own: str, expected: str
) -> None:
    source = tmp_path / "source"
    source.mkdir()

    def change(spec: dict[str, Any]) -> None:
        spec["linux"]["rootfsPropagation"] = of_root
        spec["mounts"].append(bind(source, own))

    host = f"mount -t tmpfs none {source}; mount --make-shared {source}"
    found = mounts_of(runtime, tmp_path, change, host)
    words = {word.partition(":")[0] for word in found["/mnt"][0].split()[1:]}
    # One that is no longer shared with anybody has no master either.
    assert words - {"master", "propagate_from"} == {expected} - {"", "master"}
    if of_root not in ("rprivate",) and expected == "master":
        assert "master" in words
    root = {word.partition(":")[0] for word in found["/"][0].split()[1:]}
    assert ("shared" in root) == of_root.endswith("shared")


@pytest.mark.parametrize("field", ["maskedPaths", "readonlyPaths"])
@pytest.mark.parametrize("of_root", ["rprivate", "rslave", "shared", "rshared", "unbindable"])
def test_a_path_that_is_named_twice_is_covered_as_often_and_no_more(
    runtime: Runtime, tmp_path: Path, of_root: str, field: str
) -> None:
    names = ["/etc/file", "/etc/one", "/etc/two"]

    def change(spec: dict[str, Any]) -> None:
        rootfs = tmp_path / "bundle" / "rootfs"
        for name in names[1:]:
            (rootfs / name[1:]).mkdir(parents=True)
        (rootfs / "etc" / "file").touch()
        spec["linux"]["rootfsPropagation"] = of_root
        spec["linux"][field] = [*names, *names, "//etc/one/"]

    found = mounts_of(runtime, tmp_path, change)
    assert {name: len(found[name]) for name in names} == dict(zip(names, (2, 3, 2), strict=True))


@pytest.mark.parametrize(
    ("path", "made"),
    [("/dev/fuse/", "fuse"), ("/dev//fuse//", "fuse"), ("/dev/./a/../fuse", "fuse")],
)
def test_a_devices_path_may_be_spelt_in_any_way(
    runtime: Runtime, tmp_path: Path, path: str, made: str
) -> None:
    def change(spec: dict[str, Any]) -> None:
        device = {"path": path, "type": "c", "major": 10, "minor": 229}
        spec["linux"]["devices"] = [
            device,
            {**device, "path": "/dev/null/", "minor": 3, "major": 1},
        ]

    bundle = make_bundle(tmp_path / "bundle", ["busybox", "stat", "-c", "%n %t:%T",
        f"/dev/{made}", "/dev/null"], change=change)  # fmt: skip
    assert runtime.good("run", "-b", bundle, "box") == f"/dev/{made} a:e5\n/dev/null 1:3\n"
