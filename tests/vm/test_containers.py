# SPDX-License-Identifier: Apache-2.0
"""The limits of a container are in the files of cgroup v2 and have their effect."""

from __future__ import annotations

import json
import os
import re
import resource
import select
import subprocess
from pathlib import Path
from typing import Any

import pytest
import session
from containers import RUNTIMES, Box, Runtime, in_cgroup, of_user, resources, running, runtime
from limits import LIMITS, MIB, NEWER_THAN_THIS_RUNC
from session import CGROUPS, UID

from interop.oci_bundles import Config, made, shell, write_bundle
from needs import needs
from processes import wait_until

# --- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", LIMITS)
def test_a_limit_is_in_the_files_of_the_cgroup_and_all_are_as_runc_leaves_them(
    pyrunc: Runtime, folder: Path, case: str
) -> None:
    limits, expected = LIMITS[case]
    with running(pyrunc, folder, resources(limits)) as box:
        assert {name: box.file(name) for name in expected} == expected
        assert {name: box.file_inside(name) for name in expected} == expected
        settings = box.settings()
    with running(runtime("runc", folder), folder, resources(limits)) as box:
        theirs = box.settings()
    for name in NEWER_THAN_THIS_RUNC:
        del settings[name], theirs[name]
    assert settings == theirs


def test_the_cgroups_on_the_way_are_made_and_pass_on_every_controller(
    pyrunc: Runtime, folder: Path
) -> None:
    top = CGROUPS / "top"
    with running(pyrunc, folder, parent="/top/middle") as box:
        assert str(box.pid) in box.file("cgroup.procs").split()
        for path in (top, top / "middle"):
            passed_on = (path / "cgroup.subtree_control").read_text().split()
            assert passed_on == (path / "cgroup.controllers").read_text().split()
    (top / "middle").rmdir()
    top.rmdir()


def test_no_process_is_moved_into_the_cgroup(pyrunc: Runtime, folder: Path) -> None:
    trace = folder / "trace"
    strace = [str(needs("strace", package="strace")), "-f", "-e", "trace=open,openat,mkdir"]
    traced = Runtime("pyrunc", (*strace, "-o", str(trace), *pyrunc.argv))
    edits = (in_cgroup("/traced"), resources({"pids": {"limit": 33}}))
    config = made(folder / "root", ["cat", "/sys/fs/cgroup/cgroup.procs"], *edits)
    bundle = write_bundle(folder / "traced", config)
    assert traced("run", "--bundle", str(bundle), "traced") == "1\n"
    calls = trace.read_text()
    assert f'mkdir("{CGROUPS}/traced"' in calls
    assert f"{CGROUPS}/traced/pids.max" in calls
    assert not re.search(r'/cgroup\.procs", O_(WRONLY|RDWR)', calls)


def test_a_container_is_refused_a_controller_that_it_would_need_by_name(
    pyrunc: Runtime, folder: Path
) -> None:
    limits = resources({"unified": {"nothing.max": "1"}})
    with (
        pytest.raises(AssertionError, match=r"nothing\.max"),
        running(pyrunc, folder, limits),
    ):
        raise NotImplementedError("it runs")


def test_update_changes_the_files_as_runc_does(each: Runtime, folder: Path) -> None:
    words = {
        "--memory": str(80 * MIB),
        "--memory-swap": str(90 * MIB),
        "--memory-reservation": str(10 * MIB),
        "--cpu-quota": "20000",
        "--cpu-period": "50000",
        "--cpu-share": "2048",
        "--cpuset-cpus": "0",
        "--pids-limit": "55",
    }
    with running(each, folder, resources({"pids": {"limit": 33}, "cpu": {"cpus": "1"}})) as box:
        box("update", *(word for pair in words.items() for word in pair))
        changed = {
            "memory.max": str(80 * MIB),
            "memory.swap.max": str(10 * MIB),
            "memory.low": str(10 * MIB),
            "cpu.max": "20000 50000",
            "cpu.weight": "174" if each.name == "pyrunc" else "79",  # before runc 1.3.2
            "cpuset.cpus": "0",
            "pids.max": "55",
        }
        assert {name: box.file(name) for name in changed} == changed
        assert box.exec("echo >/dev/null && echo well") == "well\n", "its devices are as before"


