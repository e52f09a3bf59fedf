# SPDX-License-Identifier: Apache-2.0
"""Nothing outside a root is reached, whatever a hostile user has put into it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from libcontainer.init.rootfs import paths
from libcontainer.specconv.example import example
from nsenter._host import syscalls
from rootfs_driver import MountLine, Root, RootError

_OUT = "../../../../../../../../../../../.."


@pytest.fixture
def inside(tmp_path: Path) -> Path:
    """The root's folder."""
    folder = tmp_path / "bundle/rootfs"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A folder of the host's, to which nothing may happen."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "file").write_text("untouched")
    yield folder
    assert [p.name for p in folder.iterdir()] == ["file"], "something was made outside the root"
    assert (folder / "file").read_text() == "untouched"


@pytest.fixture
def root(inside: Path) -> Root:
    spec = example()
    spec["process"]["terminal"] = False
    spec["root"] = {"path": "rootfs"}
    spec["mounts"] = [m for m in spec["mounts"] if m["destination"] in ("/proc", "/dev")]
    spec["linux"] |= {"maskedPaths": [], "readonlyPaths": []}
    return Root(spec, inside.parent)


def add(root: Root, destination: str, type: str, *options: str, source: object = "") -> None:
    root.spec["mounts"].append(
        {"destination": destination, "type": type, "source": str(source), "options": list(options)}
    )


def points(mounts: list[MountLine]) -> set[str]:
    return {mount.point for mount in mounts}


# ---- links where something is mounted


@pytest.mark.parametrize("name", ["proc", "sys"])
@pytest.mark.parametrize("target", ["/elsewhere", _OUT, "/", "self", "/proc/self/root"])
def test_a_link_is_no_place_for_proc_or_sysfs(
    root: Root, inside: Path, name: str, target: str
) -> None:
    (inside / name).symlink_to(target)
    add(root, "/sys", "sysfs", source="sysfs")
    with pytest.raises(RootError, match=f"{name}.*symbolic link") as caught:
        root.mountinfo()
    assert caught.value.errno == errno.ELOOP


def test_a_file_is_no_place_for_proc(root: Root, inside: Path) -> None:
    (inside / "proc").write_text("")
    with pytest.raises(RootError, match="ordinary directory"):
        root.mountinfo()


def test_a_linked_dev_is_a_folder_of_the_root(root: Root, inside: Path, outside: Path) -> None:
    (inside / "dev").symlink_to(f"{_OUT}{outside}")
    seen = points(root.mountinfo())
    assert str(outside) in seen  # below the root, where nothing was
    assert (inside / str(outside)[1:]).is_dir()


@pytest.mark.parametrize(
    "link", ["{out}", "/", "{out}{outside}", "{outside}", "a/../{out}{outside}", "/../..{outside}"]
)
@pytest.mark.parametrize("type", ["bind", "tmpfs"])
def test_a_mount_through_a_link_stays_inside(
    root: Root, inside: Path, outside: Path, link: str, type: str
) -> None:
    (inside / "link").symlink_to(link.format(out=_OUT, outside=outside))
    add(root, "/link/new/deep", type, *(["bind"] if type == "bind" else []), source="/usr")
    root.hooks = (
        f"host = [l for l in open('/proc/self/mountinfo') if {str(outside)!r} in l.split()[4]\n"
        f"        and {str(inside)!r} not in l.split()[4]]"
    )
    mounts = root.look("result = [host, open('/proc/self/mountinfo').read()]")
    assert mounts[0] == []
    assert any(line.split()[4].endswith("/new/deep") for line in mounts[1].splitlines())


def test_a_file_is_made_where_a_dangling_link_leads_in_the_root(
    root: Root, inside: Path, outside: Path
) -> None:
    (inside / "link").symlink_to(f"{outside}/made")
    add(root, "/link", "bind", "bind", source="/etc/hostname")
    root.mountinfo()
    assert (inside / str(outside)[1:] / "made").is_file()


def test_links_in_a_circle_are_an_error(root: Root, inside: Path) -> None:
    (inside / "a").symlink_to("b")
    (inside / "b").symlink_to("a")
    add(root, "/a/x", "tmpfs", source="tmpfs")
    with pytest.raises(RootError) as caught:
        root.mountinfo()
    assert caught.value.errno == errno.ELOOP


def test_dots_behind_a_new_folder_end_at_the_root(root: Root, outside: Path, inside: Path) -> None:
    add(root, "/x", "tmpfs", source="tmpfs")
    (inside / "up").symlink_to(f"made/{_OUT}{outside}")
    root.spec["mounts"][-1]["destination"] = "/up/new"
    assert f"{outside}/new" in points(root.mountinfo())


@pytest.mark.parametrize("name", ["self/attr/exec", "sys/kernel/hostname", "", "1"])
def test_nothing_is_mounted_over_the_kernels_own_files(root: Root, name: str) -> None:
    """CVE-2019-16884."""
    source = "/etc/hostname" if name.endswith(("exec", "hostname")) else "/usr"
    add(root, f"/proc/{name}", "bind", "bind", source=source)
    with pytest.raises(RootError, match="kernel's own"):
        root.mountinfo()


