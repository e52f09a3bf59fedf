# SPDX-License-Identifier: Apache-2.0
"""The systemd driver sends requests that the real busctl accepts.

systemd itself does not run here. A program in the place of busctl records the requests and creates
the cgroup as systemd does.
"""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from cgrouping import cgroups_of, sleeper, unused_path, v2_layout
from launching import SECONDS
from libcontainer.cgroups import new_manager, systemd
from libcontainer.cgroups.fs2 import UnifiedManager
from libcontainer.cgroups.systemd import SystemdManager, expand_slice, unit_name
from libcontainer.cgroups.systemd_properties import limits, unit_properties, variant, words
from libcontainer.configs import BlockIODevice, Cgroup, DeviceRule, Resources
from libcontainer.errors import ConfigError
from libcontainer.pyrunc import state_root
from needs import needs
from nsenter._cgroups import files, systemd_bus
from nsenter._cgroups.systemd_bus import escaped
from nsenter._host.syscalls import Failure

UNLIMITED = str(2**64 - 1)
QUIET = Resources(skip_devices=True)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("machine.slice:libpod:abc", ("machine.slice", "libpod-abc.scope")),
        (":docker:abc", ("system.slice", "docker-abc.scope")),
        ("a-b.slice::abc", ("a-b.slice", "abc.scope")),
        ("a.slice::a-b.slice", ("a.slice", "a-b.slice")),
        ("", ("system.slice", "runc-box.scope")),
    ],
)
def test_slice_prefix_and_name(path: str, expected: tuple[str, str]) -> None:
    assert unit_name(Cgroup(path=path, name="box")) == expected


@pytest.mark.parametrize("path", ["/a/b", "a:b", "a:b:c:d", "a.slice:b:"])
def test_a_path_of_another_form_is_refused(path: str) -> None:
    with pytest.raises(ConfigError, match=r"linux\.cgroupsPath: .*slice:prefix:name"):
        unit_name(Cgroup(path=path))


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("-.slice", ""),
        ("system.slice", "/system.slice"),
        ("a-b-c.slice", "/a.slice/a-b.slice/a-b-c.slice"),
    ],
)
def test_the_path_of_a_slice(name: str, path: str) -> None:
    assert expand_slice(name) == path


@pytest.mark.parametrize("name", ["system", "a/b.slice", "-a.slice", "a--b.slice", ".slice"])
def test_what_is_no_slice_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is not the name of a slice"):
        expand_slice(name)


def properties(
    fields: dict[str, object], *, unified: bool = True, has_idle: bool = False
) -> list[tuple[str, str, str]]:
    found = limits(QUIET.replace(**fields), unified=unified, has_idle=has_idle)
    return [(name, kind, " ".join(value)) for name, kind, value in found]


