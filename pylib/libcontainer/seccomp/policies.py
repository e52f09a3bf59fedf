# SPDX-License-Identifier: Apache-2.0
"""Convert the words of a policy to numbers, and refuse those that do not go together."""

from __future__ import annotations

from errno import EPERM

from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from libcontainer.configs.seccomp import Seccomp, SyscallArgument, SyscallRule

    Condition = tuple[int, int, int, int]  # index, operator, value, second value: scmp_arg_cmp

__all__ = ["ACTIONS", "FLAGS", "OPERATORS", "default_action", "flags", "has_listener", "rules"]

_WHERE = "linux.seccomp"

# linux/seccomp.h, SECCOMP_RET_*.
ACTIONS = {
    "SCMP_ACT_KILL": 0x00000000,
    "SCMP_ACT_KILL_THREAD": 0x00000000,
    "SCMP_ACT_KILL_PROCESS": 0x80000000,
    "SCMP_ACT_TRAP": 0x00030000,
    "SCMP_ACT_ERRNO": 0x00050000,
    "SCMP_ACT_TRACE": 0x7FF00000,
    "SCMP_ACT_LOG": 0x7FFC0000,
    "SCMP_ACT_ALLOW": 0x7FFF0000,
    "SCMP_ACT_NOTIFY": 0x7FC00000,
}
# Those that say something in their lower 16 bits, and the most that they can say: the kernel's
# MAX_ERRNO, and any number for a tracer.
_MOST_ERRNO = {"SCMP_ACT_ERRNO": 4095, "SCMP_ACT_TRACE": 0xFFFF}
_NOTIFY = "SCMP_ACT_NOTIFY"

# seccomp.h, enum scmp_compare.
OPERATORS = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}
_ARGUMENTS = 6
_MOST_VALUE = 2**64 - 1

_WAIT_KILLABLE_RECV = 1 << 5
_NEW_LISTENER = 1 << 3
# linux/seccomp.h, SECCOMP_FILTER_FLAG_*. The init has one thread: there is nothing to synchronize.
FLAGS = {
    "SECCOMP_FILTER_FLAG_TSYNC": 0,
    "SECCOMP_FILTER_FLAG_LOG": 1 << 1,
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW": 1 << 2,
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV": _WAIT_KILLABLE_RECV,
}


def _number(table: Mapping[str, int], name: str, where: str) -> int:
    number = table.get(name)
    if number is None:
        raise ConfigError(where, f"{name!r} is none of {', '.join(table)}")
    return number


def _action(name: str, errno_ret: int | None, where: str, action: str, errno: str) -> int:
    number = _number(ACTIONS, name, f"{where}.{action}")
    most = _MOST_ERRNO.get(name)
    if most is None:
        if errno_ret is not None:
            raise ConfigError(f"{where}.{errno}", f"{name} returns none; remove it")
        return number
    if errno_ret is not None and not 0 <= errno_ret <= most:
        raise ConfigError(f"{where}.{errno}", f"{errno_ret} is not between 0 and {most}")
    return number | (EPERM if errno_ret is None else errno_ret)


def default_action(policy: Seccomp) -> int:
    """Return the SECCOMP_RET_* for system calls without a rule.

    Raises:
        ConfigError: there is no such action, or it cannot be the default.
    """
    if policy.default_action == _NOTIFY:
        # The init tells its parent of the listener by system calls that nobody would answer.
        raise ConfigError(f"{_WHERE}.defaultAction", f"{_NOTIFY} cannot be the default")
    return _action(
        policy.default_action, policy.default_errno_ret, _WHERE, "defaultAction", "defaultErrnoRet"
    )


def has_listener(policy: Seccomp) -> bool:
    """Return whether an agent decides over some system calls.

    Raises:
        ConfigError: an agent has to, but the policy does not say where it listens.
    """
    asked = any(rule.action == _NOTIFY for rule in policy.syscalls)
    if asked and not policy.listener_path:
        raise ConfigError(f"{_WHERE}.listenerPath", f"missing: {_NOTIFY} asks who listens there")
    return asked


def flags(policy: Seccomp) -> int:
    """Return the SECCOMP_FILTER_FLAG_* for seccomp(2).

    Raises:
        ConfigError: a flag is unknown.
    """
    bits = 0
    for index, name in enumerate(policy.flags):
        bits |= _number(FLAGS, name, f"{_WHERE}.flags[{index}]")
    if any(rule.action == _NOTIFY for rule in policy.syscalls):
        return bits | _NEW_LISTENER
    return bits & ~_WAIT_KILLABLE_RECV  # EINVAL where there is no listener


def rules(policy: Seccomp) -> Iterator[tuple[str, str, int, list[list[Condition]]]]:
    """Yield the rules for each system call that a policy names.

    Yields:
        Where the rule is in the policy, the name of the call, SECCOMP_RET_*, and alternatives. Each
        alternative is a list of conditions that must hold together.

    Raises:
        ConfigError: something in a rule is unknown or not possible.
    """
    for index, rule in enumerate(policy.syscalls):
        where = f"{_WHERE}.syscalls[{index}]"
        action = _action(rule.action, rule.errno_ret, where, "action", "errnoRet")
        alternatives = _alternatives(rule, where)
        for name in rule.names:
            _check_name(rule, name, where)
            yield where, name, action, alternatives


def _check_name(rule: SyscallRule, name: str, where: str) -> None:
    if not name:
        raise ConfigError(f"{where}.names", "an empty string does not name a system call")
    if rule.action == _NOTIFY and name == "write":
        # As in runc, whose init could not go on; a policy is to mean the same here.
        raise ConfigError(f"{where}.action", f"{_NOTIFY} cannot be used for write")


def _alternatives(rule: SyscallRule, where: str) -> list[list[Condition]]:
    """Return the conditions of a rule as alternatives.

    All conditions must hold together. But if two of them are about the same argument, each
    condition is an alternative, which authors of policies for runc expect.
    """
    found = [_condition(arg, f"{where}.args[{i}]") for i, arg in enumerate(rule.args)]
    if len({condition[0] for condition in found}) < len(found):
        return [[condition] for condition in found]
    return [found]


def _condition(argument: SyscallArgument, where: str) -> Condition:
    operator = _number(OPERATORS, argument.op, f"{where}.op")
    if not 0 <= argument.index < _ARGUMENTS:
        raise ConfigError(f"{where}.index", f"{argument.index} is not between 0 and 5")
    for value in (argument.value, argument.value_two):
        if not 0 <= value <= _MOST_VALUE:
            raise ConfigError(
                f"{where}.value", f"{value} does not fit an unsigned number of 64 bits"
            )
    return argument.index, operator, argument.value, argument.value_two
