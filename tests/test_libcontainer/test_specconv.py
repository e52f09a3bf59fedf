"""Each field of config.json arrives in the right field of a Config."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import libcontainer
import nsenter
from full_spec import FULL, IDS, SHORT, changed
from libcontainer.configs import (
    Capabilities,
    Config,
    Device,
    Hook,
    Hooks,
    IDMap,
    IOPriority,
    MemoryPolicy,
    Namespace,
    Namespaces,
    ProcessConfig,
    Rlimit,
    Scheduler,
    Seccomp,
    SyscallArgument,
    SyscallRule,
    TimeOffset,
)
from libcontainer.specconv import config_from_spec, process_from_spec
from libcontainer.specconv.example import example

MS_PRIVATE, MS_SLAVE, MS_REC = 1 << 18, 1 << 19, 0x4000


def convert(spec: Any, bundle: str = "/bundle", **options: Any) -> Config:
    return config_from_spec(spec, id="box", bundle=bundle, **options)


@pytest.fixture(scope="module")
def full() -> Config:
    return convert(FULL)


MAPS = (IDMap(0, 100000, 65536),)
HOOK = Hook("/bin/true", ("true", "x"), ("A=b",), 5)
CAPABILITIES = ("CAP_KILL", "CAP_OF_THE_FUTURE")

FIELDS: dict[str, Any] = {
    "rootfs": "/bundle/rootfs",
    "readonlyfs": True,
    "root_propagation": MS_SLAVE | MS_REC,
    "namespaces": Namespaces(
        map(Namespace, ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time"))
    ),
    "uid_mappings": MAPS,
    "gid_mappings": MAPS,
    "time_offsets": (TimeOffset("monotonic", -1, 5), TimeOffset("boottime", 7)),
    "hostname": "box",
    "domainname": "example.org",
    "capabilities": Capabilities(*[CAPABILITIES] * 5),
    "rlimits": (Rlimit(7, 2048, 1024), Rlimit(4, 2**64 - 1, 0)),
    "no_new_privileges": True,
    "apparmor_profile": "a-profile",
    "process_label": "system_u:system_r:container_t:s0",
    "mount_label": "system_u:object_r:container_file_t:s0",
    "oom_score_adj": 100,
    "umask": 0o77,
    "io_priority": IOPriority(2, 4),
    "scheduler": Scheduler(policy=3, flags=0x01 | 0x08, nice=19),
    "mask_paths": ("/proc/kcore",),
    "readonly_paths": ("/proc/sys",),
    "sysctl": {"net.ipv4.ip_forward": "1", "net.ipv4.conf.eth0/1.forwarding": "1"},
    "seccomp": Seccomp(
        default_action="SCMP_ACT_ERRNO",
        default_errno_ret=38,
        architectures=("SCMP_ARCH_X86_64", "SCMP_ARCH_RISCV64"),
        flags=("SECCOMP_FILTER_FLAG_LOG",),
        listener_path="/run/listener.sock",
        listener_metadata="who",
        syscalls=(
            SyscallRule(("read", "write"), "SCMP_ACT_ALLOW"),
            SyscallRule(("mount",), "SCMP_ACT_NOTIFY"),
            SyscallRule(
                ("clone",),
                "SCMP_ACT_ERRNO",
                1,
                (SyscallArgument(0, 2**64 - 1, "SCMP_CMP_MASKED_EQ", 7),),
            ),
        ),
    ),
    "hooks": Hooks(*[(HOOK,)] * 6),
    "personality": 8,
    "memory_policy": MemoryPolicy(2, 1 << 15, (0, 2, 3)),
    "net_devices": {"eth0": "ctr0", "eth1": "eth1"},
    "labels": (
        "com.example.key=value",
        "org.systemd.property.TimeoutStopSec=5",
        "bundle=/bundle",
    ),
    "version": "1.2.0",
}


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_of_the_file_is_in_the_config(full: Config, field: str) -> None:
    assert getattr(full, field) == FIELDS[field]


def test_what_the_file_does_not_say_is_at_its_default() -> None:
    told = dict(convert(SHORT)._told())

    assert told.keys() == {"rootfs", "devices", "namespaces", "cgroups", "labels", "version"}


def test_a_null_says_nothing() -> None:
    nulls = {"hostname": None, "mounts": None, "hooks": None, "annotations": None}

    assert convert(SHORT | nulls) == convert(SHORT)


@pytest.mark.parametrize("path", ["com.example", "root.x", "process.x", "linux.x", "linux.seccomp"])
def test_what_is_unknown_is_passed_over(path: str) -> None:
    assert convert(changed(SHORT, path, {"x": 1} if path != "linux.seccomp" else {})) == convert(
        SHORT
    )


def test_the_options_of_the_command_are_in_the_config() -> None:
    names = (
        "no_pivot_root", "readonly_submounts", "no_new_keyring", "rootless_euid",
        "rootless_cgroups",
    )  # fmt: skip
    config = convert(SHORT, **dict.fromkeys(names, True))

    assert all(getattr(config, name) for name in names)
    assert config.cgroups.rootless and config.cgroups.name == "box"


@pytest.mark.parametrize("version", ["1.0.0", "1.0.2-dev", "1.0.0-rc5", "1.1.0+dev", "1.3.0"])
def test_every_version_1_is_taken(version: str) -> None:
    assert convert(SHORT | {"ociVersion": version}).version == version


# ---- paths


def test_a_relative_root_is_in_the_bundle(tmp_path: Path) -> None:
    (tmp_path / "rootfs").mkdir()

    for path in ("rootfs", "./rootfs/", "rootfs/../rootfs"):
        spec = changed(SHORT, "root.path", path)
        assert convert(spec, str(tmp_path)).rootfs == f"{tmp_path}/rootfs"


def test_a_root_is_named_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")

    config = convert(changed(SHORT, "root.path", f"{tmp_path}/link"), str(tmp_path))

    assert config.rootfs == f"{tmp_path}/real"


def test_a_bundle_is_named_by_its_real_path(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)

    config = convert(SHORT, f"{tmp_path}/link/.")

    assert config.labels == (f"bundle={tmp_path}",)
    assert config.rootfs == f"{tmp_path}/rootfs"


# ---- devices


def test_the_usual_devices_come_first_and_the_file_s_win(full: Config) -> None:
    found = {device.path: device for device in full.devices}

    assert list(found) == [
        *("/dev/random", "/dev/full", "/dev/tty", "/dev/zero", "/dev/urandom"),
        *("/dev/fuse", "/dev/null", "/dev/fifo"),
    ]
    assert found["/dev/zero"] == Device("/dev/zero", "c", 1, 5, 0o666, 0, 0)
    assert found["/dev/fuse"] == Device("/dev/fuse", "c", 10, 229, 0o600, 1, 2)
    assert found["/dev/fifo"] == Device("/dev/fifo", "p", 0, 0)


@pytest.mark.parametrize("path", ["/dev/console", "/dev/ptmx", "/dev/pts/ptmx"])
def test_what_the_init_makes_itself_is_no_device(path: str) -> None:
    device = {"path": path, "type": "c", "major": 5, "minor": 2}

    assert convert(changed(SHORT, "linux.devices", [device])).devices == convert(SHORT).devices


# ---- the process


def test_a_process_has_all_that_the_file_says() -> None:
    assert process_from_spec(FULL["process"]) == ProcessConfig(
        args=("sh", "-c", "true"),
        env=("PATH=/bin", "EMPTY="),
        cwd="/tmp",
        uid=1,
        gid=2,
        additional_gids=(3, 4),
        umask=0o77,
        terminal=True,
        console_width=80,
        console_height=24,
        capabilities=FIELDS["capabilities"],
        rlimits=FIELDS["rlimits"],
        no_new_privileges=True,
        apparmor_profile="a-profile",
        process_label="system_u:system_r:container_t:s0",
        oom_score_adj=100,
        io_priority=FIELDS["io_priority"],
        scheduler=FIELDS["scheduler"],
        exec_cpu_affinity={"initial": "0", "final": "0-1,3"},
    )


def test_a_process_that_says_little_leaves_the_rest_to_the_container() -> None:
    told = dict(process_from_spec(SHORT["process"])._told())

    assert told == {"args": ("true",)}


def test_an_umask_has_permission_bits_alone() -> None:
    process = SHORT["process"] | {"user": {"umask": 0o1777}}

    assert process_from_spec(process).umask == 0o777


# ---- the cgroup


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("/a/b", "/a/b"),
        ("a/b", "a/b"),
        ("", ""),
        ("//a/./b/", "/a/b"),
        ("/../../a", "/a"),
        ("../../a", "a"),
        ("a/../../b", "b"),
    ],
)
def test_a_cgroup_is_never_outside_of_its_hierarchy(given: str, path: str) -> None:
    assert convert(changed(SHORT, "linux.cgroupsPath", given)).cgroups.path == path


def test_systemd_gets_its_path_and_properties() -> None:
    spec = changed(SHORT, "linux.cgroupsPath", "system.slice:pyrunc:box")
    prefix = "org.systemd.property."
    spec["annotations"] = {
        f"{prefix}TimeoutStopSec": "5",
        f"{prefix}RuntimeMaxSec": "uint64 7",
        f"{prefix}JobTimeoutSec": "1.5",
        f"{prefix}CollectMode": "'inactive-or-failed'",
        "other": "x",
    }

    cgroup = convert(spec, systemd_cgroup=True).cgroups

    assert (cgroup.systemd, cgroup.path) == (True, "system.slice:pyrunc:box")
    assert cgroup.systemd_props == {
        "TimeoutStopUSec": "uint64 5000000",
        "RuntimeMaxUSec": "uint64 7000000",
        "JobTimeoutUSec": "uint64 1500000",
        "CollectMode": "'inactive-or-failed'",
    }
    assert convert(spec).cgroups.systemd_props == {}


WRITABLE = {"destination": "/sys/fs/cgroup", "type": "cgroup2", "source": "cgroup"}
READONLY = WRITABLE | {"options": ["ro"]}


@pytest.mark.parametrize(
    ("kinds", "mount", "owner"),
    [
        (("mount", "cgroup", "user"), WRITABLE, 101000),
        (("mount", "cgroup"), WRITABLE, 1000),
        (("mount", "user"), WRITABLE, None),
        (("mount", "cgroup", "user"), READONLY, None),
    ],
)
def test_who_can_write_to_the_container_s_cgroup_owns_it(
    kinds: tuple[str, ...], mount: Any, owner: int | None
) -> None:
    spec = changed(SHORT, "linux.namespaces", [{"type": kind} for kind in kinds])
    if "user" in kinds:
        spec["linux"] |= {"uidMappings": IDS, "gidMappings": IDS}
    spec["process"]["user"] = {"uid": 1000, "gid": 1000}

    assert convert(spec | {"mounts": [mount]}).cgroups.owner_uid == owner


# ---- seccomp


def test_a_filter_without_flags_keeps_speculation_as_runc_does() -> None:
    spec = changed(SHORT, "linux.seccomp", {"defaultAction": "SCMP_ACT_ALLOW"})
    none = changed(spec, "linux.seccomp.flags", [])

    policy, flagless = convert(spec).seccomp, convert(none).seccomp
    assert policy and flagless
    assert policy.flags == ("SECCOMP_FILTER_FLAG_SPEC_ALLOW",)
    assert flagless.flags == ()


# ---- what it costs


def test_what_a_file_does_not_have_is_not_imported() -> None:
    code = (
        "import sys; from libcontainer.specconv import config_from_spec as c;"
        "from libcontainer.specconv.example import example;"
        "c(example(), id='x', bundle='/');"
        "print(*sorted(m for m in sys.modules if m.startswith('libcontainer.specconv.')))"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    lazy = {"seccomp", "hooks", "systemd", "features"}
    assert not {name.rpartition(".")[2] for name in shown.stdout.split()} & lazy


def test_nothing_heavy_is_imported() -> None:
    path = [*sys.path, *(str(Path(m.__file__).parents[1]) for m in (libcontainer, nsenter))]
    code = (
        f"import sys; sys.path[:] = {path!r};"
        "import libcontainer.specconv, libcontainer.configs.validate; print(*sys.modules)"
    )
    shown = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
    )

    heavy = {"dataclasses", "typing", "pathlib", "json", "re", "subprocess", "inspect", "logging"}
    assert not heavy & set(shown.stdout.split())


def test_a_config_comes_back_from_plain_data(full: Config) -> None:
    for config in (full, convert(SHORT), convert(example())):
        assert Config.from_data(config.to_data()) == config
        assert Config.from_data(config.to_data(full=True)) == config