@pytest.mark.parametrize("shares", [{}, {"shares": 512}])
def test_an_idle_container_can_be_updated(
    pyrunc: Runtime, folder: Path, shares: dict[str, int]
) -> None:
    with running(pyrunc, folder, resources({"cpu": shares})) as box:
        box("update", "--cpu-idle", "1")
        for word, file, value in (
            ("--pids-limit=20", "pids.max", "20"),
            ("--memory=67108864", "memory.max", "67108864"),
            ("--cpu-quota=20000", "cpu.max", "20000 100000"),
        ):
            box("update", word)
            assert box.file(file) == value
        assert box.file("cpu.idle") == "1"
        box("update", "--cpu-idle", "0", "--cpu-share", "2048", "--pids-limit=-1")
        found = [box.file(name) for name in ("cpu.idle", "cpu.weight", "pids.max")]
        assert found == ["0", "174", "max"]
        box("update", "--pids-limit=0")
        assert box.file("pids.max") == "1"


# --- devices -------------------------------------------------------------------------------------

DEVICE_RULES = [
    {"allow": False, "access": "rwm"},
    {"allow": True, "type": "b", "major": 7, "minor": 0, "access": "rm"},
    {"allow": True, "type": "c", "major": 10, "access": "rwm"},
]
# What is tried, in the container's own /dev, and whether it is allowed.
TRIED = {
    "mknod /dev/a b 7 0": True,
    "dd if=/dev/a of=/tmp/a count=0": True,
    "dd if=/dev/zero of=/dev/a count=0 conv=notrunc": False,
    # By default all nodes may be made, and what they stand for not be opened.
    "mknod /dev/b b 7 1": True,
    "dd if=/dev/b of=/tmp/b count=0": False,
    "mknod /dev/c c 1 11": True,
    "dd if=/dev/c of=/tmp/c count=0": False,
    "mknod /dev/d c 10 229": True,
    "dd if=/dev/d of=/tmp/d count=0": True,
    "dd if=/dev/zero of=/dev/null count=1": True,
}


def _may_make_nodes(config: Config) -> None:
    for names in config["process"]["capabilities"].values():
        names.append("CAP_MKNOD")


def _has_tmp(config: Config) -> None:
    config["mounts"].append({"type": "tmpfs", "source": "tmpfs", "destination": "/tmp"})


def test_devices_are_what_the_rules_say(each: Runtime, folder: Path) -> None:
    edits = (_may_make_nodes, _has_tmp, resources({"devices": DEVICE_RULES}))
    with running(each, folder, *edits) as box:
        said = box.exec("; ".join(f"({words}) 2>&1 && echo done" for words in TRIED))
    results = [line for line in said.splitlines() if " records " not in line]
    expected = ["done" if allowed else "Operation not permitted" for allowed in TRIED.values()]
    assert [line.rpartition(": ")[2] for line in results] == expected


# --- its view of the cgroups ---------------------------------------------------------------------

HOST_OPTIONS = "nsdelegate,memory_recursiveprot"


def _in_the_hosts_cgroup_namespace(config: Config) -> None:
    namespaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [ns for ns in namespaces if ns["type"] != "cgroup"]


def _mounted_at_cgroups(mountinfo: str) -> tuple[str, str, str, str]:
    """The root, the flags, the propagation and the type of the mount of cgroups."""
    line = next(line for line in mountinfo.splitlines() if line.split()[4] == str(CGROUPS))
    left, right = line.split(" - ")
    _, _, _, root, _, flags, *propagation = left.split()
    return root, flags, " ".join(propagation), right.split()[0]


def _options_of_the_host() -> str:
    mountinfo = Path("/proc/self/mountinfo").read_text().splitlines()
    return next(line.split()[-1] for line in mountinfo if line.split()[4] == str(CGROUPS))


def test_without_a_cgroup_namespace_it_sees_the_hosts_cgroups_as_with_runc(folder: Path) -> None:
    """A new mount, as runc's, takes the host's options away from the hierarchy; a bind does not."""
    seen = []
    try:
        for name in RUNTIMES:
            with running(runtime(name, folder), folder, _in_the_hosts_cgroup_namespace) as box:
                seen.append(_mounted_at_cgroups(box.exec("cat /proc/self/mountinfo")))
                assert box.id in box.exec("ls /sys/fs/cgroup")
                if name == "pyrunc":
                    assert _options_of_the_host() == f"rw,{HOST_OPTIONS}"
    finally:
        session.run(["mount", "-o", f"remount,{HOST_OPTIONS}", str(CGROUPS)])
    assert seen[0] == seen[1]
    assert seen[0][0] == "/"


# --- its processes -------------------------------------------------------------------------------


def test_a_paused_container_stands_still(each: Runtime, folder: Path) -> None:
    with running(each, folder) as box:
        box("pause")
        assert (box.status(), box.file("cgroup.freeze")) == ("paused", "1")
        assert "frozen 1" in box.file("cgroup.events")
        assert box.runtime.run("exec", box.id, "true").returncode != 0
        box("resume")
        assert (box.status(), box.file("cgroup.freeze")) == ("running", "0")
        assert "frozen 0" in box.file("cgroup.events")


