# SPDX-License-Identifier: Apache-2.0
"""OCI's "process" (config.md)."""

from __future__ import annotations

from libcontainer.configs import Capabilities, IOPriority, ProcessConfig, Rlimit, Scheduler
from libcontainer.errors import ConfigError
from libcontainer.specconv.reader import Reader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# asm-generic/resource.h
RLIMITS = {
    f"RLIMIT_{name}": number
    for number, name in enumerate(
        "CPU FSIZE DATA STACK CORE RSS NPROC NOFILE MEMLOCK AS LOCKS SIGPENDING MSGQUEUE NICE "
        "RTPRIO RTTIME".split()
    )
}
# ioprio_set(2)
IO_CLASSES = {"IOPRIO_CLASS_RT": 1, "IOPRIO_CLASS_BE": 2, "IOPRIO_CLASS_IDLE": 3}
# linux/sched.h
POLICIES = {
    "SCHED_OTHER": 0, "SCHED_FIFO": 1, "SCHED_RR": 2, "SCHED_BATCH": 3, "SCHED_ISO": 4,
    "SCHED_IDLE": 5, "SCHED_DEADLINE": 6,
}  # fmt: skip
SCHEDULER_FLAGS = {
    "SCHED_FLAG_RESET_ON_FORK": 0x01, "SCHED_FLAG_RECLAIM": 0x02, "SCHED_FLAG_DL_OVERRUN": 0x04,
    "SCHED_FLAG_KEEP_POLICY": 0x08, "SCHED_FLAG_KEEP_PARAMS": 0x10,
    "SCHED_FLAG_UTIL_CLAMP_MIN": 0x20, "SCHED_FLAG_UTIL_CLAMP_MAX": 0x40,
}  # fmt: skip

_INT32 = 2**31 - 1


def process_from_spec(process: Any, *, where: str = "process") -> ProcessConfig:
    """A process.

    Args:
        process: parsed JSON.
        where: its path in the file, for errors.

    Raises:
        ConfigError: it is refused; says where.
    """
    spec = Reader(process, where)
    args = spec.texts("args")
    if not args:
        raise ConfigError(spec.at("args"), "it is missing or empty: what is to be executed?")
    cwd = spec.text("cwd")
    if not cwd.startswith("/"):
        raise ConfigError(spec.at("cwd"), f"{cwd!r} is not an absolute path")
    user = spec.object("user") or Reader({}, spec.at("user"))
    console = spec.object("consoleSize") or Reader({}, spec.at("consoleSize"))
    return ProcessConfig(
        args=args,
        env=spec.texts("env"),
        cwd=cwd,
        uid=user.id("uid"),
        gid=user.id("gid"),
        additional_gids=user.ids("additionalGids"),
        umask=user.optional_number("umask", least=0, most=0o777),
        terminal=spec.flag("terminal"),
        console_width=console.number("width", least=0, most=0xFFFF),
        console_height=console.number("height", least=0, most=0xFFFF),
        capabilities=_capabilities(spec),
        rlimits=_rlimits(spec),
        no_new_privileges=spec.optional_flag("noNewPrivileges"),
        apparmor_profile=spec.text("apparmorProfile"),
        process_label=spec.text("selinuxLabel"),
        oom_score_adj=spec.optional_number("oomScoreAdj", least=-1000, most=1000),
        io_priority=_io_priority(spec),
        scheduler=_scheduler(spec),
        exec_cpu_affinity=_affinity(spec),
    )


def _capabilities(spec: Reader) -> Capabilities | None:
    sets = spec.object("capabilities")
    if sets is None:
        return None
    names = "bounding effective inheritable permitted ambient".split()
    return Capabilities(**{name: sets.texts(name) for name in names})


def _rlimits(spec: Reader) -> tuple[Rlimit, ...] | None:
    if spec.value.get("rlimits") is None:
        return None
    found: dict[int, Rlimit] = {}
    for item in spec.objects("rlimits"):
        number = item.choice("type", RLIMITS)
        if number is None:
            raise ConfigError(item.at("type"), "it is missing")
        if number in found:
            raise ConfigError(item.at("type"), f"{item.value['type']} is there twice")
        limits = item.number("hard", least=0), item.number("soft", least=0)
        found[number] = Rlimit(number, *limits)
    return tuple(found.values())


def _io_priority(spec: Reader) -> IOPriority | None:
    item = spec.object("ioPriority")
    if item is None:
        return None
    kind = item.choice("class", IO_CLASSES)
    if kind is None:
        raise ConfigError(item.at("class"), "it is missing")
    return IOPriority(kind, item.number("priority", least=0, most=7))


def _scheduler(spec: Reader) -> Scheduler | None:
    item = spec.object("scheduler")
    if item is None:
        return None
    policy = item.choice("policy", POLICIES)
    if policy is None:
        raise ConfigError(item.at("policy"), "it is missing")
    flags = 0
    for word in item.texts("flags"):
        if word not in SCHEDULER_FLAGS:
            raise ConfigError(item.at("flags"), f"unknown flag {word!r}")
        flags |= SCHEDULER_FLAGS[word]
    return Scheduler(
        policy=policy,
        flags=flags,
        nice=item.number("nice", least=-_INT32, most=_INT32),
        priority=item.number("priority", least=0, most=_INT32),
        runtime=item.number("runtime", least=0),
        deadline=item.number("deadline", least=0),
        period=item.number("period", least=0),
    )


def _affinity(spec: Reader) -> dict[str, str]:
    item = spec.object("execCPUAffinity")
    if item is None:
        return {}
    return {name: item.text(name) for name in ("initial", "final") if item.text(name)}