@pytest.mark.parametrize(
    ("fields", "unified", "expected"),
    [
        ({}, True, []),
        ({"memory": 4096}, True, [("MemoryMax", "t", "4096")]),
        (
            {"memory": -1},
            True,
            [("MemorySwapMax", "t", UNLIMITED), ("MemoryMax", "t", UNLIMITED)],
        ),
        (
            {"memory": 4096, "memory_swap": 6144, "memory_reservation": 1024},
            True,
            [
                ("MemorySwapMax", "t", "2048"),
                ("MemoryMax", "t", "4096"),
                ("MemoryLow", "t", "1024"),
            ],
        ),
        ({"memory": 4096, "memory_swap": 6144}, False, [("MemoryLimit", "t", "4096")]),
        ({"cpu_shares": 1024}, True, [("CPUWeight", "t", "100")]),
        ({"cpu_shares": 1024}, False, [("CPUShares", "t", "1024")]),
        (
            {"cpu_quota": 12345},
            True,
            [("CPUQuotaPeriodUSec", "t", "100000"), ("CPUQuotaPerSecUSec", "t", "130000")],
        ),
        ({"cpu_quota": 50000}, False, [("CPUQuotaPerSecUSec", "t", "500000")]),
        (
            {"cpu_quota": -1, "cpu_period": 50000},
            True,
            [("CPUQuotaPeriodUSec", "t", "50000"), ("CPUQuotaPerSecUSec", "t", UNLIMITED)],
        ),
        ({"blkio_weight": 100}, False, [("BlockIOWeight", "t", "100")]),
        ({"blkio_weight": 100}, True, [("IOWeight", "t", "910")]),
        ({"pids_limit": 7}, True, [("TasksMax", "t", "7")]),
        ({"pids_limit": -1}, True, [("TasksMax", "t", UNLIMITED)]),
        ({"pids_limit": 0}, True, [("TasksMax", "t", "1")]),
        ({"cpuset_cpus": "0,9-10"}, True, [("AllowedCPUs", "ay", "2 1 6")]),
        ({"cpuset_mems": "1"}, True, [("AllowedMemoryNodes", "ay", "1 2")]),
        ({"cpuset_mems": "1"}, False, []),
        (
            {"unified": {"memory.high": "5", "pids.max": "max", "cpu.max": "max", "misc.max": "1"}},
            True,
            [
                ("MemoryHigh", "t", "5"),
                ("TasksMax", "t", UNLIMITED),
                ("CPUQuotaPerSecUSec", "t", UNLIMITED),
            ],
        ),
        ({"unified": {"memory.high": "5M", "cpu.max": "x 5", "cpuset.cpus": ""}}, True, []),
        ({"unified": {"cpuset.cpus": "x", "cpuset.mems": "0-x"}}, True, []),
    ],
)
def test_limits_that_systemd_knows(
    fields: dict[str, object], unified: bool, expected: list[tuple[str, str, str]]
) -> None:
    assert properties(fields, unified=unified) == expected


def test_devices_by_the_names_that_systemd_has_for_them() -> None:
    rules = [
        DeviceRule(),
        DeviceRule("c", -1, -1, "m", True),
        DeviceRule("b", -1, -1, "m", True),
        DeviceRule("c", 136, -1, "rwm", True),
        DeviceRule("c", 1, 3, "wr", True),
        DeviceRule("c", 4000, 7, "rwm", True),
    ]
    allowed = {n: v for n, _, v in limits(Resources(devices=rules), unified=True)}
    assert allowed["DevicePolicy"] == ["strict"]
    entries = allowed["DeviceAllow"][1:]
    pairs = dict(zip(entries[::2], entries[1::2], strict=True))
    assert pairs.pop("/dev/char/1:3", "rw") == "rw"
    assert pairs == {"char-*": "m", "block-*": "m", "char-pts": "rwm"}
    assert int(allowed["DeviceAllow"][0]) == len(entries) // 2


def test_all_devices() -> None:
    found = list(limits(Resources(devices=[DeviceRule(allow=True)]), unified=True))
    assert found == [("DevicePolicy", "s", ["auto"]), ("DeviceAllow", "a(ss)", ["0"])]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("true", ("b", ["true"])),
        ("5", ("i", ["5"])),
        ("-5", ("i", ["-5"])),
        ("uint64 5", ("t", ["5"])),
        ("'a b'", ("s", ["a b"])),
        ('"a"', ("s", ["a"])),
        ("['one', \"two\"]", ("as", ["2", "one", "two"])),
        ("[]", ("as", ["0"])),
    ],
)
def test_values_of_annotations(text: str, expected: tuple[str, list[str]]) -> None:
    assert variant("X", text) == expected


def test_a_value_without_quotes_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"org\.systemd\.property\.Who\]: 'me' is not a value"):
        variant("Who", "me")


def test_the_name_of_a_unit_in_a_path() -> None:
    assert escaped("libpod-1.scope") == "libpod_2d1_2escope"
    assert escaped("1.scope") == "_31_2escope"


def test_where_systemd_does_not_run_the_error_says_so() -> None:
    if Path(systemd_bus.RUNNING_SYSTEMD).is_dir():
        return
    manager = new_manager(Cgroup(path="system.slice:x:y", systemd=True))
    with pytest.raises(Failure, match="systemd is not running on this machine; run without"):
        manager.create()
    assert all(path.endswith("/system.slice/x-y.scope") for path in manager.paths().values())


