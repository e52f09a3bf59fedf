# SPDX-License-Identifier: Apache-2.0
"""The root of a container has the mounts, the device files and the masked paths of its config."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import subprocess
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from needs import needs
from nsenter._host import syscalls
from rootfs_driver import MountLine, Root, RootError, own_hierarchies, parse

Spec = dict[str, Any]


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    busybox = needs("busybox", package="busybox-static")
    (tmp_path / "rootfs/bin").mkdir(parents=True)
    shutil.copy(busybox, tmp_path / "rootfs/bin/busybox")
    return tmp_path


@pytest.fixture
def spec(bundle: Path) -> Spec:
    """What runc's own `runc spec` says."""
    subprocess.run([needs("runc", package="runc"), "spec"], cwd=bundle, check=True)
    found: Spec = json.loads((bundle / "config.json").read_text())
    found["process"]["terminal"] = False
    return found


@pytest.fixture
def root(spec: Spec, bundle: Path) -> Root:
    return Root(spec, bundle)


@pytest.fixture
def bare(root: Root) -> Root:
    """A root with nothing but /proc and /dev."""
    root.spec["mounts"] = root.spec["mounts"][:2]
    root.spec["linux"] |= {"maskedPaths": [], "readonlyPaths": []}
    root.spec["root"]["readonly"] = False
    return root


def add(root: Root, destination: str, type: str, *options: str, source: object = "") -> None:
    root.spec["mounts"].append(
        {"destination": destination, "type": type, "source": str(source), "options": list(options)}
    )


def at(point: str, mounts: list[MountLine]) -> MountLine:
    """The topmost mount of a place."""
    return next(mount for mount in reversed(mounts) if mount.point == point)


# ---- beside runc


def by_runc(spec: Spec, bundle: Path) -> list[MountLine]:
    spec["process"]["args"] = ["/bin/busybox", "cat", "/proc/self/mountinfo"]
    (bundle / "config.json").write_text(json.dumps(spec))
    command = [needs("runc", package="runc"), "run", f"rootfs-{uuid.uuid4().hex}"]
    run = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=True)
    return parse(run.stdout)


def _said(mounts: list[MountLine]) -> dict[str, tuple[object, ...]]:
    return {
        # A cgroup's root is the container's own, which has another name here.
        m.point: (m.type, m.source, m.flags, m.options, "" if m.type == "cgroup" else m.root)
        for m in mounts
    }


def test_mounts_are_those_that_runc_makes(root: Root, tmp_path: Path) -> None:
    (tmp_path / "rootfs/there").mkdir(mode=0o700)
    add(root, "/late", "tmpfs", "ro", "nosuid", source="tmpfs")
    add(root, "/there", "tmpfs", "size=64k", source="tmpfs")
    add(root, "/name", "bind", "bind", "ro", "noatime", source="/etc/hostname")
    add(root, "/folder", "bind", "rbind", "rprivate", "nosuid", "noexec", source="/etc")
    add(root, "/strict", "tmpfs", "strictatime", "nodiratime", "mode=711", source="x")
    ours, theirs = _said(root.mountinfo()), _said(by_runc(root.spec, tmp_path))
    # runc 1.1 forgets that the mount of cgroups was to be read-only, and a folder's mask of it
    # has room for files, should somebody make it writable.
    different = {"/sys/fs/cgroup", "/proc/acpi", "/sys/firmware"}
    assert ours.keys() == theirs.keys()
    assert {p: m for p, m in ours.items() if p not in different} == {
        p: m for p, m in theirs.items() if p not in different
    }


def test_what_differs_from_runc_is_stricter(root: Root) -> None:
    mounts = root.mountinfo()
    assert "ro" in at("/sys/fs/cgroup", mounts).flags
    assert at("/sys/firmware", mounts).options >= {"ro", "nr_inodes=1"}


# ---- new file systems


def test_a_tmpfs_has_the_mode_of_what_it_covers_unless_told(bare: Root, bundle: Path) -> None:
    (bundle / "rootfs/there").mkdir(mode=0o710)
    (bundle / "rootfs/told").mkdir(mode=0o710)
    add(bare, "/there", "tmpfs", source="tmpfs")
    add(bare, "/told", "tmpfs", "mode=701", source="tmpfs")
    add(bare, "/fresh", "tmpfs", source="tmpfs")
    modes = bare.look("result = [os.stat(p).st_mode & 0o7777 for p in ('/there','/told','/fresh')]")
    assert modes == [0o710, 0o701, 0o1777]


