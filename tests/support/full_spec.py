"""A config.json that has every field that this runtime reads, and the shortest one."""

from __future__ import annotations

import copy
import json
from typing import Any

Json = Any

IDS = [{"containerID": 0, "hostID": 100000, "size": 65536}]

_SECCOMP = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_RISCV64"],
    "flags": ["SECCOMP_FILTER_FLAG_LOG"],
    "listenerPath": "/run/listener.sock",
    "listenerMetadata": "who",
    "syscalls": [
        {"names": ["read", "write"], "action": "SCMP_ACT_ALLOW"},
        {"names": ["mount"], "action": "SCMP_ACT_NOTIFY"},
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ERRNO",
            "errnoRet": 1,
            "args": [{"index": 0, "value": 2**64 - 1, "valueTwo": 7, "op": "SCMP_CMP_MASKED_EQ"}],
        },
    ],
}
_THROTTLE = [{"major": 8, "minor": 0, "rate": 2**20}]
_RESOURCES = {
    "devices": [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "major": 10, "minor": 229, "access": "rw"},
    ],
    "memory": {
        "limit": 2**26,
        "reservation": 2**25,
        "swap": 2**27,
        "swappiness": 10,
        "disableOOMKiller": True,
        "checkBeforeUpdate": True,
        "kernel": 5,
    },
    "cpu": {
        "shares": 512,
        "quota": 50_000,
        "burst": 1000,
        "period": 100_000,
        "realtimeRuntime": 900,
        "realtimePeriod": 1000,
        "cpus": "0-1",
        "mems": "0",
        "idle": 1,
    },
    "pids": {"limit": 100},
    "blockIO": {
        "weight": 500,
        "leafWeight": 300,
        "weightDevice": [{"major": 8, "minor": 0, "weight": 200, "leafWeight": 100}],
        "throttleReadBpsDevice": _THROTTLE,
        "throttleWriteBpsDevice": _THROTTLE,
        "throttleReadIOPSDevice": _THROTTLE,
        "throttleWriteIOPSDevice": _THROTTLE,
    },
    "hugepageLimits": [{"pageSize": "2MB", "limit": 2**30}],
    "network": {"classID": 1048577, "priorities": [{"name": "eth0", "priority": 500}]},
    "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10000}},
    "unified": {"memory.high": "67108864"},
}
_PROCESS = {
    "terminal": True,
    "consoleSize": {"height": 24, "width": 80},
    "user": {"uid": 1, "gid": 2, "umask": 63, "additionalGids": [3, 4]},
    "args": ["sh", "-c", "true"],
    "env": ["PATH=/bin", "EMPTY="],
    "cwd": "/tmp",
    "capabilities": {
        kind: ["CAP_KILL", "CAP_OF_THE_FUTURE"]
        for kind in ("bounding", "effective", "inheritable", "permitted", "ambient")
    },
    "rlimits": [
        {"type": "RLIMIT_NOFILE", "hard": 2048, "soft": 1024},
        {"type": "RLIMIT_CORE", "hard": 2**64 - 1, "soft": 0},
    ],
    "noNewPrivileges": True,
    "apparmorProfile": "a-profile",
    "selinuxLabel": "system_u:system_r:container_t:s0",
    "oomScoreAdj": 100,
    "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
    "scheduler": {
        "policy": "SCHED_BATCH",
        "nice": 19,
        "priority": 0,
        "flags": ["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_KEEP_POLICY"],
        "runtime": 0,
        "deadline": 0,
        "period": 0,
    },
    "execCPUAffinity": {"initial": "0", "final": "0-1, 3"},
}
_HOOK_KINDS = (
    "prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop",
)  # fmt: skip
_HOOK = [{"path": "/bin/true", "args": ["true", "x"], "env": ["A=b"], "timeout": 5}]

_FULL: Json = {
    "ociVersion": "1.2.0",
    "process": _PROCESS,
    "root": {"path": "rootfs", "readonly": True},
    "hostname": "box",
    "domainname": "example.org",
    "mounts": [
        {"destination": "/proc", "type": "proc", "source": "proc"},
        {
            "destination": "/data",
            "type": "none",
            "source": "data",
            "options": ["rbind", "rro", "rslave", "ridmap", "nosuid"],
            "uidMappings": IDS,
            "gidMappings": IDS,
        },
        {
            "destination": "/tmp",
            "type": "tmpfs",
            "source": "tmpfs",
            "options": ["tmpcopyup", "rw", "noexec", "size=1m", "mode=1777"],
        },
        {
            "destination": "/sys/fs/cgroup",
            "type": "cgroup2",
            "source": "cgroup",
            "options": ["rw"],
        },
    ],
    "hooks": dict.fromkeys(_HOOK_KINDS, _HOOK),
    "annotations": {"com.example.key": "value", "org.systemd.property.TimeoutStopSec": "5"},
    "linux": {
        "namespaces": [
            {"type": kind}
            for kind in ("pid", "network", "mount", "ipc", "uts", "user", "cgroup", "time")
        ],
        "uidMappings": IDS,
        "gidMappings": IDS,
        "timeOffsets": {"monotonic": {"secs": -1, "nanosecs": 5}, "boottime": {"secs": 7}},
        "devices": [
            {
                "path": "/dev/fuse", "type": "c", "major": 10, "minor": 229,
                "fileMode": 0o20600, "uid": 1, "gid": 2,
            },
            {"path": "/dev/null", "type": "c", "major": 1, "minor": 3},
            {"path": "/dev/fifo", "type": "p"},
        ],
        "cgroupsPath": "/machine/box",
        "resources": _RESOURCES,
        "rootfsPropagation": "rslave",
        "seccomp": _SECCOMP,
        "sysctl": {"net.ipv4.ip_forward": "1", "net/ipv4/conf/eth0.1/forwarding": "1"},
        "maskedPaths": ["/proc/kcore"],
        "readonlyPaths": ["/proc/sys"],
        "mountLabel": "system_u:object_r:container_file_t:s0",
        "personality": {"domain": "LINUX32", "flags": []},
        "memoryPolicy": {
            "mode": "MPOL_BIND",
            "nodes": "0, 2-3",
            "flags": ["MPOL_F_STATIC_NODES"],
        },
        "netDevices": {"eth0": {"name": "ctr0"}, "eth1": {}},
    },
}  # fmt: skip

# Without parts in common, so that one can be changed alone.
FULL: Json = json.loads(json.dumps(_FULL))

SHORT: Json = {
    "ociVersion": "1.0.0",
    "root": {"path": "rootfs"},
    "process": {"args": ["true"], "cwd": "/"},
    "linux": {"namespaces": [{"type": "mount"}]},
}


def changed(spec: Json, path: str, value: Json) -> Json:
    """A copy of `spec` with one value set: "linux.namespaces[0].type", what is missing is made."""
    made = copy.deepcopy(spec)
    steps: list[str | int] = []
    for part in path.split("."):
        name, *indexes = part.replace("]", "").split("[")
        steps += [name, *map(int, indexes)]
    at = made
    for step in steps[:-1]:
        at = at[step] if isinstance(step, int) else at.setdefault(step, {})
    at[steps[-1]] = value
    return made
