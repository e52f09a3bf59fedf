# SPDX-License-Identifier: Apache-2.0
"""Containers run in cgroups that a running systemd creates, the machine's or a user's.

The expected values are read from systemd and from the files of the cgroup; runc does the same.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import session
from containers import RUNTIMES, Runtime, of_user, resources, running, runtime
from limits import LIMITS, MIB, NEWER_THAN_THIS_RUNC
from session import CGROUPS, UID

from interop.oci_bundles import Config, Edit, make_root, scratch_folder
from interop.podman import Podman
from interop.runtimes import path_of
from processes import wait_until

SLICE, PARENT = "system.slice", "/system.slice"
THEIR_SLICE = f"/user.slice/user-{UID}.slice/user@{UID}.service/user.slice"
# What systemd is told of a container's limits, and keeps.
LIMIT_PROPERTIES = (
    *("AllowedCPUs", "AllowedMemoryNodes", "CPUQuotaPerSecUSec", "CPUQuotaPeriodUSec"),
    *("CPUWeight", "DeviceAllow", "DevicePolicy", "IOWeight", "MemoryHigh", "MemoryLow"),
    *("MemoryMax", "MemorySwapMax", "TasksMax"),
)
# Of LIMITS, those that one container can have.
TOGETHER: dict[str, tuple[str, ...]] = {
    "amounts": ("memory", "cpu", "cpuset", "pids", "io", "hugetlb"),
    "parts": ("memory-without-swap", "cpu-quota-alone"),
    "none": ("memory-unlimited", "cpu-unlimited", "pids-unlimited"),
    "unified": ("unified",),
}
# What systemd has no words for: it puts the files back as it knows them, if it does.
LOST_BY_A_RELOAD = {"none": {"cpu.max"}, "unified": {"cpu.weight", "cpu.weight.nice"}}
# What Debian's runc tells systemd otherwise, or not at all.
NOT_TOLD_BY_RUNC = {
    "amounts": {"IOWeight", "CPUWeight"},  # it converts these in another way
    "parts": {"CPUQuotaPeriodUSec", "MemorySwapMax"},  # a swap of 0 is none to it, not no swap
}


@pytest.fixture
def options() -> tuple[str, ...]:
    return ("--systemd-cgroup",)


@pytest.fixture(scope="module", autouse=True)
def user_session() -> None:
    """The user's systemd runs, as after a login."""
    systemctl("start", f"user@{UID}.service")


def systemctl(*words: str) -> str:
    done = session.run(["systemctl", "--no-pager", *words])
    assert done.returncode == 0, f"systemctl {words}: {done.stderr}"
    return done.stdout


def shown(unit: str, *names: str) -> dict[str, set[str]]:
    """Properties of a unit; one that is a list has a line for each."""
    found: dict[str, set[str]] = {}
    for line in systemctl("show", f"--property={','.join(names)}", unit).splitlines():
        name, _, value = line.partition("=")
        found.setdefault(name, set()).add(value)
    return found


def scopes(*who: str) -> set[str]:
    """The units of containers, in any state."""
    listed = systemctl(*who, "list-units", "--all", "--plain", "--no-legend", "test-*.scope")
    return {line.split()[0] for line in listed.splitlines()}


# --- a unit --------------------------------------------------------------------------------------


def test_a_container_is_a_scope_in_its_slice(each: Runtime, folder: Path) -> None:
    with running(each, folder, parent=PARENT, slice=SLICE) as box:
        unit = box.cgroup.name
        assert shown(unit, "ActiveState", "ControlGroup", "Delegate", "Slice") == {
            "ActiveState": {"active"},
            "ControlGroup": {f"{PARENT}/{unit}"},
            "Delegate": {"yes"},
            "Slice": {SLICE},
        }
        assert Path(f"/proc/{box.pid}/cgroup").read_text() == f"0::{PARENT}/{unit}\n"
        assert box.exec("cat /proc/self/cgroup") == "0::/\n"
        box("pause")
        assert box.status() == "paused"
        box("resume")
        assert box.status() == "running"
    assert scopes() == set()


def test_a_slice_is_made_with_those_above_it(each: Runtime, folder: Path) -> None:
    parent = "/nsx.slice/nsx-inner.slice"
    with running(each, folder, parent=parent, slice="nsx-inner.slice") as box:
        assert box.file("cgroup.procs").split()[0] == str(box.pid)
    systemctl("stop", "nsx-inner.slice", "nsx.slice")


def test_a_unit_ends_with_its_container(each: Runtime, folder: Path) -> None:
    with running(each, folder, parent=PARENT, slice=SLICE) as box:
        os.kill(box.pid, signal.SIGKILL)
        wait_until(lambda: scopes() == set())
        assert box.status() == "stopped"
        box("delete")


