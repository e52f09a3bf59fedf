# SPDX-License-Identifier: Apache-2.0
"""Read "process" (config.md)."""

from __future__ import annotations

from libcontainer.configs import Capabilities, IOPriority, ProcessConfig, Rlimit, Scheduler
from libcontainer.errors import ConfigError
from libcontainer.specconv.reader import INT32, UINT32, UINT64, Reader, table_entry
from nsenter._message.limits import RLIMIT_NAMES

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

RLIMITS = {name: number for number, name in enumerate(RLIMIT_NAMES)}
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

_MOST_CHARACTERS = 2**16 - 1  # struct winsize
_LAST_CPU = 8191  # the kernel can be built for no more


def process_from_spec(process: Any, *, where: str = "process") -> ProcessConfig:
    """Return the configuration of a process.

    Args:
        process: the parsed object.
        where: its path in the document, for errors. The default is "process".

    Raises:
        ConfigError: a value is not valid or not supported; the error says where it is.
    """
    spec = Reader(process, where)
    args = spec.texts("args")
    if not args:
        raise ConfigError(spec.at("args"), "it is missing or empty: it must name a program")
    user = spec.object("user") or Reader({}, spec.at("user"))
    console = spec.object("consoleSize") or Reader({}, spec.at("consoleSize"))
    return ProcessConfig(
        args=args,
        env=_env(spec),
        cwd=spec.absolute_path("cwd"),
        uid=user.id("uid"),
        gid=user.id("gid"),
        additional_gids=user.ids("additionalGids"),
        umask=_umask(user),
        terminal=spec.flag("terminal"),
        console_width=console.number("width", most=_MOST_CHARACTERS),
        console_height=console.number("height", most=_MOST_CHARACTERS),
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


def _env(spec: Reader) -> tuple[str, ...]:
    env = spec.texts("env")
    for i, word in enumerate(env):
        if word.find("=") < 1:
            raise ConfigError(f"{spec.at('env')}[{i}]", f"{word!r} is not of the form NAME=value")
    return env


def _umask(user: Reader) -> int | None:
    mask = user.optional_number("umask", most=UINT32)
    return None if mask is None else mask & 0o777  # as umask(2)


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
        if number in found:
            raise ConfigError(item.at("type"), f"{item.value['type']} is given twice")
        hard, soft = item.number("hard", most=UINT64), item.number("soft", most=UINT64)
        if soft > hard:
            raise ConfigError(item.at("soft"), f"{soft} is more than hard, {hard}")
        found[number] = Rlimit(number, hard, soft)
    return tuple(found.values())


def _io_priority(spec: Reader) -> IOPriority | None:
    item = spec.object("ioPriority")
    if item is None:
        return None
    return IOPriority(item.choice("class", IO_CLASSES), item.number("priority", most=7))


def _scheduler(spec: Reader) -> Scheduler | None:
    item = spec.object("scheduler")
    if item is None:
        return None
    flags = 0
    for i, word in enumerate(item.texts("flags")):
        flags |= table_entry(f"{item.at('flags')}[{i}]", word, SCHEDULER_FLAGS)
    return Scheduler(
        policy=item.choice("policy", POLICIES),
        flags=flags,
        nice=item.number("nice", least=-INT32 - 1, most=INT32),
        priority=item.number("priority", most=INT32),
        runtime=item.number("runtime", most=UINT64),
        deadline=item.number("deadline", most=UINT64),
        period=item.number("period", most=UINT64),
    )


def _affinity(spec: Reader) -> dict[str, str]:
    item = spec.object("execCPUAffinity")
    if item is None:
        return {}
    return {name: _cpus(item, name) for name in ("initial", "final") if item.text(name)}


def _cpus(item: Reader, name: str) -> str:
    """Return a list of CPUs such as "0-2,4" (cpuset(7)) without blanks."""
    cpus = item.text(name).replace(" ", "")
    for part in cpus.split(","):
        first, dash, last = part.partition("-")
        numbers = (first, last) if dash else (first, first)
        if not all(n.isascii() and n.isdigit() and len(n) < 5 for n in numbers) or not (
            int(numbers[0]) <= int(numbers[1]) <= _LAST_CPU
        ):
            raise ConfigError(item.at(name), f"{part!r} is not a CPU or a range of CPUs")
    return cpus