def test_a_read_only_tmpfs_is_filled_first(bare: Root) -> None:
    add(bare, "/late", "tmpfs", "ro", source="tmpfs")
    add(bare, "/late/inner", "tmpfs", source="tmpfs")
    bare.spec["mounts"][1]["options"].append("ro")
    mounts = bare.mountinfo()
    assert "ro" in at("/late", mounts).flags
    assert "rw" in at("/late/inner", mounts).flags
    assert "ro" in at("/dev", mounts).flags


def test_tmpcopyup_copies_all_kinds_without_following(bare: Root, bundle: Path) -> None:
    folder = bundle / "rootfs/data"
    (folder / "inner").mkdir(parents=True, mode=0o750)
    (folder / "inner/file").write_text("x" * 100_000)
    (folder / "link").symlink_to("/etc/shadow")
    (folder / "up").symlink_to("../../../..")
    os.mkfifo(folder / "fifo", 0o600)
    (folder / "suid").write_text("")
    os.chown(folder / "suid", 12, 34)
    (folder / "suid").chmod(0o4711)
    add(bare, "/data", "tmpfs", "tmpcopyup", source="tmpfs")
    found = bare.look(
        "import stat\n"
        "def told(p):\n"
        "    s = os.lstat(p)\n"
        "    return [oct(s.st_mode), s.st_uid, s.st_gid]\n"
        "result = {n: told('/data/' + n) for n in ('inner', 'inner/file', 'fifo', 'suid')}\n"
        "result['links'] = [os.readlink('/data/link'), os.readlink('/data/up')]\n"
        "result['size'] = os.stat('/data/inner/file').st_size\n"
    )
    for name in ("inner", "inner/file", "fifo", "suid"):
        status = (folder / name).lstat()
        assert found[name] == [oct(status.st_mode), status.st_uid, status.st_gid]
    assert found["links"] == ["/etc/shadow", "../../../.."]
    assert found["size"] == 100_000


def test_an_overlay_may_have_more_layers_than_an_option_of_fsconfig_holds(
    bare: Root, bundle: Path
) -> None:
    layers = []
    for i in range(12):
        layer = bundle / f"layer-{'long' * 10}-{i}"
        layer.mkdir()
        (layer / f"file{i}").write_text("")
        layers.append(str(layer))
    add(bare, "/merged", "overlay", "rprivate", f"lowerdir={':'.join(layers)}", source="overlay")
    found = bare.look("result = sorted(os.listdir('/merged'))")
    assert found == sorted(f"file{i}" for i in range(12))
    assert at("/merged", bare.mountinfo()).type == "overlay"


def test_an_overlay_may_have_more_layers_than_a_page_holds(bare: Root, bundle: Path) -> None:
    layers = []
    for i in range(60):
        layer = bundle / f"layer-{'long' * 10}-{i}"
        layer.mkdir()
        (layer / f"file{i}").write_text("")
        layers.append(str(layer))
    add(bare, "/merged", "overlay", f"lowerdir={':'.join(layers)}", source="overlay")
    assert len(bare.look("result = os.listdir('/merged')")) == 60


def test_what_a_file_system_says_is_in_the_error(bare: Root) -> None:
    add(bare, "/t", "tmpfs", "size=much", source="tmpfs")
    with pytest.raises(RootError, match=r'mounting "tmpfs" to rootfs at "/t": .*size') as caught:
        bare.mountinfo()
    assert caught.value.errno == errno.EINVAL


def test_an_unknown_file_system_is_named(bare: Root) -> None:
    add(bare, "/t", "nosuchfs", source="x")
    with pytest.raises(RootError, match=r'mounting "x" to rootfs at "/t": .*no file system'):
        bare.mountinfo()


def test_a_remount_changes_what_is_there(bare: Root) -> None:
    add(bare, "/t", "tmpfs", "size=64k", source="tmpfs")
    add(bare, "/t", "tmpfs", "remount", "noexec", "size=128k", source="tmpfs")
    mounts = bare.mountinfo()
    assert [m.point for m in mounts].count("/t") == 1
    assert "noexec" in at("/t", mounts).flags and "size=128k" in at("/t", mounts).options


