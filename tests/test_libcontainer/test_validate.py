"""validate refuses a bad configuration with the place and the reason, and accepts the good ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from full_spec import IDS, SHORT, changed
from libcontainer import labels
from libcontainer.configs import (
    Config,
    Hook,
    Hooks,
    IDMap,
    IOPriority,
    Mount,
    Namespace,
    Namespaces,
    Scheduler,
    TimeOffset,
)
from libcontainer.configs.validate import validate
from libcontainer.errors import ConfigError
from libcontainer.specconv import config_from_spec
from libcontainer.specconv.example import example
from needs import needs
from nsenter import idmap
from processes import THIS_RUN

KINDS = ("pid", "network", "ipc", "uts", "mount", "user", "cgroup", "time")
MAPS = (IDMap(0, 100000, 65536),)
BIND = 0x1000
OURS = "/proc/self/ns"
OUR_MAP = idmap.parse(Path("/proc/self/uid_map").read_bytes())


def config(*kinds: str, **fields: Any) -> Config:
    """A configuration with a mount namespace and others, and the fields given."""
    namespaces = Namespaces(Namespace(kind) for kind in ("mount", *kinds))
    maps = {"uid_mappings": MAPS, "gid_mappings": MAPS} if "user" in kinds else {}
    return Config(**{"rootfs": "/", "namespaces": namespaces, **maps, **fields})


def joined(kind: str, path: str, **fields: Any) -> Config:
    return config(namespaces=Namespaces([Namespace("mount"), Namespace(kind, path)]), **fields)


def no_mount_namespace(**fields: Any) -> Config:
    return config(namespaces=Namespaces(), **fields)


def limited(**limits: Any) -> Config:
    spec = changed(SHORT, "linux.resources", limits) | {"root": {"path": "/"}}
    return config_from_spec(spec, id="x", bundle="/")


def mounted(*kinds: str, rootless: bool = False, **fields: Any) -> Config:
    mount = Mount(
        **{"destination": "/x", "source": "/y", "device": "bind", "flags": BIND, **fields}
    )
    return config(*kinds, mounts=(mount,), rootless_euid=rootless)


ADD = 'add {{"type": "{}"}} to linux.namespaces'
BATCH, FIFO, RR, DEADLINE = 3, 1, 2, 6

REFUSALS: dict[str, tuple[Config, str, str]] = {
    # the root
    "a relative root": (config(rootfs="x"), "root.path", "'x' is not an absolute path"),
    "no root": (config(rootfs="/no/such"), "root.path", "no such file or directory"),
    "a file for a root": (config(rootfs="/etc/passwd"), "root.path", "not a directory"),
    "an unclean root": (config(rootfs="/usr/../etc"), "root.path", "use '/etc'"),
    "a link for a root": (config(rootfs="/proc/self/root"), "root.path", "is not clean or a symb"),
    "a root with a NUL": (config(rootfs="/a\0"), "root.path", "embedded null"),
    # namespaces that are missing
    "hostname": (config(hostname="x"), "hostname", ADD.format("uts")),
    "domainname": (config(domainname="x"), "domainname", ADD.format("uts")),
    "masks": (no_mount_namespace(mask_paths=("/x",)), "linux.maskedPaths", ADD.format("mount")),
    "read-only paths": (
        no_mount_namespace(readonly_paths=("/x",)), "linux.readonlyPaths", ADD.format("mount")
    ),
    "mounts": (
        no_mount_namespace(mounts=(Mount("/x", device="tmpfs"),)), "mounts", ADD.format("mount")
    ),
    "propagation": (
        no_mount_namespace(root_propagation=1 << 18), "linux.rootfsPropagation", ADD.format("mount")
    ),
    "a read-only root": (no_mount_namespace(readonlyfs=True), "root.readonly", ADD.format("mount")),
    "uid mappings": (config(uid_mappings=MAPS), "linux.uidMappings", ADD.format("user")),
    "gid mappings": (config(gid_mappings=MAPS), "linux.gidMappings", ADD.format("user")),
    "time offsets": (
        config(time_offsets=(TimeOffset("boottime", 1),)), "linux.timeOffsets", ADD.format("time")
    ),
    # namespaces
    "a namespace that is not there": (
        joined("pid", "/no/such"), "linux.namespaces[1].path", "stat /no/such: no such file"
    ),
    "no uid mappings": (
        config("user", uid_mappings=()), "linux.uidMappings", "enabled, but no uid mappings found"
    ),
    "no gid mappings": (
        config("user", gid_mappings=()), "linux.gidMappings", "enabled, but no gid mappings found"
    ),
    "no root in the mappings": (
        config("user", uid_mappings=(IDMap(1, 0, 5),)), "linux.uidMappings", "id 0, the root of the"
    ),
    "mappings that overlap": (
        config("user", gid_mappings=(IDMap(0, 0, 5), IDMap(4, 9, 1))),
        "linux.gidMappings",
        "overlap",
    ),
    "mappings of another namespace": (
        joined("user", f"{OURS}/user", uid_mappings=MAPS), "linux.uidMappings", "leave it out"
    ),
    "offsets of a joined time namespace": (
        joined("time", f"{OURS}/time", time_offsets=(TimeOffset("boottime", 1),)),
        "linux.timeOffsets",
        "a time namespace that is joined",
    ),
    "a clock twice": (
        config("time", time_offsets=(TimeOffset("boottime", 1), TimeOffset("boottime", 2))),
        "linux.timeOffsets",
        "a clock is given twice",
    ),
    "too many nanoseconds": (
        config("time", time_offsets=(TimeOffset("boottime", 1, 10**9),)),
        "linux.timeOffsets.boottime.nanosecs",
        "not a second's",
    ),
    # paths and labels
    "a relative mask": (
        config(mask_paths=("/x", "y")), "linux.maskedPaths[1]", "'y' is not an absolute path"
    ),
    "a relative read-only path": (
        config(readonly_paths=("y",)), "linux.readonlyPaths[0]", "'y' is not an absolute path"
    ),
    # mounts
    "a relative destination": (
        mounted(destination="x"), "mounts[0].destination", "'x' is not absolute"
    ),
    "a relative bind": (mounted(source="x"), "mounts[0].source", "'x' is not absolute"),
    "options for no file system": (
        mounted(data="size=1m"), "mounts[0].options", "'size=1m' is an option of a file system"
    ),
    "an id mapping for an attribute": (
        mounted(rec_attr_set=0x100000), "mounts[0].options", "use idmap"
    ),
    "an id-mapped tmpfs": (
        mounted(flags=0, device="tmpfs", idmap=True), "mounts[0]", "add the option bind"
    ),
    "an id mapping without root": (
        mounted("user", idmap=True, rootless=True), "mounts[0]", "requires root"
    ),
    "an id mapping of one kind": (
        mounted(idmap=True, uid_mappings=MAPS), "mounts[0].gidMappings", "go together"
    ),
    "an id mapping of the other kind": (
        mounted(idmap=True, gid_mappings=MAPS), "mounts[0].uidMappings", "go together"
    ),
    "an id mapping that overlaps": (
        mounted(idmap=True, uid_mappings=MAPS * 2, gid_mappings=MAPS),
        "mounts[0].uidMappings",
        "overlap",
    ),
    "an id mapping by nothing": (
        mounted(idmap=True), "mounts[0]", "has none: add uidMappings and gidMappings"
    ),
    # without root
    "no user namespace without root": (
        config(rootless_euid=True), "linux.namespaces", "rootless container requires user"
    ),
    "a uid that is not mapped": (
        mounted("user", rootless=True, flags=0, device="tmpfs", data="size=1m,uid=70000"),
        "mounts[0].options",
        "'uid=70000': this id is not in linux.uidMappings",
    ),
    "a gid that is not mapped": (
        mounted("user", rootless=True, flags=0, device="devpts", data="gid=65536"),
        "mounts[0].options",
        "'gid=65536': this id is not in linux.gidMappings",
    ),
    # scheduling
    "a nice of nobody": (
        config(scheduler=Scheduler(BATCH, nice=20)), "process.scheduler.nice", "is not in -20..19"
    ),
    **{
        f"a nice of nobody, policy {policy}": (
            config(scheduler=Scheduler(policy, nice=-21, priority=5)),
            "process.scheduler.nice",
            "is not in -20..19",
        )
        for policy in (FIFO, RR)
    },
    **{
        f"priority {priority} of real time": (
            config(scheduler=Scheduler(RR, priority=priority)),
            "process.scheduler.priority",
            "is not in 1..99",
        )
        for priority in (0, 100)
    },
    "a runtime that is tiny": (
        config(scheduler=Scheduler(DEADLINE, runtime=1023, deadline=2000)),
        "process.scheduler.runtime",
        "1023 ns",
    ),
    "a deadline before its runtime": (
        config(scheduler=Scheduler(DEADLINE, runtime=3000, deadline=2000)),
        "process.scheduler.deadline",
        "2000 is less than runtime, 3000",
    ),
    "a period before its deadline": (
        config(scheduler=Scheduler(DEADLINE, runtime=2000, deadline=2000, period=1999)),
        "process.scheduler.period",
        "1999 is less than deadline, 2000",
    ),
    "a period that is too long": (
        config(scheduler=Scheduler(DEADLINE, runtime=2000, deadline=2**63)),
        "process.scheduler.period",
        "is more than",
    ),
    "a priority without real time": (
        config(scheduler=Scheduler(BATCH, priority=1)),
        "process.scheduler.priority",
        "requires SCHED_FIFO or SCHED_RR",
    ),
    **{
        f"a {name} without deadline": (
            config(scheduler=Scheduler(FIFO, priority=1, **{name: 1})),
            f"process.scheduler.{name}",
            "requires SCHED_DEADLINE",
        )
        for name in ("runtime", "deadline", "period")
    },
    "an I/O class of nobody": (
        config(io_priority=IOPriority(0)), "process.ioPriority.class", "no class of ioprio_set(2)"
    ),
    "an I/O priority of nobody": (
        config(io_priority=IOPriority(1, 8)), "process.ioPriority.priority", "8 is not in 0..7"
    ),
    "an OOM score of nobody": (
        config(oom_score_adj=-1001), "process.oomScoreAdj", "-1001 is not in -1000..1000"
    ),
    # hooks
    "a relative hook": (
        config(hooks=Hooks(create_runtime=(Hook("/x"), Hook("y")))),
        "hooks.createRuntime[1].path",
        "'y' is not an absolute path",
    ),
    "a hook without time": (
        config(hooks=Hooks(poststop=(Hook("/x", timeout=0),))),
        "hooks.poststop[0].timeout",
        "more than 0",
    ),
    # resources
    "less with swap than without": (
        limited(memory={"limit": 2**24, "swap": 2**23}),
        "linux.resources.memory.swap",
        "less than memory alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_it_is_refused_by_its_place(name: str) -> None:
    broken, where, reason = REFUSALS[name]

    with pytest.raises(ConfigError) as refused:
        validate(broken)

    assert refused.value.path == where
    assert reason in refused.value.reason


TAKEN: dict[str, Config] = {
    "no namespace at all": config(namespaces=Namespaces()),
    "all of them": config(*(kind for kind in KINDS if kind != "mount"), hostname="x"),
    "what is joined": joined("uts", f"{OURS}/uts", hostname="x"),
    "a user namespace with its mappings": joined("user", f"{OURS}/user", uid_mappings=OUR_MAP),
    "mappings of a namespace that nobody is known to be in": joined(
        "user", "/etc/passwd", uid_mappings=MAPS
    ),
    "an id mapping of its own": mounted(idmap=True, uid_mappings=MAPS, gid_mappings=MAPS),
    "an id mapping by the container's": mounted("user", idmap=True),
    "ids that are mapped, without root": mounted(
        "user", rootless=True, flags=0, device="tmpfs", data="uid=65535,gid=0,uid=me"
    ),
    "any id with root": mounted(flags=0, device="tmpfs", data="uid=70000"),
    "a nice that is not used": config(scheduler=Scheduler(FIFO, nice=19, priority=99)),
    "a deadline": config(scheduler=Scheduler(DEADLINE, runtime=1024, deadline=1024, period=2000)),
    "a deadline that is its period": config(
        scheduler=Scheduler(DEADLINE, runtime=1024, deadline=2000)
    ),
    "memory and swap": limited(memory={"limit": 2**23, "swap": 2**24}),
    "swap without end": limited(memory={"limit": 2**23, "swap": -1}),
    "a hook": config(hooks=Hooks(prestart=(Hook("/x", timeout=1),))),
}


@pytest.mark.parametrize("name", TAKEN)
def test_it_is_taken(name: str) -> None:
    validate(TAKEN[name])


@pytest.mark.parametrize("field", ["process_label", "mount_label", "apparmor_profile"])
def test_a_label_takes_the_module_that_reads_it(field: str) -> None:
    """See test_labels.py for what a machine with one says."""
    if labels.apparmor_is_enabled() if field == "apparmor_profile" else labels.selinux_is_enabled():
        return
    with pytest.raises(ConfigError, match="is not enabled on this machine: leave it out"):
        validate(config(**{field: "x"}))


def test_a_joined_namespace_s_mappings_may_come_in_any_order() -> None:
    both = (IDMap(0, 100000, 1), IDMap(1, 200000, 1))
    child = subprocess.Popen(
        ["unshare", "-U", "sh", "-c", "echo; exec sleep 60"], stdout=subprocess.PIPE
    )
    try:
        assert child.stdout and child.stdout.readline()
        Path(f"/proc/{child.pid}/uid_map").write_text("0 100000 1\n1 200000 1\n")
        path = f"/proc/{child.pid}/ns/user"

        validate(joined("user", path, uid_mappings=both[::-1]))
        with pytest.raises(ConfigError, match=r"^linux\.uidMappings: not that of the user"):
            validate(joined("user", path, uid_mappings=both[:1]))
    finally:
        child.kill()
        child.communicate()


# ---- sysctls


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((f"kernel.{name}", "ipc") for name in "msgmax msgmnb msgmni sem shmall shmmax".split()),
        ("kernel.shmmni", "ipc"),
        ("kernel.shm_rmid_forced", "ipc"),
        ("fs.mqueue.queues_max", "ipc"),
        ("net.ipv4.ip_forward", "network"),
        ("net.ipv4.conf.eth0/1.forwarding", "network"),
        ("kernel.domainname", "uts"),
    ],
)
def test_a_sysctl_takes_the_namespace_it_is_of(name: str, kind: str) -> None:
    sysctl = {name: "1"}

    validate(config(kind, sysctl=sysctl))
    others = (other for other in KINDS if other not in (kind, "mount"))
    with pytest.raises(ConfigError) as refused:
        validate(config(*others, sysctl=sysctl))
    assert refused.value.path == f"linux.sysctl[{name!r}]"
    assert ADD.format(kind) in refused.value.reason


@pytest.mark.parametrize(
    "name",
    [
        *("vm.swappiness", "kernel.panic", "fs.file-max", "kernel.msgmaxx", "fs.mqueue", "network"),
        # Each of these would be a file outside of net/, or of no name.
        *("net.//.kernel.panic", "net./.ipv4", "net..x", "net.", "", ".net.x", "net/../kernel/x"),
    ],
)
def test_a_sysctl_of_the_whole_machine_is_refused(name: str) -> None:
    everything = [kind for kind in KINDS if kind != "mount"]

    with pytest.raises(ConfigError) as refused:
        validate(config(*everything, sysctl={name: "1"}))
    assert refused.value.path == f"linux.sysctl[{name!r}]"


def test_the_hostname_is_set_by_its_own_field() -> None:
    with pytest.raises(ConfigError, match='"hostname"'):
        validate(config("uts", sysctl={"kernel.hostname": "x"}))


@pytest.mark.parametrize(
    ("kind", "file", "name"),
    [("network", "net", "net.ipv4.ip_forward"), ("ipc", "ipc", "kernel.sem")],
)
def test_a_sysctl_of_a_joined_namespace_is_not_the_host_s(kind: str, file: str, name: str) -> None:
    sysctl = {name: "1"}

    with pytest.raises(ConfigError, match="is the host's"):
        validate(joined(kind, f"{OURS}/{file}", sysctl=sysctl))
    child = subprocess.Popen(["unshare", "-n", "-i", "sh", "-c", "echo; exec sleep 60"], stdout=-1)
    try:
        assert child.stdout and child.stdout.readline()
        validate(joined(kind, f"/proc/{child.pid}/ns/{file}", sysctl=sysctl))
    finally:
        child.kill()
        child.communicate()


# ---- what the layout of cgroups decides


class Here:
    """A machine with the one layout or the other."""

    def __init__(self, unified: str) -> None:
        self.unified = unified


@pytest.fixture(params=["", "/sys/fs/cgroup"], ids=["v1", "v2"])
def unified(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    import libcontainer.cgroups

    monkeypatch.setattr(libcontainer.cgroups, "layout", lambda: Here(request.param))
    return bool(request.param)


def test_unified_is_for_v2(unified: bool) -> None:
    told = limited(unified={"memory.high": "max"})

    if unified:
        validate(told)
    else:
        with pytest.raises(ConfigError, match=r"^linux\.resources\.unified: .* cgroup v2"):
            validate(told)


def test_swap_alone_is_nothing_on_v2(unified: bool) -> None:
    told = limited(memory={"swap": 2**24})

    if unified:
        with pytest.raises(ConfigError, match=r"^linux\.resources\.memory\.swap: .*memory\.limit"):
            validate(told)
    else:
        validate(told)


# ---- and the real one


def _without(spec: Any, kind: str) -> Any:
    kept = [ns for ns in spec["linux"]["namespaces"] if ns["type"] != kind]
    return changed(spec, "linux.namespaces", kept)


def _with(spec: Any, kind: str) -> Any:
    return changed(spec, "linux.namespaces", [*spec["linux"]["namespaces"], {"type": kind}])


def _plain() -> Any:
    spec = example()
    spec["process"]["terminal"] = False
    spec["process"]["args"] = ["/true"]
    del spec["process"]["rlimits"]
    return spec


RUNC_REFUSES: dict[str, Any] = {
    "no args": changed(_plain(), "process.args", []),
    "no cwd": changed(_plain(), "process.cwd", ""),
    "a hostname of the host": _without(_plain(), "uts"),
    "masks of the host": _without(_plain(), "mount"),
    "a sysctl of the host": changed(_plain(), "linux.sysctl", {"vm.swappiness": "1"}),
    "a sysctl for a field": changed(_plain(), "linux.sysctl", {"kernel.hostname": "x"}),
    "a namespace twice": _with(_plain(), "pid"),
    "a namespace of nothing": _with(_plain(), "mnt"),
    "a user namespace without maps": _with(_plain(), "user"),
    "a user namespace without a root": changed(
        changed(_with(_plain(), "user"), "linux.gidMappings", IDS),
        "linux.uidMappings",
        [{"containerID": 1, "hostID": 0, "size": 1}],
    ),
    "options that are no list": changed(_plain(), "mounts[0].options", 5),
    "a root that is not there": changed(_plain(), "root.path", "nowhere"),
    "a limit of nothing": changed(
        _plain(), "process.rlimits", [{"type": "RLIMIT_X", "hard": 1, "soft": 1}]
    ),
    "soft above hard": changed(
        _plain(), "process.rlimits", [{"type": "RLIMIT_CORE", "hard": 1, "soft": 2}]
    ),
    "an environment of nothing": changed(_plain(), "process.env", ["A"]),
    "a relative hook": changed(_plain(), "hooks.prestart", [{"path": "true"}]),
}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    (folder / "rootfs").mkdir()
    busybox = needs("busybox", package="busybox-static")
    (folder / "rootfs" / "true").write_bytes(busybox.read_bytes())
    (folder / "rootfs" / "true").chmod(0o755)
    return folder


def _run_by_runc(bundle: Path, spec: Any) -> subprocess.CompletedProcess[str]:
    (bundle / "config.json").write_text(json.dumps(spec))
    runc, unshare = needs("runc", package="runc"), needs("unshare", package="util-linux")
    # In a mount namespace of its own: what runc does refuse late could have mounted something.
    line = [unshare, "-m", runc, "--root", bundle / "state", "run", f"validate-{THIS_RUN}"]
    return subprocess.run(line, cwd=bundle, capture_output=True, text=True)


@pytest.mark.parametrize("name", RUNC_REFUSES)
def test_what_runc_refuses_is_refused(bundle: Path, name: str) -> None:
    done = _run_by_runc(bundle, RUNC_REFUSES[name])
    assert done.returncode != 0, done

    with pytest.raises(ConfigError):
        validate(config_from_spec(RUNC_REFUSES[name], id="x", bundle=str(bundle)))


def test_what_they_are_made_of_runs(bundle: Path) -> None:
    done = _run_by_runc(bundle, _plain())

    assert (done.returncode, done.stderr) == (0, "")
    validate(config_from_spec(_plain(), id="x", bundle=str(bundle)))