def every_property() -> list[tuple[str, str, list[str]]]:
    cgroup = Cgroup(name="box", systemd_props={"TimeoutStopUSec": "uint64 5", "After": "['a.b']"})
    rules = [DeviceRule(), DeviceRule("c", -1, -1, "m", True)]
    resources = Resources(
        devices=rules, memory=-1, cpu_shares=5, cpu_quota=-1, cpu_period=5, pids_limit=3,
        cpuset_cpus="0-9", cpuset_mems="0",
    )  # fmt: skip
    return [
        *unit_properties(cgroup, "a.slice", is_slice=False),
        *unit_properties(cgroup, "a.slice", is_slice=True),
        *limits(resources, unified=True),
        *limits(resources, unified=False),
        ("PIDs", "au", ["1", "4242"]),
    ]


def test_the_real_busctl_takes_the_words(tmp_path: Path) -> None:
    """It gets as far as a bus on which there is no systemd."""
    config = tmp_path / "bus.conf"
    config.write_text(
        f"<busconfig><type>session</type><listen>unix:path={tmp_path}/bus</listen>"
        '<auth>EXTERNAL</auth><policy context="default"><allow own="*"/>'
        '<allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>'
        "</policy></busconfig>"
    )
    bus = subprocess.Popen(
        [needs("dbus-daemon", package="dbus-daemon"), f"--config-file={config}", "--nofork",
         "--print-address"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        assert bus.stdout is not None
        assert bus.stdout.readline().startswith(b"unix:path=")
        every = words(every_property())
        calls = {
            "StartTransientUnit": ("ssa(sv)a(sa(sv))", "x", "replace", *every, "0"),
            "SetUnitProperties": ("sba(sv)", "x", "true", *every),
            "StopUnit": ("ss", "x", "replace"),
            "ResetFailedUnit": ("s", "x"),
        }  # fmt: skip
        for method, arguments in calls.items():
            done = subprocess.run(
                [needs("busctl", package="systemd"), "--no-pager", "--", "call",
                 "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
                 "org.freedesktop.systemd1.Manager", method, *arguments],
                env={"DBUS_SYSTEM_BUS_ADDRESS": f"unix:path={tmp_path}/bus"},
                capture_output=True,
                text=True,
            )  # fmt: skip
            assert "org.freedesktop.systemd1 was not provided" in done.stderr, done.stderr
    finally:
        bus.send_signal(signal.SIGTERM)
        bus.wait()
        assert bus.stdout is not None
        bus.stdout.close()


# ---- with a program in busctl's place

BUSCTL = """#!/bin/sh
printf '%s\\n' "$*" >> "$NSX_CALLS"
case "$*" in
*StartTransientUnit*)
    if [ -e "$NSX_FAILED" ]; then echo "Call failed: Unit x already exists." >&2; exit 1; fi
    mkdir -p "$NSX_CGROUP"
    echo "$NSX_PID" > "$NSX_CGROUP/cgroup.procs" ;;
*ResetFailedUnit*) rm -f "$NSX_FAILED" ;;
*Version*) echo 's "'"${NSX_VERSION:-252.39-1~deb12u1}"'"' ;;
*ActiveState*) echo 's "active"' ;;
*ControlGroup*) echo 's "/user.slice/me"' ;;
*SetUnitProperties*) if [ -e "$NSX_FAILED" ]; then echo "Call failed: no" >&2; exit 1; fi ;;
esac
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    program = tmp_path / "bin" / "busctl"
    program.parent.mkdir()
    program.write_text(BUSCTL)
    program.chmod(0o755)
    noted = tmp_path / "calls"
    noted.touch()
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("NSX_CALLS", str(noted))
    monkeypatch.setenv("NSX_FAILED", str(tmp_path / "failed"))
    monkeypatch.setattr(systemd_bus, "RUNNING_SYSTEMD", str(tmp_path))
    return noted  # type: ignore[return-value]


def scope(name: str) -> tuple[SystemdManager, str]:
    """The manager of a scope in the root slice, on the real unified hierarchy."""
    cgroup = Cgroup(path=f"-.slice:nsx:{name}", name=name, systemd=True, resources=QUIET)
    place = cgroup.replace(path=systemd.cgroup_path(cgroup))
    manager = UnifiedManager(place, v2_layout(), None)
    return SystemdManager(cgroup, manager, unified=True), manager.paths()[""]


def test_a_scope_is_made_around_a_process_and_stopped(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager, path = scope(unused_path()[1:])
    monkeypatch.setenv("NSX_CGROUP", path)
    with sleeper() as child:
        monkeypatch.setenv("NSX_PID", str(child.pid))
        manager.create()
        assert not manager.exists()
        manager.set(QUIET.replace(cpu_shares=5))  # nothing to be set yet
        manager.add(child.pid)
        try:
            assert path.endswith(cgroups_of(child.pid)[""])
            assert manager.pids() == [child.pid]
            manager.set(QUIET)
            manager.kill(signal.SIGKILL)
            assert child.wait(SECONDS) == -signal.SIGKILL
        finally:
            manager.kill(signal.SIGKILL)
            manager.destroy()
    assert not Path(path).exists()
    noted = calls.read_text().splitlines()
    asked = [line.partition("systemd1.Manager ")[2].split(" ")[0] for line in noted]
    assert asked == ["StartTransientUnit", "", "StopUnit", "ResetFailedUnit"]
    assert f"PIDs au 1 {child.pid} 0" in noted[0]
    assert "Slice s -.slice Delegate b true DefaultDependencies b false" in noted[0]


def test_memory_that_is_in_use_is_checked_before_systemd_lowers_its_limit(
    calls: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Else the kernel kills the container before the check."""
    folder = tmp_path / "cgroup"
    folder.mkdir()
    (folder / "memory.current").write_text("8192\n")
    cgroup = Cgroup(path="-.slice:nsx:x", name="x", systemd=True, resources=QUIET)
    manager = SystemdManager(
        cgroup, UnifiedManager(cgroup, v2_layout(), {"": str(folder)}), unified=True
    )
    with pytest.raises(Failure, match="8192 bytes are in use"):
        manager.set(QUIET.replace(memory=4096, memory_check_before_update=True))
    assert calls.read_text() == ""


@pytest.mark.parametrize(
    ("version", "expected"), [("251-1", []), ("252", ["0"]), ("v257~rc1", ["0"]), ("", [])]
)
def test_idle_is_told_to_a_systemd_that_knows_it(
    calls: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, version: str, expected: list[str]
) -> None:
    monkeypatch.setenv("NSX_VERSION", version or "unknown")
    cgroup = Cgroup(path="-.slice:nsx:x", name="x", systemd=True, resources=QUIET)
    files_of_it = UnifiedManager(cgroup, v2_layout(), {"": str(tmp_path)})
    manager = SystemdManager(cgroup, files_of_it, unified=True)
    (tmp_path / "cpu.idle").touch()
    manager.set(QUIET.replace(cpu_idle=1))
    assert (tmp_path / "cpu.idle").read_text() == "1"
    asked = [line for line in calls.read_text().splitlines() if "SetUnitProperties" in line]
    assert [line.partition("CPUWeight t ")[2] for line in asked] == expected


def test_weights_of_devices_hide_that_of_all_from_nobody() -> None:
    found = properties({"blkio_weight": 500, "blkio_weight_device": [BlockIODevice(8, 0, 1000)]})
    assert found == [("IOWeight", "t", "4950")]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"cpu_idle": 1}, "0"),
        ({"cpu_idle": 1, "cpu_shares": 1024}, "0"),
        ({"cpu_idle": 0}, UNLIMITED),
        ({"cpu_idle": 0, "cpu_shares": 1024}, "100"),
        ({"unified": {"cpu.idle": "1", "cpu.weight": "5"}}, "0"),
        ({"unified": {"cpu.idle": " 0\n", "cpu.weight": " 5 "}}, "5"),
    ],
)
def test_idle_and_weight_are_one_to_systemd(fields: dict[str, object], expected: str) -> None:
    assert properties(fields, has_idle=True) == [("CPUWeight", "t", expected)]