def test_proc_is_reached_by_no_link_either(root: Root, inside: Path) -> None:
    (inside / "innocent").symlink_to("/proc/sys/kernel")
    add(root, "/innocent/hostname", "bind", "bind", source="/etc/hostname")
    with pytest.raises(RootError, match="kernel's own"):
        root.mountinfo()


def test_numbers_of_the_container_may_stand_in_proc(root: Root) -> None:
    add(root, "/proc/uptime", "bind", "bind", source="/etc/hostname")
    assert "/proc/uptime" in points(root.mountinfo())


# ---- exchanges while we work

_SWAPPER = """
import os, sys
path, target = sys.argv[1:]
parked, link = path + ".parked", path + ".link"
os.symlink(target, link)
print(flush=True)
while True:
    try:
        os.rename(path, parked); os.rename(link, path)
        os.rename(path, link); os.rename(parked, path)
    except OSError:
        os.makedirs(path, exist_ok=True)
"""


# A moment's place that is none is refused, which is fine.
_REFUSED = (errno.ENOENT, errno.ELOOP, errno.ENOTDIR, errno.EEXIST, errno.EAGAIN)


@contextmanager
def swapping(path: Path, target: object) -> Iterator[None]:
    """A folder that is a link every other moment."""
    path.mkdir()
    command = [sys.executable, "-S", "-c", _SWAPPER, str(path), str(target)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as swapper:
        assert swapper.stdout is not None
        swapper.stdout.readline()
        try:
            yield
        finally:
            swapper.kill()


@pytest.mark.parametrize("type", ["bind", "tmpfs"])
def test_a_folder_that_turns_into_a_link_leads_nowhere(
    root: Root, inside: Path, outside: Path, type: str
) -> None:
    """CVE-2021-30465."""
    for i in range(40):
        option = ["bind"] if type == "bind" else []
        add(root, f"/volume/{i}", type, *option, source="/usr")
    look = (
        f"host = [l for l in open('/proc/self/mountinfo') if l.split()[4].startswith("
        f"{str(outside)!r})]"
    )
    root.hooks = look
    with swapping(inside / "volume", outside):
        for _ in range(5):
            try:
                assert root.look("result = host") == []
            except RootError as error:
                assert error.errno in _REFUSED


def test_proc_is_mounted_on_a_folder_or_not_at_all(root: Root, inside: Path) -> None:
    """CVE-2023-27561."""
    (inside / "elsewhere").mkdir()
    root.hooks = "found = [l.split()[4] for l in open('/proc/self/mountinfo') if ' - proc ' in l]"
    with swapping(inside / "proc", "/elsewhere"):
        for _ in range(8):
            try:
                assert f"{inside}/elsewhere" not in root.look("result = found")
            except RootError as error:
                assert error.errno in _REFUSED


# ---- devices


@pytest.mark.parametrize("what", ["link", "file", "other device", "the device"])
@pytest.mark.parametrize("user", [False, True])
def test_what_is_in_the_place_of_a_node_is_not_taken_for_it(
    root: Root, inside: Path, outside: Path, what: str, user: bool
) -> None:
    """CVE-2025-31133, and an image whose /dev has been written to: refused, as specified; in a
    user namespace the host's node is put over it. One that is right is left as it is."""
    root.spec["mounts"] = root.spec["mounts"][:1]
    root.user = user
    (inside / "dev").mkdir()
    null = inside / "dev/null"
    if what == "link":
        null.symlink_to(f"{_OUT}{outside}/file")
    elif what == "file":
        null.write_text("mine")
    else:
        os.mknod(null, 0o666 | 0o020000, os.makedev(1, 3 if what == "the device" else 5))
        os.chown(null, 7, 7)
    text = "s = os.lstat('/dev/null'); result = s.st_mode, s.st_rdev, s.st_uid"
    if what != "the device" and not user:
        with pytest.raises(RootError, match="mknod /dev/null: something is there that is no such"):
            root.look(text)
        return
    mode, number, owner = root.look(text)
    assert mode & 0o170000 == 0o020000 and number == os.makedev(1, 3)
    assert user or owner == 7


@pytest.mark.parametrize("what", ["link", "file", "nothing"])
def test_a_mask_is_the_null_device_or_there_is_no_container(
    root: Root, inside: Path, tmp_path: Path, what: str
) -> None:
    """CVE-2025-31133: what else is bound over a masked path would open it."""
    dev = tmp_path / "dev"
    dev.mkdir()
    if what == "link":
        (dev / "null").symlink_to("/proc/sys/kernel/core_pattern")
    elif what == "file":
        (dev / "null").write_text("mine")
    root.spec["mounts"][1] = {
        "destination": "/dev", "type": "bind", "source": str(dev), "options": ["bind"]
    }  # fmt: skip
    (inside / "secret").write_text("secret")
    root.spec["linux"]["maskedPaths"] = ["/secret"]
    with pytest.raises(RootError, match="open /dev/null"):
        root.mountinfo()


def test_a_null_that_is_exchanged_is_no_mask(root: Root, inside: Path) -> None:
    (inside / "secret").write_text("secret")
    root.spec["linux"]["maskedPaths"] = ["/secret"]
    root.between = (
        "os.unlink('/dev/null'); os.symlink('/proc/sys/kernel/core_pattern', '/dev/null')"
    )
    with pytest.raises(RootError, match="not the null device"):
        root.mountinfo()


def test_the_terminal_is_put_on_no_link(root: Root) -> None:
    """CVE-2025-52565."""
    root.between = (
        "os.symlink('/proc/sys/kernel/core_pattern', '/dev/console')\n"
        "rootfs.console(os.open('/dev/null', os.O_RDONLY))\n"
    )
    with pytest.raises(RootError, match=r"/dev/console is a symbolic link"):
        root.mountinfo()


def test_the_terminal_is_on_dev_console(root: Root) -> None:
    root.between = "fd = os.open('/dev/zero', 0); rootfs.console(fd); os.close(fd)"
    assert root.look("result = os.stat('/dev/console').st_rdev") == os.makedev(1, 5)


# ---- masks, sysctls, copies


def test_a_masked_link_masks_what_it_leads_to_in_the_root(
    root: Root, inside: Path, outside: Path
) -> None:
    folder = inside / str(outside)[1:]
    folder.mkdir(parents=True)
    (folder / "file").write_text("the root's")
    (inside / "link").symlink_to(f"{_OUT}{outside}/file")
    (inside / "folder").symlink_to(f"{_OUT}{outside}")
    root.spec["linux"] |= {"maskedPaths": ["/link"], "readonlyPaths": ["/folder"]}
    found = root.look(
        f"result = open('{outside}/file').read(), bool(os.statvfs('{outside}').f_flag & 1)"
    )
    assert found == ["", True]


def test_a_proc_that_is_none_gets_no_sysctl(root: Root, inside: Path, outside: Path) -> None:
    root.spec["mounts"].pop(0)
    (inside / "proc/sys/net/ipv4").mkdir(parents=True)
    (inside / "proc/sys/net/ipv4/ip_forward").symlink_to(f"{_OUT}{outside}/file")
    root.config = {"sysctl": {"net.ipv4.ip_forward": "1"}}
    with pytest.raises(RootError, match="no proc is mounted"):
        root.look("")


@pytest.mark.parametrize(
    "name", ["net/../../self/oom_score_adj", "/proc/self/oom_score_adj", "kernel/../../../file"]
)
def test_a_sysctl_does_not_leave_proc_sys(root: Root, inside: Path, name: str) -> None:
    """Each of these names is a file that its writer can write to."""
    (inside / "file").touch()
    root.config = {"sysctl": {name: "1"}}
    with pytest.raises(RootError, match=f"sysctl {name}=1") as caught:
        root.look("")
    assert caught.value.errno == errno.EXDEV


def test_a_copy_of_links_is_links(root: Root, inside: Path, outside: Path) -> None:
    (inside / "data").mkdir()
    (inside / "data/link").symlink_to(f"{_OUT}{outside}")
    (inside / "data/file").symlink_to(f"{_OUT}{outside}/file")
    add(root, "/data", "tmpfs", "tmpcopyup", source="tmpfs")
    text = "result = [os.path.islink('/data/' + n) for n in sorted(os.listdir('/data'))]"
    assert root.look(text) == [True, True]


def test_tmpcopyup_of_a_link_is_of_what_it_leads_to_in_the_root(
    root: Root, inside: Path, outside: Path
) -> None:
    (inside / "data").symlink_to(f"{_OUT}{outside}")
    add(root, "/data", "tmpfs", "tmpcopyup", source="tmpfs")
    assert root.look(f"result = os.listdir('{outside}')") == []


def test_a_directory_of_the_host_is_no_working_directory(root: Root) -> None:
    """CVE-2024-21626: what is open from before the root was entered is outside of it."""
    root.before = (
        "from libcontainer.init.process import identity; host = os.open('/usr', os.O_RDONLY)\n"
        "def arrive(path):\n"
        "    os.chdir(path)\n"
        "    try: identity.check_cwd()\n"
        "    except OSError as error: return str(error)\n"
    )
    text = "result = [arrive(host), arrive('/'), arrive('/proc')]"
    refusal, *fine = root.look(text)
    assert "outside of container mount namespace root" in refusal
    assert fine == [None, None]


# ---- the folder itself


@pytest.mark.parametrize("path", ["/", "/..", "/.", "/proc/.."])
def test_what_is_to_be_no_link_has_a_name(inside: Path, path: str) -> None:
    fd = os.open(inside, os.O_RDONLY)
    try:
        with pytest.raises(syscalls.Failure) as caught:
            paths.make_plain(fd, path, folder=True)
    finally:
        os.close(fd)
    assert caught.value.errno == errno.EINVAL