# ---- binds

_TMPFS = """
os.mkdir({path!r})
system.mount("tmpfs", {path!r}, "tmpfs", {flags})
os.mkdir({path!r} + "/inner")
system.mount("tmpfs", {path!r} + "/inner", "tmpfs", 0)
"""


def test_a_bind_has_the_flags_it_is_given_and_no_others(bare: Root, tmp_path: Path) -> None:
    source = str(tmp_path / "source")
    bare.before = _TMPFS.format(path=source, flags=syscalls.MS_NOSUID | syscalls.MS_NODIRATIME)
    add(bare, "/ro", "bind", "bind", "ro", source=source)
    add(bare, "/as", "bind", "rbind", source=source)
    add(bare, "/suid", "bind", "bind", "suid", "diratime", source=source)
    add(bare, "/atime", "bind", "bind", "atime", source=source)
    add(bare, "/noatime", "bind", "bind", "noatime", source=source)
    mounts = bare.mountinfo()
    assert at("/ro", mounts).flags == {"ro", "relatime", "nodiratime"}
    assert at("/as", mounts).flags == {"rw", "relatime", "nosuid", "nodiratime"}
    assert at("/suid", mounts).flags == {"rw", "relatime", "nodiratime"}
    assert at("/atime", mounts).flags == {"rw", "relatime", "nodiratime"}
    assert at("/noatime", mounts).flags == {"rw", "noatime"}
    assert any(m.point == "/as/inner" for m in mounts)
    assert not any(m.point == "/ro/inner" for m in mounts)


def test_recursive_flags_reach_what_is_mounted_below(bare: Root, tmp_path: Path) -> None:
    source = str(tmp_path / "source")
    bare.before = _TMPFS.format(path=source, flags=syscalls.MS_NOATIME)
    add(bare, "/rro", "bind", "rbind", "rro", "rnosuid", source=source)
    add(bare, "/ratime", "bind", "rbind", "ratime", source=source)
    mounts = bare.mountinfo()
    for point in ("/rro", "/rro/inner"):
        assert at(point, mounts).flags >= {"ro", "nosuid"}
    assert "noatime" not in at("/ratime", mounts).flags


def test_propagation_is_what_is_asked(bare: Root, tmp_path: Path) -> None:
    add(bare, "/shared", "bind", "bind", "rshared", source=tmp_path)
    add(bare, "/both", "bind", "bind", "shared", "slave", "shared", source=tmp_path)
    add(bare, "/closed", "bind", "bind", "unbindable", source=tmp_path)
    mounts = bare.mountinfo()
    assert at("/shared", mounts).propagation.startswith("shared:")
    assert "shared:" in at("/both", mounts).propagation
    assert at("/closed", mounts).propagation == "unbindable"


def test_a_file_is_bound_on_a_file_that_is_made(bare: Root, bundle: Path) -> None:
    add(bare, "/a/b/name", "bind", "bind", source="/etc/hostname")
    assert bare.look("result = open('/a/b/name').read()") == Path("/etc/hostname").read_text()
    assert (bundle / "rootfs/a/b/name").is_file()


def test_a_missing_source_is_named(bare: Root) -> None:
    add(bare, "/x", "bind", "bind", source="/no/such/thing")
    with pytest.raises(
        RootError, match=r'mounting "/no/such/thing" to rootfs at "/x": .*source does not exist'
    ):
        bare.mountinfo()


