"""Each value that config.json must not have is refused with its place and the reason."""

from __future__ import annotations

from typing import Any

import pytest

from full_spec import FULL, SHORT, changed
from libcontainer.errors import ConfigError
from libcontainer.specconv import config_from_spec, process_from_spec, resources_from_spec

HOOKS = [{"path": "/bin/true"}]
RULE = {"names": ["x"], "action": "SCMP_ACT_ALLOW"}
NOTIFY = {"names": ["x"], "action": "SCMP_ACT_NOTIFY"}
FILE = {"type": "c", "path": "/dev/x", "major": 1, "minor": 1}

# where it is put, what, where the error says it is, and a piece of what it says
REFUSALS: list[tuple[str, Any, str, str]] = [
    # types
    ("mounts[3].options", 5, "", "expected a list of strings, got 5"),
    ("mounts[0].options", ["ro", 5], "mounts[0].options[1]", "expected a string, got 5"),
    ("mounts", {"a": 1}, "", "expected a list of objects, got an object"),
    ("mounts[0]", "x", "", "expected an object, got 'x'"),
    ("process", [], "", "expected an object, got a list"),
    ("process.user.uid", True, "", "expected an integer, got true"),
    ("process.user.uid", 1.0, "", "expected an integer, got 1.0"),
    ("process.terminal", 1, "", "expected true or false, got 1"),
    ("process.args", "sh", "", "expected a list of strings, got 'sh'"),
    ("process.args", [None], "process.args[0]", "expected a string, got null"),
    ("process.user.additionalGids", ["5"], "process.user.additionalGids[0]", "an integer"),
    ("hostname", ["x"], "", "expected a string, got a list"),
    ("linux", 5, "", "expected an object, got 5"),
    ("linux.sysctl", {"net.a": 5}, "linux.sysctl.net.a", "expected a string, got 5"),
    ("annotations", {"a": {}}, "annotations.a", "expected a string, got an object"),
    ("linux.seccomp", "x", "", "expected an object"),
    # texts
    ("process.args", ["a", "b\0c"], "process.args[1]", "has a NUL"),
    ("hostname", "a\0b", "", "has a NUL"),
    ("mounts[0].destination", "/a\ud800", "", "half of a surrogate pair"),
    ("annotations", {"a\0": "x"}, "annotations", "has a NUL"),
    # versions and other platforms
    ("ociVersion", "", "", "missing or empty"),
    ("ociVersion", "2.0.0", "", "not of version 1"),
    ("ociVersion", "1.0", "", "not of the form"),
    ("ociVersion", "one", "", "not of the form"),
    ("ociVersion", 1, "", "expected a string, got 1"),
    *((name, {"x": 1}, "", "supports Linux") for name in ("windows", "solaris", "vm", "zos")),
    ("linux.intelRdt", {"x": 1}, "", "does not support it"),
    # memory policies, in runc's words
    ("linux.memoryPolicy", {"nodes": "0"}, "linux.memoryPolicy.mode", "invalid memory policy mode"),
    (
        "linux.memoryPolicy",
        {"mode": "INTERLEAVE"},
        "linux.memoryPolicy.mode",
        "invalid memory policy mode: 'INTERLEAVE'",
    ),
    *(
        ("linux.memoryPolicy", {"mode": "MPOL_BIND"} | more, f"linux.memoryPolicy.{name}", words)
        for more, name, words in (
            ({"flags": ["MPOL_F_STATIC_NODES", "X"]}, "flags[1]", "invalid memory policy flag"),
            ({"nodes": "0-9876543210"}, "nodes", "invalid memory policy node"),
            ({"nodes": "1024"}, "nodes", "invalid memory policy node"),
            ({"nodes": "3-1"}, "nodes", "invalid memory policy node"),
            ({"nodes": "0,x"}, "nodes", "invalid memory policy node: 'x'"),
            ({"nodes": "-1"}, "nodes", "invalid memory policy node"),
            ({"nodes": 0}, "nodes", "expected a string"),
        )
    ),
    ("linux.netDevices", [], "", "expected an object"),
    ("linux.netDevices", {"eth0": "eth1"}, "linux.netDevices.eth0", "expected an object"),
    ("linux.netDevices", {"eth0": {"name": 1}}, "linux.netDevices.eth0.name", "expected a string"),
    # the root
    ("root", None, "", "it is missing"),
    ("root.path", "", "", "missing or empty"),
    ("linux.rootfsPropagation", "hared", "", "'hared' is none of private, shared"),
    # the process
    ("process.args", [], "", "it must name a program"),
    ("process.cwd", "", "", "missing or empty"),
    ("process.cwd", "tmp", "", "'tmp' is not an absolute path"),
    ("process.env", ["A=1", "B"], "process.env[1]", "'B' is not of the form NAME=value"),
    ("process.env", ["=x"], "process.env[0]", "'=x' is not of the form NAME=value"),
    ("process.user.uid", -1, "", "-1 is not in 0..4294967294"),
    ("process.user.gid", 2**32 - 1, "", "is not in 0..4294967294"),
    ("process.user.additionalGids", [2**32], "process.user.additionalGids[0]", "is not in 0.."),
    ("process.user.uid", 70000, "", "70000 is not in linux.uidMappings"),
    ("process.user.gid", 70000, "", "70000 is not in linux.gidMappings"),
    ("process.consoleSize.width", 65536, "", "is not in 0..65535"),
    ("process.oomScoreAdj", 1001, "", "1001 is not in -1000..1000"),
    ("process.capabilities", ["CAP_KILL"], "", "expected an object"),
    ("process.rlimits[0].type", "RLIMIT_X", "", "'RLIMIT_X' is none of RLIMIT_CPU"),
    ("process.rlimits[0].type", "", "", "missing or empty"),
    ("process.rlimits[1].type", "RLIMIT_NOFILE", "", "RLIMIT_NOFILE is given twice"),
    ("process.rlimits[0].soft", 4096, "", "4096 is more than hard, 2048"),
    ("process.rlimits[0].hard", -1, "", "-1 is not in 0.."),
    ("process.ioPriority.class", "IDLE", "", "'IDLE' is none of IOPRIO_CLASS_RT"),
    ("process.ioPriority", {}, "process.ioPriority.class", "missing or empty"),
    ("process.ioPriority.priority", 8, "", "8 is not in 0..7"),
    ("process.scheduler", {}, "process.scheduler.policy", "missing or empty"),
    ("process.scheduler.policy", "SCHED_X", "", "'SCHED_X' is none of SCHED_OTHER"),
    ("process.scheduler.flags", ["X"], "process.scheduler.flags[0]", "'X' is none of SCHED_FLAG"),
    ("process.execCPUAffinity.final", "0-", "", "'0-' is not a CPU"),
    ("process.execCPUAffinity.initial", "3-1", "", "'3-1' is not a CPU"),
    ("process.execCPUAffinity.initial", "0-99999999999", "", "is not a CPU"),
    # mounts
    ("mounts[0].destination", "", "", "missing or empty"),
    ("mounts[0].type", "", "", "no option says bind or rbind"),
    ("mounts[1].source", "", "", "a bind mount requires a source"),
    ("mounts[1].uidMappings[0].size", 0, "mounts[1].uidMappings[0]", "must be at least 1"),
    # namespaces
    ("linux.namespaces[0].type", "", "", "missing or empty"),
    ("linux.namespaces[0].type", "mnt", "", "'mnt' is none of user, ipc, uts, network, pid, mount"),
    ("linux.namespaces[0].type", "NEWPID", "", "is none of"),
    ("linux.namespaces[1].type", "pid", "", "'pid' is given twice"),
    ("linux.namespaces[0].path", "ns/pid", "", "must be absolute"),
    ("linux.namespaces[0].path", "/a,b", "", "must not contain a comma"),
    ("linux.uidMappings[0].hostID", 2**32, "", "is not in 0.."),
    ("linux.gidMappings[0].size", 2**32 - 1, "linux.gidMappings[0]", "runs past"),
    ("linux.timeOffsets", {"realtime": {}}, "linux.timeOffsets.realtime", "unknown clock"),
    ("linux.timeOffsets.monotonic.nanosecs", 10**9, "", "is not in 0..999999999"),
    # devices
    ("linux.devices[0].path", "dev/x", "", "not an absolute path"),
    ("linux.devices[0].path", "//", "", "must be a path below the root"),
    ("linux.devices[0].type", "d", "", "'d' is none of c, b, u, p"),
    ("linux.devices[0].major", -1, "", "-1 is not in 0..4095"),
    ("linux.devices[0].minor", 2**20, "", "is not in 0..1048575"),
    # resources
    ("linux.resources.devices[0].type", "p", "", "'p' is none of a, b, c"),
    ("linux.resources.devices[1].access", "", "", "not made of r, w and m"),
    ("linux.resources.devices[1].access", "a", "", "not made of r, w and m"),
    ("linux.resources.devices[1].access", "rwx", "", "'rwx' is not made of r, w and m"),
    ("linux.resources.devices[1].major", -2, "", "-2 is not in -1.."),
    ("linux.resources.devices[1].major", 2**32 + 1, "", "is not in -1..4294967295"),
    ("linux.resources.devices[1].minor", 2**32, "", "is not in -1..4294967295"),
    ("linux.resources.memory.limit", -2, "", "-2 is not in -1.."),
    ("linux.resources.memory.limit", "5m", "", "expected an integer, got '5m'"),
    ("linux.resources.memory.swappiness", 101, "", "101 is not in 0..100"),
    ("linux.resources.cpu.idle", 2, "", "2 is not in 0..1"),
    ("linux.resources.cpu.shares", 2**64, "", "is not in 0.."),
    ("linux.resources.blockIO.weight", 65536, "", "is not in 0..65535"),
    ("linux.resources.hugepageLimits[0].pageSize", "2M", "", "'2M' is not a size such as 2MB"),
    ("linux.resources.hugepageLimits[0].pageSize", "MB", "", "'MB' is not a size"),
    ("linux.resources.network.priorities[0].name", "", "", "missing or empty"),
    ("linux.resources.unified", {"../x.y": "1"}, "linux.resources.unified", "not a file of a"),
    ("linux.resources.unified", {"memory": "1"}, "linux.resources.unified", "not a file of a"),
    # seccomp
    ("linux.seccomp.defaultAction", "", "", "missing or empty"),
    ("linux.seccomp.defaultAction", "ALLOW", "", "'ALLOW' is none of SCMP_ACT_KILL"),
    ("linux.seccomp.defaultAction", "SCMP_ACT_ALLOW", "linux.seccomp.defaultErrnoRet", "leave it"),
    ("linux.seccomp.architectures", ["x86"], "linux.seccomp.architectures[0]", "is none of"),
    ("linux.seccomp.flags", ["LOG"], "linux.seccomp.flags[0]", "is none of SECCOMP_FILTER_FLAG"),
    ("linux.seccomp.syscalls[0].names", [], "", "missing or empty"),
    ("linux.seccomp.syscalls[0].action", "X", "", "'X' is none of"),
    ("linux.seccomp.syscalls[0].errnoRet", 5, "", "SCMP_ACT_ALLOW returns none"),
    ("linux.seccomp.syscalls[2].args[0].op", "EQ", "", "'EQ' is none of SCMP_CMP_NE"),
    ("linux.seccomp.syscalls[2].args[0].index", 6, "", "6 is not in 0..5"),
    (
        "linux.seccomp.listenerPath",
        "",
        "linux.seccomp.listenerMetadata",
        "it requires listenerPath",
    ),
    (
        "linux.seccomp.syscalls[1].names",
        ["write"],
        "",
        "SCMP_ACT_NOTIFY cannot be used for the write syscall",
    ),
    (
        "linux.seccomp",
        {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [NOTIFY]},
        "linux.seccomp.syscalls[0].action",
        "needs a listenerPath",
    ),
    (
        "linux.seccomp",
        {"defaultAction": "SCMP_ACT_NOTIFY", "listenerPath": "/x"},
        "linux.seccomp.defaultAction",
        "for single system calls",
    ),
    ("linux.seccomp", {"syscalls": [RULE]}, "linux.seccomp.defaultAction", "missing or empty"),
    # hooks and the rest
    ("hooks.prestart[0].path", "true", "", "'true' is not an absolute path"),
    ("hooks.poststop[0].path", "", "", "missing or empty"),
    ("hooks.createRuntime[0].timeout", 0, "", "0 is not in 1.."),
    ("hooks.startContainer", HOOKS[0], "", "expected a list of objects, got an object"),
    ("linux.personality.domain", "BSD", "", "'BSD' is none of LINUX, LINUX32"),
    ("linux.personality", {}, "linux.personality.domain", "missing or empty"),
    ("linux.personality.flags", ["X"], "", "knows none yet"),
]