def test_systemd_can_stop_it(each: Runtime, folder: Path) -> None:
    with running(each, folder, parent=PARENT, slice=SLICE, args=["sleep", "1000"]) as box:
        systemctl("kill", "--signal=KILL", box.cgroup.name)
        wait_until(lambda: box.status() == "stopped")


def test_properties_by_annotations(each: Runtime, folder: Path) -> None:
    def annotated(config: Config) -> None:
        prefix = "org.systemd.property"
        config["annotations"] = {
            f"{prefix}.TimeoutStopUSec": "uint64 7000000",
            f"{prefix}.CollectMode": "'inactive-or-failed'",
        }

    with running(each, folder, annotated, parent=PARENT, slice=SLICE) as box:
        assert shown(box.cgroup.name, "TimeoutStopUSec", "CollectMode") == {
            "TimeoutStopUSec": {"7s"},
            "CollectMode": {"inactive-or-failed"},
        }


def test_what_systemd_refuses_is_said_and_nothing_is_left(pyrunc: Runtime, folder: Path) -> None:
    def annotated(config: Config) -> None:
        config["annotations"] = {"org.systemd.property.NoSuch": "true"}

    before = {entry.name for entry in (folder / "pyrunc").iterdir()}
    box = running(pyrunc, folder, annotated, parent=PARENT, slice=SLICE)
    with pytest.raises(AssertionError, match=r"StartTransientUnit: .*NoSuch"), box:
        pass
    assert scopes() == set()
    assert {entry.name for entry in (folder / "pyrunc").iterdir()} == before


# --- its limits ----------------------------------------------------------------------------------


def limited(case: str) -> tuple[Edit, dict[str, str]]:
    """To have the limits of a case, and what is then in which file."""
    limits: dict[str, Any] = {}
    files: dict[str, str] = {}
    for name in TOGETHER[case]:
        for kind, values in LIMITS[name][0].items():
            limits[kind] = (
                {**limits.get(kind, {}), **values} if kind != "hugepageLimits" else values
            )
        files |= LIMITS[name][1]
    return resources(limits), files


@pytest.mark.parametrize("case", TOGETHER)
def test_limits_are_systemds_too_and_outlive_its_reload(
    pyrunc: Runtime, folder: Path, case: str
) -> None:
    edit, expected = limited(case)
    with running(pyrunc, folder, edit, parent=PARENT, slice=SLICE) as box:
        assert {name: box.file(name) for name in expected} == expected
        ours = shown(box.cgroup.name, *LIMIT_PROPERTIES)
        before = box.settings()
        systemctl("daemon-reload")
        after = box.settings()
    changed = {name for name in before if before[name] != after[name]}
    assert changed == LOST_BY_A_RELOAD.get(case, set())
    runc = runtime("runc", folder, "--systemd-cgroup")
    with running(runc, folder, edit, parent=PARENT, slice=SLICE) as box:
        theirs = shown(box.cgroup.name, *LIMIT_PROPERTIES)
        settings = box.settings()
    assert {n for n in ours if ours[n] != theirs[n]} == NOT_TOLD_BY_RUNC.get(case, set())
    for name in NEWER_THAN_THIS_RUNC:
        del before[name], settings[name]
    assert before == settings


def test_what_is_idle_outlives_a_reload(pyrunc: Runtime, folder: Path) -> None:
    edit = resources({"cpu": {"idle": 1}})
    with running(pyrunc, folder, edit, parent=PARENT, slice=SLICE) as box:
        systemctl("daemon-reload")
        assert box.file("cpu.idle") == "1"
        box("update", "--cpu-idle", "0")
        systemctl("daemon-reload")
        assert (box.file("cpu.idle"), box.file("cpu.weight")) == ("0", "100")


def test_update_tells_systemd(each: Runtime, folder: Path) -> None:
    with running(each, folder, parent=PARENT, slice=SLICE) as box:
        box("update", "--memory", str(32 * MIB), "--pids-limit", "44", "--cpu-quota", "20000")
        systemctl("daemon-reload")
        assert box.file("memory.max") == str(32 * MIB)
        assert box.file("pids.max") == "44"
        assert box.file("cpu.max") == "20000 100000"


def test_devices_are_denied_also_after_a_reload(each: Runtime, folder: Path) -> None:
    disk = Path("/dev/nvme0n1").stat().st_rdev
    numbers = f"{os.major(disk)} {os.minor(disk)}"
    script = f"mknod /d b {numbers}; head -c 1 /d; echo $?; rm /d; head -c 1 /dev/zero | wc -c"

    def may_mknod(config: Config) -> None:
        config["root"]["readonly"] = False
        for names in config["process"]["capabilities"].values():
            names.append("CAP_MKNOD")

    with running(each, folder, may_mknod, parent=PARENT, slice=SLICE) as box:
        assert box.exec(script) == "1\n1\n"
        systemctl("daemon-reload")
        assert box.exec(script) == "1\n1\n"