def test_a_tree_of_the_parents_is_used(bare: Root, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/from-parent").write_text("")
    add(bare, "/x", "bind", "bind", "ro", source="/not/reachable")
    bare.before = f"mount_fds = {{2: system.open_tree(-100, {str(tmp_path / 'tree')!r}, 1)}}"
    names, flags = bare.look("result = os.listdir('/x'), os.statvfs('/x').f_flag")
    assert names == ["from-parent"] and flags & os.ST_RDONLY


# ---- a user namespace


@pytest.fixture
def user(bare: Root) -> Root:
    bare.user = True
    return bare


def test_in_a_user_namespace_the_nodes_of_the_host_are_bound(user: Root) -> None:
    mounts = user.mountinfo()
    assert at("/dev/null", mounts).root == "/null"
    text = "open('/dev/null', 'w').write('x'); result = os.stat('/dev/zero').st_rdev"
    assert user.look(text) == os.makedev(1, 5)


# Mounts that came along into a user namespace: their flags are locked.
_LOCK = """
system.unshare(0x10020000)
for name, text in ("setgroups", "deny"), ("uid_map", "0 0 1"), ("gid_map", "0 0 1"):
    with open("/proc/self/" + name, "w") as file:
        file.write(text)
"""


@pytest.fixture
def locked(bare: Root, tmp_path: Path) -> Root:
    flags = syscalls.MS_NOSUID | syscalls.MS_NODEV | syscalls.MS_NOEXEC | syscalls.MS_NOATIME
    bare.before = _TMPFS.format(path=str(tmp_path / "source"), flags=flags) + _LOCK
    bare.init_config = {"in_userns": True}
    bare.spec["mounts"].pop(0)  # of a pid namespace that is not this user namespace's
    return bare


def test_a_locked_flag_is_kept_where_nobody_asks_for_its_end(locked: Root, tmp_path: Path) -> None:
    add(locked, "/x", "bind", "rbind", "ro", source=tmp_path / "source")
    flags = os.ST_RDONLY | os.ST_NOSUID | os.ST_NODEV | os.ST_NOEXEC | os.ST_NOATIME
    assert locked.look("result = os.statvfs('/x').f_flag") & flags == flags


@pytest.mark.parametrize("option", ["suid", "relatime"])
def test_a_locked_flag_that_is_to_go_is_an_error(locked: Root, tmp_path: Path, option: str) -> None:
    add(locked, "/x", "bind", "rbind", "ro", option, source=tmp_path / "source")
    with pytest.raises(RootError, match=r'source" to rootfs at "/x": .*locked') as caught:
        locked.look("")
    assert caught.value.errno == errno.EPERM


def test_a_locked_part_is_not_bound_alone(locked: Root, tmp_path: Path) -> None:
    add(locked, "/x", "bind", "bind", source=tmp_path / "source")
    with pytest.raises(RootError, match=r"use rbind"):
        locked.look("")


def test_sysfs_without_a_network_namespace_says_what_it_takes(user: Root) -> None:
    user.net = False
    add(user, "/sys", "sysfs", source="sysfs")
    with pytest.raises(
        RootError, match=r'mounting "sysfs" to rootfs at "/sys": .*network namespace of its own'
    ):
        user.mountinfo()


def test_cgroup2_that_may_not_be_mounted_is_the_hosts_bound(user: Root) -> None:
    add(user, "/cgroup", "cgroup2", "ro", source="cgroup")
    # The machine's other hierarchies are mounted below it, locked together with it.
    with pytest.raises(
        RootError, match=r'mounting "/sys/fs/cgroup" to rootfs at "/cgroup": .*rbind'
    ):
        user.mountinfo()


def test_cgroup2_that_may_not_be_mounted_is_the_containers_own_bound(
    user: Root, tmp_path: Path
) -> None:
    user.init_config = {
        "new_namespaces": ["NEWNS", "NEWCGROUP"],
        "cgroup_paths": {"": str(tmp_path)},
    }
    add(user, "/cgroup", "cgroup2", "ro", source="cgroup")
    mount = at("/cgroup", user.mountinfo())
    assert mount.root.endswith(tmp_path.name) and "ro" in mount.flags
    user.init_config["cgroup_paths"] = {"": "/no/such/cgroup"}
    user.config = {"rootless_cgroups": True}
    assert at("/cgroup", user.mountinfo()).type == "tmpfs"


# ---- cgroups


def test_each_hierarchy_is_mounted_and_found_by_each_controller(bare: Root) -> None:
    name, controllers, path = own_hierarchies()[0]
    bare.init_config = {"cgroup_mounts": [(name, [*controllers, "other"], path)]}
    add(bare, "/cgroup", "cgroup", "ro", source="cgroup")
    mounts = bare.mountinfo()
    assert at(f"/cgroup/{name}", mounts).flags >= {"ro"}
    assert bare.look("result = os.readlink('/cgroup/other')") == name


def test_with_a_cgroup_namespace_the_hierarchies_are_mounted_themselves(bare: Root) -> None:
    bare.cgroup = True
    add(bare, "/cgroup", "cgroup", "ro", "nosuid", source="cgroup")
    mounts = bare.mountinfo()
    for name, _, _ in own_hierarchies():
        assert (at(f"/cgroup/{name}", mounts).type, at(f"/cgroup/{name}", mounts).root) == (
            "cgroup",
            "/",
        )


def test_cgroup2_is_that_alone(bare: Root) -> None:
    add(bare, "/cgroup", "cgroup2", "ro", source="cgroup")
    assert [m.type for m in bare.mountinfo() if m.point.startswith("/cgroup")] == ["cgroup2"]


def _v2_of_the_host() -> MountLine:
    """The mount of the whole cgroup v2."""
    mounts = parse(Path("/proc/self/mountinfo").read_text())
    return next(mount for mount in mounts if (mount.type, mount.root) == ("cgroup2", "/"))


def _as_in_the_initial_namespace(root: Root, before: str = "") -> None:
    """Have it take the cgroup namespace of the tests for the initial one: a worker has its own."""
    namespace = Path("/proc/self/ns/cgroup").stat().st_ino
    top = Path(_v2_of_the_host().point).stat().st_ino
    root.before = (
        "from libcontainer.init.rootfs import cgroup_mounts\n"
        f"cgroup_mounts._INITIAL_NAMESPACE, cgroup_mounts._TOP = {namespace}, {top}\n{before}"
    )


# A new mount has the source that its configuration names; a bind has the source of the host's.
_NAMED = "named-by-the-configuration"
# The host's mount has other flags than the container's, and a master in another mount namespace.
_OTHER_MOUNT_ON_THE_HOST = """
flags = system.MS_NOEXEC | system.MS_NODIRATIME
system.mount("", {host!r}, "", system.MS_REMOUNT | system.MS_BIND | flags)
system.mount("", {host!r}, "", system.MS_SHARED)
if os.fork() == 0:  # it holds the namespace of the master, until the driver ends
    __import__("signal").pause()
system.unshare(0x20000)
"""


@pytest.mark.parametrize(
    ("options", "flags"),
    [
        ((), {"rw", "relatime"}),
        (("ro", "nosuid", "noexec", "nodev"), {"ro", "nosuid", "noexec", "nodev", "relatime"}),
        (("noatime", "nodiratime"), {"rw", "noatime", "nodiratime"}),
        (("strictatime",), {"rw"}),
    ],
)
def test_without_a_cgroup_namespace_the_cgroup2_of_the_host_is_bound(
    bare: Root, options: tuple[str, ...], flags: set[str]
) -> None:
    """It has the flags of a new mount, and what is mounted on the host later does not come in."""
    host = _v2_of_the_host()
    _as_in_the_initial_namespace(bare, _OTHER_MOUNT_ON_THE_HOST.format(host=host.point))
    add(bare, "/cgroup", "cgroup2", *options, source=_NAMED)
    mount = at("/cgroup", bare.mountinfo())
    assert (mount.type, mount.root, mount.source) == ("cgroup2", "/", host.source)
    assert (mount.flags, mount.propagation) == (flags, "")


def _without_the_hosts(bare: Root, host: str, part: str) -> None:
    bare.before += f"system.umount({host!r}, system.MNT_DETACH)"


def _with_a_part_of_the_hosts(bare: Root, host: str, part: str) -> None:
    bare.before += (
        f"system.mount({part!r}, '/mnt', '', system.MS_BIND)\n"
        f"system.umount({host!r}, system.MNT_DETACH)\n"
        f"system.mount('/mnt', {host!r}, '', system.MS_BIND)"
    )


def _with_a_namespace(bare: Root, host: str, part: str) -> None:
    bare.cgroup = True


def _with_a_flag_of_the_file_system(bare: Root, host: str, part: str) -> None:
    bare.spec["mounts"][-1]["options"].append("sync")


@pytest.mark.parametrize(
    "change",
    [
        _without_the_hosts,
        _with_a_part_of_the_hosts,
        _with_a_namespace,
        _with_a_flag_of_the_file_system,
    ],
)
def test_if_a_bind_would_show_something_else_cgroup2_is_mounted(
    bare: Root, change: Callable[[Root, str, str], None]
) -> None:
    host = _v2_of_the_host().point
    part = Path(host, f"part-{uuid.uuid4().hex}")
    add(bare, "/cgroup", "cgroup2", source=_NAMED)
    _as_in_the_initial_namespace(bare)
    part.mkdir()
    try:
        change(bare, host, str(part))
        mount = at("/cgroup", bare.mountinfo())
    finally:
        part.rmdir()
    assert (mount.type, mount.root, mount.source) == ("cgroup2", "/", _NAMED)


def test_options_of_cgroup2_are_its_file_systems(bare: Root) -> None:
    add(bare, "/cgroup", "cgroup2", "absent_option", source=_NAMED)
    with pytest.raises(RootError, match="absent_option"):
        bare.mountinfo()


# ---- /dev


def test_dev_has_its_nodes_and_links(bare: Root) -> None:
    found = bare.look(
        "result = {n: [oct(os.lstat('/dev/' + n).st_mode), os.lstat('/dev/' + n).st_rdev]"
        " for n in os.listdir('/dev')}\n"
        "result['ptmx'] = os.readlink('/dev/ptmx')\n"
        "result['fd'] = os.readlink('/dev/fd')\n"
    )
    for name, number in {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8)}.items():
        assert found[name] == [oct(stat.S_IFCHR | 0o666), os.makedev(*number)]
    assert found["ptmx"] == "pts/ptmx" and found["fd"] == "/proc/self/fd"
    assert {"stdin", "stdout", "stderr", "tty", "urandom"} <= found.keys()