def _label(case: tuple[str, Any, str, str]) -> str:
    return f"{case[0]}={str(case[1])[:30]!a}"


@pytest.mark.parametrize("case", REFUSALS, ids=_label)
def test_a_bad_value_is_refused_by_its_place(case: tuple[str, Any, str, str]) -> None:
    path, value, where, reason = case

    with pytest.raises(ConfigError) as refused:
        config_from_spec(changed(FULL, path, value), id="x", bundle="/bundle")

    assert refused.value.path == (where or path)
    assert reason in refused.value.reason
    assert str(refused.value) == f"{refused.value.path}: {refused.value.reason}"


@pytest.mark.parametrize("value", [None, [], "x", 5, True])
def test_a_file_that_is_no_object_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"^config\.json: expected an object"):
        config_from_spec(value, id="x", bundle="/bundle")


def test_an_error_of_another_file_names_the_place_in_that() -> None:
    with pytest.raises(ConfigError, match=r"^the file\.args: "):
        process_from_spec({}, where="the file")
    with pytest.raises(ConfigError, match=r"^resources\.memory: "):
        resources_from_spec({"memory": 5}, where="resources")


@pytest.mark.parametrize("word", ["private", "rprivate"])
def test_a_private_root_takes_pivot_root(word: str) -> None:
    spec = changed(SHORT, "linux.rootfsPropagation", word)

    config_from_spec(spec, id="x", bundle="/bundle")
    with pytest.raises(ConfigError, match=r"^linux\.rootfsPropagation: .* pivot_root"):
        config_from_spec(spec, id="x", bundle="/bundle", no_pivot_root=True)


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/a/b", "slice:prefix:name"),
        ("a:b", "slice:prefix:name"),
        ("a.slice:b:c:d", "slice:prefix:name"),
        ("a.slice:b:", "slice:prefix:name"),
        ("a:b:c", "'a' is not a slice"),
        ("a--b.slice:b:c", "is not a slice"),
        ("-a.slice:b:c", "is not a slice"),
        (".slice:b:c", "is not a slice"),
        ("a.slice:b/x:c", "has a slash"),
    ],
)
def test_systemd_takes_its_own_kind_of_path(path: str, reason: str) -> None:
    spec = changed(SHORT, "linux.cgroupsPath", path)

    with pytest.raises(ConfigError, match=reason) as refused:
        config_from_spec(spec, id="x", bundle="/bundle", systemd_cgroup=True)
    assert refused.value.path == "linux.cgroupsPath"
    config_from_spec(spec, id="x", bundle="/bundle")


@pytest.mark.parametrize("path", ["", ":p:n", "-.slice:p:n", "a-b.slice::n", "user.slice:p:n"])
def test_systemd_s_paths_are_taken(path: str) -> None:
    spec = changed(SHORT, "linux.cgroupsPath", path)

    assert config_from_spec(spec, id="x", bundle="/", systemd_cgroup=True).cgroups.path == path


@pytest.mark.parametrize(
    ("name", "value"),
    [("X", "1"), ("Aé", "1"), ("A1b", "1"), ("TimeoutStopSec", "soon"), ("TimeoutSec", "time 5")],
)
def test_a_systemd_property_that_cannot_be_is_refused(name: str, value: str) -> None:
    annotation = f"org.systemd.property.{name}"
    spec = SHORT | {"annotations": {annotation: value}}

    with pytest.raises(ConfigError) as refused:
        config_from_spec(spec, id="x", bundle="/bundle", systemd_cgroup=True)
    assert refused.value.path == f"annotations[{annotation!r}]"