# --- a user's ------------------------------------------------------------------------------------


@pytest.fixture(params=RUNTIMES)
def of_the_user(request: pytest.FixtureRequest, folder: Path) -> Runtime:
    """Run from a cgroup that is none of the user's, as by a user who has just come in."""
    state = folder / "of-the-user"
    state.mkdir(exist_ok=True)
    os.chown(state, UID, UID)
    by = lambda argv: session.run([*session.AS_THE_USER, *argv])  # noqa: E731
    return runtime(request.param, state, "--systemd-cgroup", by=by)


def test_a_users_container_is_a_scope_of_the_users_systemd(
    of_the_user: Runtime, folder: Path
) -> None:
    limits = resources({"memory": {"limit": 64 * MIB}, "pids": {"limit": 33}})
    arguments = {"parent": THEIR_SLICE, "slice": "user.slice", "rootless": True}
    with running(of_the_user, folder, of_user, limits, **arguments) as box:
        assert box.file("memory.max") == str(64 * MIB)
        assert box.file("pids.max") == "33"
        assert str(box.pid) in box.file("cgroup.procs").split()
        box("update", "--pids-limit", "44")
        assert box.file("pids.max") == "44"
        box("pause")
        assert box.status() == "paused"
        box("resume")


def test_a_users_exec_is_in_the_scope_whichever_cgroup_it_comes_from(
    of_the_user: Runtime, folder: Path
) -> None:
    if of_the_user.name == "runc":
        return  # this one leaves it where it comes from
    arguments = {"parent": THEIR_SLICE, "slice": "user.slice", "rootless": True}
    with running(of_the_user, folder, of_user, **arguments) as box:
        assert box.exec("cat /proc/self/cgroup") == "0::/\n"


# --- podman --------------------------------------------------------------------------------------


@contextmanager
def podman_with(name: str, *, user: bool = False) -> Iterator[Podman]:
    """Root's, or a user's."""
    with scratch_folder() as folder:
        root, before = make_root(folder / "rootfs"), session.AS_THE_USER if user else ()
        made = Podman(folder, root, path_of(name), before, user, cgroup_manager="systemd")
        made.prepare()
        if user:
            for owned in [folder, *folder.rglob("*")]:
                os.chown(owned, UID, UID, follow_symlinks=False)
        try:
            yield made
        finally:
            made.clear()


@pytest.fixture(params=[(name, user) for name in RUNTIMES for user in (False, True)], ids=str)
def podman(request: pytest.FixtureRequest) -> Iterator[Podman]:
    name, user = request.param
    with podman_with(name, user=user) as made:
        yield made


def test_podman_with_the_manager_that_is_its_default(podman: Podman) -> None:
    name = podman.start("sleep", "1000", options=("--memory", "64m", "--pids-limit", "33"))
    cgroup = CGROUPS / podman.inspect(name)["State"]["CgroupPath"].lstrip("/")
    assert cgroup.parent.name == ("user.slice" if podman.rootless else "machine.slice")
    assert (cgroup / "memory.max").read_text() == f"{64 * MIB}\n"
    assert (cgroup / "pids.max").read_text() == "33\n"
    assert podman.must("exec", name, "cat", "/proc/self/cgroup") == "0::/\n"
    podman.must("update", "--memory", "32m", name)
    assert (cgroup / "memory.max").read_text() == f"{32 * MIB}\n"
    podman.must("pause", name)
    podman.must("unpause", name)
    podman.must("stop", "--time", "0", name)
    podman.must("rm", name)
    wait_until(lambda: not cgroup.exists())


def test_a_systemd_runs_in_a_container() -> None:
    """Which moves itself to a cgroup below, and gives the container's controllers on."""
    options = ("--systemd=always", "--volume", "/usr:/usr:ro")
    with podman_with("pyrunc") as podman:
        units = podman.root / "etc/systemd/system"
        units.mkdir(parents=True)
        for unit in Path("/etc/systemd/system").glob("dbus.*"):
            shutil.copy(unit, units)
        for file in ("passwd", "dbus.conf", "ld.so.cache"):
            shutil.copy(f"/etc/{file}", podman.root / "etc")
        (podman.root / "bin").rename(podman.root / "own")
        for folder in ("bin", "lib", "lib64"):
            (podman.root / folder).symlink_to(f"usr/{folder}")
        name = podman.start("/usr/bin/systemd", "--unit=dbus.service", options=options)
        state = ("exec", name, "systemctl", "is-system-running")
        wait_until(lambda: podman(*state).stdout == "running\n")
        assert podman.must("exec", name, "cat", "/proc/self/cgroup") == "0::/init.scope\n"
        podman.must("stop", "--time", "0", name)