def test_a_dev_that_is_bound_is_left_alone(bare: Root, tmp_path: Path) -> None:
    (tmp_path / "dev").mkdir()
    add(bare, "/dev", "bind", "bind", source=tmp_path / "dev")
    bare.spec["mounts"].pop(1)
    assert bare.look("result = os.listdir('/dev')") == []
    assert list((tmp_path / "dev").iterdir()) == []


def test_devices_have_their_owner_and_mode(bare: Root) -> None:
    bare.spec["linux"]["devices"] = [
        {"path": "/dev/d/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
         "uid": 7, "gid": 8},
        {"path": "/dev/queue", "type": "p", "fileMode": 0o622},
    ]  # fmt: skip
    text = "s = os.stat('/dev/d/fuse'); result = s.st_mode & 0o7777, s.st_uid, s.st_gid, s.st_rdev"
    assert bare.look(text) == [0o640, 7, 8, os.makedev(10, 229)]
    assert stat.S_ISFIFO(bare.look("result = os.stat('/dev/queue').st_mode"))


# ---- entering


def test_hooks_see_the_host_and_the_mounts(bare: Root, tmp_path: Path) -> None:
    rootfs = str(tmp_path / "rootfs")
    bare.hooks = (
        f"seen = os.path.exists('/etc/hostname'), os.path.exists({rootfs + '/dev/null'!r})\n"
        "seen += (os.umask(0o22),)\n"
    )
    assert bare.look("result = seen") == [True, True, 0o22]


