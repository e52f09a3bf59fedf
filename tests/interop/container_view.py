# SPDX-License-Identifier: Apache-2.0
"""What a container sees of itself, as a script in its busybox tells, by topic.

What must differ between two runs of the same container (ids of mounts, pids, the container's own
name) is replaced by a word, and nothing else.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

Topics = dict[str, list[str]]

_MARK = "@@ "
_STATUS = (
    "Umask State Tgid Uid Gid FDSize Groups NStgid NSpid Kthread SigQ SigBlk SigIgn CapInh CapPrm "
    "CapEff CapBnd CapAmb NoNewPrivs Seccomp Seccomp_filters Speculation_Store_Bypass "
    "Cpus_allowed_list Mems_allowed_list THP_enabled"
)
_DROPPED = frozenset({"State", "Tgid", "FDSize", "NStgid", "NSpid", "SigQ"})
# Topics that are files, by their names; of the shell that looks, which is the container's process.
_FILES = (
    " ".join(
        f"/proc/$$/{name}"
        for name in "mountinfo status limits cgroup uid_map gid_map setgroups oom_score_adj "
        "personality timens_offsets projid_map stat".split()
    )
    + " /proc/sys/kernel/hostname /proc/sys/kernel/domainname"
)
_SYSCTLS = "net/ipv4/ip_forward net/ipv4/ip_unprivileged_port_start kernel/shmmax fs/mqueue/msg_max"
_CGROUP_LIMITS = (
    "pids/pids.max memory/memory.limit_in_bytes memory/memory.soft_limit_in_bytes cpu/cpu.shares "
    "memory/memory.swappiness cpu/cpu.cfs_quota_us cpu/cpu.cfs_period_us cpuset/cpuset.cpus "
    "cpuset/cpuset.mems freezer/freezer.state blkio/blkio.weight"
)
# Few processes each, for hundreds of containers say all this.
_COMMANDS = {
    "identity": "id",
    "arguments": "tr '\\0' '\\n' < /proc/$$/cmdline | head -n 2",
    "environment": "tr '\\0' '\\n' < /proc/$$/environ",
    "namespaces": "ls -l /proc/$$/ns",
    "descriptors": "ls -l /proc/$$/fd",
    "cwd": "pwd; readlink /proc/$$/cwd",
    "umask": "umask",
    "devices": "cd /dev && find . | sort | xargs stat -c '%N %A %t:%T %u:%g'",
    "root": "stat -c '%N %A %u:%g' / /* /tmp /mnt /mnt/*",
    "writable": "for d in / /tmp /dev /dev/shm /proc/sys/kernel/hostname /proc/sysrq-trigger "
    "/sys /etc/hostname; do test -w $d && echo $d; done",
    "covered": "stat -c '%N %F %t:%T' /proc/kcore /proc/keys /proc/timer_list /sys/firmware "
    "/etc/passwd",
    "sysctls": f"cd /proc/sys && grep '' {_SYSCTLS}",
    "limits of the cgroup": f"cd /sys/fs/cgroup && grep '' {_CGROUP_LIMITS}",
    "device rules": "sort /sys/fs/cgroup/devices/devices.list",
    "loopback": "ip -o address show dev lo",
}

SCRIPT = (
    f"awk 'FNR == 1 {{ sub(/.*\\//, \"{_MARK}\", FILENAME); print FILENAME }} 1' {_FILES}\n"
    + "".join(f"echo '{_MARK}{topic}'; ({command}) 2>&1\n" for topic, command in _COMMANDS.items())
    + f"echo '{_MARK}end'\n"
)


def topics(text: str, names: Mapping[str, str] | None = None) -> Topics:
    """What SCRIPT said, by topic. `names`: what to replace by which word."""
    for value, word in (names or {}).items():
        text = text.replace(value, word)
    found: Topics = {}
    for part in f"\n{text}".split(f"\n{_MARK}")[1:]:
        topic, _, body = part.partition("\n")
        lines = body.splitlines()
        found[topic] = _NORMAL.get(topic, _as_it_is)(lines)
    return found


def _as_it_is(lines: list[str]) -> list[str]:
    return lines


def _mountinfo(lines: list[str]) -> list[str]:
    """Without ids and device numbers; the parent by its place.

    By the place of the mount: of those on one place, the lowest first.
    """
    rows = [line.split(" ") for line in lines]
    places = {row[0]: row[4] for row in rows if len(row) > 4}
    return [_mount(row, places) for row in sorted(rows, key=lambda row: row[4:5])]


def _mount(row: list[str], places: Mapping[str, str]) -> str:
    if "-" not in row:
        return " ".join(row)
    end = row.index("-")
    peers = " ".join(re.sub(r":\d+", "", field) for field in row[6:end])
    parent = places.get(row[1], "outside")
    kind, source, options = row[end + 1 : end + 4]
    return (
        f"{row[4]} on {parent}: {row[3]} of {kind} {source} ({row[5]}; {options}) {peers}".strip()
    )


def _status(lines: list[str]) -> list[str]:
    wanted = set(_STATUS.split()) - _DROPPED
    return [line for line in lines if line.partition(":")[0] in wanted]


def _namespaces(lines: list[str]) -> list[str]:
    return [_namespace(*row) for row in _links(lines)]


def _links(lines: list[str]) -> list[list[str]]:
    """Name and target of what ls -l shows."""
    return [line.split(maxsplit=8)[8].split(" -> ") for line in lines if " -> " in line]


def _namespace(kind: str, link: str) -> str:
    if link == _own_namespaces().get(kind):
        return f"{kind} the host's"
    return f"{kind} {re.sub('[0-9]+', 'NEW', link)}"


@functools.cache
def _own_namespaces() -> dict[str, str]:
    return {kind.name: str(kind.readlink()) for kind in Path("/proc/self/ns").iterdir()}


def _descriptors(lines: list[str]) -> list[str]:
    rows = sorted(_links(lines), key=lambda row: int(row[0]))
    return [re.sub(r":\[\d+\]", "", " ".join(row)) for row in rows]


def _environment(lines: list[str]) -> list[str]:
    return [re.sub(r"^(LISTEN_PID=)\d\d+$", r"\1PID", line) for line in lines]


def _standing(lines: list[str]) -> list[str]:
    """Of /proc/PID/stat: its group and session are its own; a terminal is one, whichever."""
    rows = [line.rpartition(") ")[2].split() for line in lines]
    return [
        f"parent {'some' if int(row[1]) else 'none'}, group {_led(row[2])}, "
        f"session {_led(row[3])}, terminal {'some' if int(row[4]) else 'none'}, "
        f"nice {row[16]}, policy {row[38]}"
        for row in rows
    ]


def _led(number: str) -> str:
    return {"0": "outside's", "1": "1"}.get(number, "some")


def _times(lines: list[str]) -> list[str]:
    return [" ".join(line.split()) for line in lines]


_NORMAL: dict[str, Callable[[list[str]], list[str]]] = {
    "mountinfo": _mountinfo,
    "status": _status,
    "namespaces": _namespaces,
    "environment": _environment,
    "descriptors": _descriptors,
    "stat": _standing,
    "timens_offsets": _times,
}


def normal_hooks(text: str) -> list[str]:
    """What hooks said of the state they were given, in any order of its fields."""
    text = re.sub(r'"pid": ?[1-9]\d*', '"pid": 4711', text)
    return [re.sub(r'\{".*\}', _sorted_fields, line) for line in text.splitlines()]


def _sorted_fields(match: re.Match[str]) -> str:
    return json.dumps(json.loads(match[0]), sort_keys=True)