def test_one_that_failed_before_is_forgotten(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, path = scope(unused_path()[1:])
    monkeypatch.setenv("NSX_CGROUP", path)
    (calls.parent / "failed").touch()
    with sleeper() as child:
        monkeypatch.setenv("NSX_PID", str(child.pid))
        manager.add(child.pid)
        manager.kill(signal.SIGKILL)
        child.wait()
        manager.destroy()
    assert calls.read_text().count("StartTransientUnit") == 2


def test_what_systemd_says_is_in_the_error(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager, path = scope(unused_path()[1:])
    Path(path).mkdir()
    (calls.parent / "failed").touch()
    try:
        with pytest.raises(Failure, match="call systemd SetUnitProperties: Call failed: no"):
            manager.set(QUIET.replace(cpu_shares=5))
    finally:
        Path(path).rmdir()


def test_without_busctl_the_error_says_what_to_install(
    calls: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(calls.parent / "none"))
    manager, _ = scope(unused_path()[1:])
    with pytest.raises(Failure, match="StartTransientUnit: busctl is not installed"):
        manager.add(1)


@pytest.mark.parametrize(("euid", "rootless"), [(4242, False), (0, True)])
def test_a_users_units_are_below_the_users_systemd(
    calls: Path, monkeypatch: pytest.MonkeyPatch, euid: int, rootless: bool
) -> None:
    """Also where the user is root in a user namespace, as podman's is."""
    monkeypatch.setattr(os, "geteuid", lambda: euid)
    cgroup = Cgroup(path=":nsx:box", name="box", rootless=rootless)
    assert systemd.cgroup_path(cgroup) == "/user.slice/me/user.slice/nsx-box.scope"
    assert "--user -- get-property" in calls.read_text()


@pytest.mark.parametrize("below", ["", "/job"])
def test_systemd_moves_a_process_that_we_may_not(
    calls: Path, monkeypatch: pytest.MonkeyPatch, below: str
) -> None:
    def refuse(path: str, pid: int) -> None:
        raise Failure("enter", path, errno.EACCES)

    manager, path = scope(unused_path()[1:])
    Path(path + below).mkdir(parents=True)
    monkeypatch.setattr(files, "enter", refuse)
    try:
        here = manager.below({"": below}) if below else manager
        here.add(4242)
    finally:
        files.remove(path)
    unit = path.rpartition("/")[2]
    assert calls.read_text().endswith(f"AttachProcessesToUnit ssau {unit} {below} 1 4242\n")


def test_a_process_is_cloned_into_a_unit_that_is_there(calls: Path) -> None:
    manager, path = scope(unused_path()[1:])
    assert (manager.fd(), manager.has_tasks_fds(), manager.tasks_fds()) == (None, False, [])
    Path(path).mkdir()
    fd = manager.for_further(1).fd()
    try:
        assert fd is not None
        assert os.path.samestat(os.fstat(fd), Path(path).stat())
    finally:
        if fd is not None:
            os.close(fd)
        Path(path).rmdir()


@pytest.mark.parametrize(
    ("said", "owner"), [("BusScope=user\nOwnerUID=1000\nPID=1", 1000), ("PID=1", 0), ("", 0)]
)
def test_whose_session_a_bus_is_of(
    calls: Path, monkeypatch: pytest.MonkeyPatch, said: str, owner: int
) -> None:
    status = f"echo '{said}'" if said else "exit 1"
    (calls.parent / "bin" / "busctl").write_text(f"#!/bin/sh\n{status}\n")
    assert systemd_bus.Bus(user=True).owner() == owner
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(state_root, "in_user_namespace", lambda: True)
    assert state_root.may_lack_cgroups("auto", systemd=True) == (owner != 0)