def test_a_paused_container_is_deleted_by_force(pyrunc: Runtime, folder: Path) -> None:
    with running(pyrunc, folder) as box:
        box("pause")
        box("delete", "--force")
        assert not box.cgroup.exists()


def _shared_pids(config: Config) -> None:
    namespaces = config["linux"]["namespaces"]
    config["linux"]["namespaces"] = [ns for ns in namespaces if ns["type"] != "pid"]


def test_without_a_pid_namespace_every_process_of_the_cgroup_is_killed(
    pyrunc: Runtime, folder: Path
) -> None:
    many = shell("sleep 1000 & setsid sleep 1000 & wait")
    with running(pyrunc, folder, _shared_pids, args=many) as box:
        wait_until(lambda: box.file("pids.current") == "3")
        pids = box.file("cgroup.procs").split()
        box("delete", "--force")
        assert [pid for pid in pids if Path(f"/proc/{pid}/exe").exists()] == []


def test_exec_goes_into_the_cgroup_and_into_one_below(each: Runtime, folder: Path) -> None:
    with running(each, folder) as box:
        assert box.exec("cat /proc/self/cgroup") == "0::/\n"
        (box.cgroup / "below").mkdir()
        said = box.runtime("exec", "--cgroup", "below", box.id, "cat", "/proc/self/cgroup")
        assert said == "0::/below\n"
        (box.cgroup / "below").rmdir()


def test_exec_goes_where_the_init_is_once_the_cgroup_takes_no_process(
    each: Runtime, folder: Path
) -> None:
    with running(each, folder, args=["sleep", "1000"]) as box:
        (box.cgroup / "init").mkdir()
        (box.cgroup / "init/cgroup.procs").write_text(box.file("cgroup.procs"))
        assert box.exec("cat /proc/self/cgroup") == "0::/\n"
        (box.cgroup / "cgroup.subtree_control").write_text("+pids")
        assert box.exec("cat /proc/self/cgroup") == "0::/init\n"
        said = box.runtime("exec", "--cgroup", "init", box.id, "cat", "/proc/self/cgroup")
        assert said == "0::/init\n"
        done = box.runtime.run("exec", "--cgroup", "/", box.id, "true")
        assert (done.returncode, "resource busy" in done.stderr.lower()) == (255, True)


# What either runtime leaves out of its statistics where there was none of it yet.
LEFT_OUT_AT_0 = {
    *(".blkio.ioServiceBytesRecursive", ".blkio.ioServicedRecursive", ".memory.cache"),
    *(".memory.kernel.usage", ".memory.kernelTCP.usage", ".memory.swap.max"),
    *(f".cpu.throttling.{name}" for name in ("periods", "throttledPeriods", "throttledTime")),
}


def test_stats_are_those_of_the_cgroup(pyrunc: Runtime, folder: Path) -> None:
    limits = resources({"memory": {"limit": 64 * MIB}, "pids": {"limit": 33}})
    with running(pyrunc, folder, limits) as box:
        ours = _stats(box)
    with running(runtime("runc", folder), folder, limits) as box:
        theirs = _stats(box)
    assert ours["memory"]["usage"]["limit"] == 64 * MIB
    assert 0 < ours["memory"]["usage"]["usage"] < 64 * MIB
    assert ours["pids"]["limit"] == 33
    assert ours["cpu"]["usage"]["total"] > 0
    # Of networks that runc itself set up, once.
    assert theirs["network_interfaces"] is ours["network_interfaces"] is None
    assert _names(theirs) - LEFT_OUT_AT_0 <= _names(ours)


def _stats(box: Box) -> dict[str, Any]:
    event = json.loads(box.runtime("events", "--stats", box.id))
    assert (event["type"], event["id"]) == ("stats", box.id)
    stats: dict[str, Any] = event["data"]
    return stats


def _names(value: object, path: str = "") -> set[str]:
    """Of the members in it, as paths; what counts a thing of many counts as one."""
    if not isinstance(value, dict):
        return set()
    found = {f"{path}.{name}" for name in value}
    return found.union(*(_names(item, f"{path}.{name}") for name, item in value.items()))


EAT = ["tail", "/dev/zero"]  # looks for the end of a line