def test_nothing_of_the_host_is_left_in_reach(bare: Root) -> None:
    mounts = bare.mountinfo()
    assert {m.point for m in mounts if not m.point.startswith("/dev/")} == {"/", "/proc", "/dev"}
    assert bare.look("result = os.getcwd(), os.listdir('/')")[0] == "/"


def test_no_descriptor_of_the_root_is_left(root: Root) -> None:
    root.before = "before = set(os.listdir('/proc/self/fd'))"
    root.config = {"no_pivot_root": False}
    assert root.look("result = list(set(os.listdir('/proc/self/fd')) - before)") == []


def test_without_pivot_root_the_hosts_proc_is_taken_off(bare: Root, tmp_path: Path) -> None:
    bare.config = {"no_pivot_root": True}
    found = bare.look("result = os.listdir('/'), open('/proc/self/mountinfo').read()")
    assert "etc" not in found[0]
    assert [m.type for m in parse(found[1])].count("proc") == 1


def test_without_pivot_root_what_covers_the_hosts_proc_is_not_all_that_goes(
    bare: Root, tmp_path: Path
) -> None:
    """Of two mounts on one place, and of a name with a blank."""
    other = str(tmp_path / "a proc")
    bare.config = {"no_pivot_root": True}
    bare.before = (
        f"os.mkdir({other!r}); system.mount('proc', {other!r}, 'proc', 0)\n"
        f"system.mount('none', {other!r}, 'tmpfs', 0); system.mount('none', '/proc', 'proc', 0)\n"
    )
    found = bare.look("result = open('/proc/self/mountinfo').read()")
    assert [m.type for m in parse(found)].count("proc") == 1


