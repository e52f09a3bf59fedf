# SPDX-License-Identifier: Apache-2.0
"""The mount points of cgroups and this process's own cgroups are found on every layout.

No configuration leads out of them.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from libcontainer.cgroups import Layout, layout, new_manager
from libcontainer.cgroups.fs import LegacyManager
from libcontainer.cgroups.fs2 import UnifiedManager
from libcontainer.configs import Cgroup
from nsenter._cgroups.files import clean

BASE = "22 1 0:21 / /proc rw - proc proc rw\n31 1 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
CPU = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
MEMORY = "35 31 0:32 / /sys/fs/cgroup/memory rw shared:9 - cgroup cgroup rw,memory\n"
SYSTEMD = "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
V2 = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate\n"
OWN = "5:name=systemd:/s\n4:cpu,cpuacct:/user/one\n3:memory:/\n0::/user.slice/me.scope\n"


def paths(mountinfo: str, own: str, **cgroup: str) -> dict[str, str]:
    return LegacyManager(Cgroup(**cgroup), Layout(mountinfo, own), None).paths()


def test_hierarchies_are_told_apart_by_their_controllers() -> None:
    found = Layout(BASE + CPU + MEMORY + SYSTEMD + V2, OWN)
    assert [(h.name, h.controllers) for h in found.hierarchies] == [
        ("cpu,cpuacct", ("cpu", "cpuacct")),
        ("memory", ("memory",)),
        ("systemd", ("name=systemd",)),
    ]
    assert found.v2 is not None
    assert found.v2.mount_point == "/sys/fs/cgroup/unified"
    assert found.unified == ""


def test_cgroup_v2_alone_is_unified() -> None:
    found = Layout("30 1 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", OWN)
    assert (found.unified, found.hierarchies) == ("/sys/fs/cgroup", [])


def test_a_hierarchy_mounted_again_elsewhere_does_not_count() -> None:
    again = MEMORY.replace("/sys/fs/cgroup/memory", "/srv/box/memory")
    for text in (again + MEMORY, MEMORY + again):
        assert [h.mount_point for h in Layout(text, OWN).hierarchies] == ["/sys/fs/cgroup/memory"]


def test_a_mount_point_with_a_space() -> None:
    found = Layout(MEMORY.replace("/sys/fs/cgroup/memory", r"/my\040groups/memory"), OWN)
    assert found.hierarchies[0].mount_point == "/my groups/memory"


def test_an_absolute_path_is_below_the_root_of_each_hierarchy() -> None:
    assert paths(BASE + CPU + MEMORY + V2, OWN, path="/box/a") == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/box/a",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/box/a",
        "memory": "/sys/fs/cgroup/memory/box/a",
        "": "/sys/fs/cgroup/unified/box/a",
    }


def test_a_relative_path_is_below_the_callers_own_cgroup() -> None:
    assert paths(BASE + CPU + MEMORY + SYSTEMD + V2, OWN, path="a") == {
        "cpu": "/sys/fs/cgroup/cpu,cpuacct/user/one/a",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct/user/one/a",
        "memory": "/sys/fs/cgroup/memory/a",
        "name=systemd": "/sys/fs/cgroup/systemd/s/a",
        "": "/sys/fs/cgroup/unified/user.slice/me.scope/a",
    }


def test_without_a_path_the_name_is_one() -> None:
    assert paths(MEMORY, "3:memory:/x\n", name="box") == {"memory": "/sys/fs/cgroup/memory/x/box"}


def test_where_a_part_of_a_hierarchy_is_mounted_paths_are_in_that() -> None:
    """So it is in a container without a cgroup namespace."""
    part = MEMORY.replace("0:32 / ", "0:32 /docker/abc ")
    assert paths(part, "3:memory:/docker/abc/in\n", path="a") == {
        "memory": "/sys/fs/cgroup/memory/in/a"
    }


def test_with_v2_a_relative_path_is_beside_the_callers_cgroup() -> None:
    here = Layout("30 1 0:38 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n", OWN)
    found = UnifiedManager(Cgroup(path="a"), here, None).paths()
    assert found == {"": "/sys/fs/cgroup/user.slice/a"}


@pytest.mark.parametrize(
    ("path", "cleaned"),
    [
        ("", ""),
        ("/", ""),
        ("a/b", "/a/b"),
        ("//a///b/", "/a/b"),
        ("./a/./b", "/a/b"),
        ("../../../etc", "/etc"),
        ("/../etc", "/etc"),
        ("a/../../../b", "/b"),
        ("a/b/..", "/a"),
        ("..", ""),
        ("a/...", "/a/..."),
    ],
)
def test_a_path_never_leads_out(path: str, cleaned: str) -> None:
    assert clean(path) == cleaned


@pytest.mark.parametrize("path", ["../../../../tmp/x", "/../../tmp/x", "a/../../../tmp/x"])
def test_no_path_leaves_a_hierarchy(path: str) -> None:
    for directory in paths(BASE + CPU + MEMORY + SYSTEMD + V2, OWN, path=path).values():
        assert ".." not in directory
        assert directory.startswith("/sys/fs/cgroup/")
        assert directory.endswith("/tmp/x")


def test_a_relative_path_does_not_leave_the_callers_own_cgroup() -> None:
    found = paths(CPU, OWN, path="../../x")
    assert found["cpu"] == "/sys/fs/cgroup/cpu,cpuacct/user/one/x"


def test_saved_paths_are_taken_as_they_are() -> None:
    saved = {"memory": "/sys/fs/cgroup/memory/was/here"}
    assert LegacyManager(Cgroup(path="/other"), Layout(MEMORY, OWN), saved).paths() == saved


def test_this_machine() -> None:
    """What the kernel says of a process of ours is what we find."""
    here = layout()
    assert layout() is here
    told = Path("/proc/self/cgroup").read_text().splitlines()
    named = {c for line in told for c in line.split(":", 2)[1].split(",")}
    mounted = {c for hierarchy in here.all() for c in hierarchy.controllers}
    assert mounted <= named
    for hierarchy in here.all():
        assert (Path(hierarchy.mount_point) / "cgroup.procs").exists()
    directories = new_manager(Cgroup(path="/x")).paths()
    assert set(directories) == mounted