def test_memory_that_runs_out_is_an_event(each: Runtime, folder: Path) -> None:
    limits = resources({"memory": {"limit": 24 * MIB, "swap": 24 * MIB}})
    command = [*each.argv, "events", "--interval", "1h"]
    with (
        running(each, folder, limits) as box,
        subprocess.Popen([*command, box.id], stdout=subprocess.PIPE, bufsize=0) as events,
    ):
        assert events.stdout is not None
        told: list[dict[str, Any]] = []
        try:
            while not any(event["type"] == "oom" for event in told):
                # It may not watch yet, of which it does not tell.
                assert each.run("exec", box.id, *EAT).returncode == 128 + 9
                while select.select([events.stdout], [], [], 0.5)[0]:
                    told.append(json.loads(events.stdout.readline()))
            assert told[-1] == {"type": "oom", "id": box.id}
        finally:
            events.terminate()


def test_a_container_that_eats_its_memory_is_killed_as_the_shell_tells(
    each: Runtime, folder: Path
) -> None:
    limits = resources({"memory": {"limit": 24 * MIB, "swap": 24 * MIB}})
    config = made(folder / "root", EAT, in_cgroup("/eats"), limits)
    bundle = write_bundle(folder / f"eats-{each.name}", config)
    assert each.run("run", "--bundle", str(bundle), "eats").returncode == 128 + 9
    assert not (CGROUPS / "eats").exists()


# --- what takes every capability -----------------------------------------------------------------


def test_a_score_for_the_oom_killer_can_be_negative(each: Runtime, folder: Path) -> None:
    with running(each, folder, lambda c: c["process"].update(oomScoreAdj=-500)) as box:
        assert Path(f"/proc/{box.pid}/oom_score_adj").read_text() == "-500\n"
        assert box.exec("cat /proc/self/oom_score_adj") == "-500\n"


def test_limits_of_a_process_can_be_raised(pyrunc: Runtime, folder: Path) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = {"type": "RLIMIT_NOFILE", "soft": hard * 2 - 1, "hard": hard * 2}
    raised = [str(hard * 2 - 1), str(hard * 2)]
    with running(pyrunc, folder, lambda c: c["process"].update(rlimits=[limit])) as box:
        limits = Path(f"/proc/{box.pid}/limits").read_text()
        assert limits.partition("Max open files")[2].split()[:2] == raised
        assert box.exec("ulimit -Sn; ulimit -Hn").split() == raised


# --- delegation ----------------------------------------------------------------------------------


def _user_namespace_with_writable_cgroup(config: Config) -> None:
    mapping = [{"containerID": 0, "hostID": 100_000, "size": 65536}]
    config["linux"]["namespaces"].append({"type": "user"})
    config["linux"].update(uidMappings=mapping, gidMappings=mapping)
    for mount in config["mounts"]:
        if mount["type"] == "cgroup":
            mount["options"].remove("ro")


def test_a_cgroup_is_delegated_to_the_root_of_a_user_namespace(
    pyrunc: Runtime, folder: Path
) -> None:
    """As config-linux.md has it, "Cgroup ownership"; runc does so with systemd's driver alone."""
    delegated = set(Path("/sys/kernel/cgroup/delegate").read_text().split())
    with running(pyrunc, folder, _user_namespace_with_writable_cgroup) as box:
        files = {path.name: path.stat().st_uid for path in box.cgroup.iterdir()}
        assert box.cgroup.stat().st_uid == 100_000
        owned = {name for name, uid in files.items() if uid == 100_000}
        assert owned == delegated & files.keys()
        move = "cd /sys/fs/cgroup && mkdir below && echo $$ >below/cgroup.procs"
        assert box.exec(f"{move} && cat /proc/self/cgroup") == "0::/below\n"


@pytest.fixture(params=RUNTIMES)
def of_the_user(request: pytest.FixtureRequest, folder: Path) -> Runtime:
    state = folder / "of-the-user"
    state.mkdir(exist_ok=True)
    os.chown(state, UID, UID)
    return runtime(request.param, state, by=session.as_the_user)


def test_a_user_limits_containers_in_a_cgroup_that_is_delegated_to_it(
    of_the_user: Runtime, folder: Path
) -> None:
    limits = resources(
        {
            "memory": {"limit": 64 * MIB},
            "pids": {"limit": 33},
            "cpu": {"quota": 50_000, "period": 100_000, "cpus": "1"},
        }
    )
    with running(of_the_user, folder, of_user, limits, parent="/user", rootless=True) as box:
        assert box.file("memory.max") == str(64 * MIB)
        assert box.file("pids.max") == "33"
        assert box.file("cpu.max") == "50000 100000"
        assert box.file("cpuset.cpus.effective") == "1"
        assert str(box.pid) in box.file("cgroup.procs").split()
        box("pause")
        assert "frozen 1" in box.file("cgroup.events")
        box("resume")
        box("update", "--pids-limit", "44")
        assert box.file("pids.max") == "44"