def test_without_a_mount_namespace_it_is_a_chroot(bare: Root, bundle: Path) -> None:
    bare.mounts = False
    bare.spec["mounts"] = []
    assert bare.look("result = sorted(os.listdir('/'))") == ["bin", "dev"]


@pytest.mark.parametrize("propagation", ["", "slave", "private", "shared", "rshared"])
def test_nothing_reaches_who_shares_the_mounts(
    bare: Root, tmp_path: Path, propagation: str
) -> None:
    bare.spec["linux"]["rootfsPropagation"] = propagation
    rootfs = str(tmp_path / "rootfs")
    # The root is on a shared mount, whose other end this descriptor shows.
    bare.before = (
        "def shown(pid):\n"
        "    with open(f'/proc/{pid}/mountinfo') as f: return f.read()\n"
        "system.mount('', '/', '', system.MS_SHARED | system.MS_REC)\n"
        f"system.mount({rootfs!r}, {rootfs!r}, '', system.MS_BIND)\n"
        f"system.mount('', {rootfs!r}, '', system.MS_SHARED)\n"
        "r, w = os.pipe(); r2, w2 = os.pipe()\n"
        "peer = os.fork()\n"
        "if not peer:\n"
        "    os.close(w)\n"
        "    own = '/proc/self/mountinfo'\n"
        "    first = open(own).read()\n"
        "    os.read(r, 1)\n"
        "    os.write(w2, b'same' if open(own).read() == first else b'changed')\n"
        "    os._exit(0)\n"
        "system.unshare(0x20000)\n"
    )
    bare.hooks = "os.write(w, b'x'); os.close(w); seen = os.read(r2, 10).decode()"
    found = bare.look(
        "import os\nos.waitpid(peer, 0)\n"
        "for fd in (r, r2, w2): os.close(fd)\n"
        "result = seen, open('/proc/self/mountinfo').read()"
    )
    assert found[0] == "same"
    assert ("shared:" in at("/", parse(found[1])).propagation) == propagation.endswith("shared")


# ---- closing


def test_a_read_only_root_is_that_alone(bare: Root) -> None:
    bare.spec["root"]["readonly"] = True
    mounts = bare.mountinfo()
    assert "ro" in at("/", mounts).flags and "rw" in at("/dev", mounts).flags


def test_masks_and_read_only_paths(bare: Root, bundle: Path) -> None:
    (bundle / "rootfs/secrets").mkdir()
    (bundle / "rootfs/secrets/key").write_text("key")
    (bundle / "rootfs/secret").write_text("secret")
    bare.spec["linux"]["maskedPaths"] = ["/secrets", "/secret", "/not/there", "/bin/busybox/no"]
    bare.spec["linux"]["readonlyPaths"] = ["/proc/sys", "/not/there"]
    found = bare.look(
        "result = [os.listdir('/secrets'), open('/secret').read(),"
        " bool(os.statvfs('/proc/sys').f_flag & 1), bool(os.statvfs('/proc').f_flag & 1)]"
    )
    assert found == [[], "", True, False]


def test_sysctls_are_written_before_they_become_read_only(bare: Root) -> None:
    bare.spec["linux"]["readonlyPaths"] = ["/proc/sys"]
    bare.spec["linux"]["sysctl"] = {
        "net.ipv4.ip_forward": "1",
        "net/ipv4/conf/lo/forwarding": "1",
        "kernel.msgmax": "4242",
    }
    names = ("net/ipv4/ip_forward", "net/ipv4/conf/lo/forwarding", "kernel/msgmax")
    found = bare.look(f"result = [open('/proc/sys/' + n).read().strip() for n in {names!r}]")
    assert found == ["1", "1", "4242"]


def test_a_sysctl_that_is_refused_is_named(bare: Root) -> None:
    bare.config = {"sysctl": {"net.no.such": "1"}}
    with pytest.raises(RootError, match=r"sysctl net.no.such=1: No such file"):
        bare.mountinfo()
