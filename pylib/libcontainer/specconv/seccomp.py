# SPDX-License-Identifier: Apache-2.0
"""OCI's "linux.seccomp" (config-linux.md)."""

from __future__ import annotations

from libcontainer.configs import Seccomp, SyscallArgument, SyscallRule
from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

ACTIONS = tuple(
    f"SCMP_ACT_{name}"
    for name in "KILL KILL_PROCESS KILL_THREAD TRAP ERRNO TRACE ALLOW LOG NOTIFY".split()
)
OPERATORS = tuple(f"SCMP_CMP_{name}" for name in "NE LT LE EQ GE GT MASKED_EQ".split())
_WITH_ERRNO = ("SCMP_ACT_ERRNO", "SCMP_ACT_TRACE")
_UINT32 = 2**32 - 1


def seccomp_from_spec(spec: Reader) -> Seccomp | None:
    """A policy; None for an empty object, which asks for nothing."""
    if not spec.value:
        return None
    default = _action(spec, "defaultAction")
    return Seccomp(
        default_action=default,
        default_errno_ret=_errno(spec, "defaultErrnoRet", default),
        architectures=spec.texts("architectures"),
        flags=spec.texts("flags"),
        syscalls=tuple(_rule(item) for item in spec.objects("syscalls")),
        listener_path=spec.text("listenerPath"),
        listener_metadata=spec.text("listenerMetadata"),
    )


def _action(spec: Reader, name: str) -> str:
    action = spec.needed_text(name)
    if action not in ACTIONS:
        raise ConfigError(spec.at(name), f"{action!r} is none of {', '.join(ACTIONS)}")
    return action


def _errno(spec: Reader, name: str, action: str) -> int | None:
    number = spec.optional_number(name, least=0, most=_UINT32)
    if number is not None and action not in _WITH_ERRNO:
        raise ConfigError(spec.at(name), f"{action} returns none")
    return number


def _rule(item: Reader) -> SyscallRule:
    names = item.texts("names")
    if not names:
        raise ConfigError(item.at("names"), "it is missing or empty")
    action = _action(item, "action")
    return SyscallRule(
        names=names,
        action=action,
        errno_ret=_errno(item, "errnoRet", action),
        args=tuple(_argument(argument) for argument in item.objects("args")),
    )


def _argument(item: Reader) -> SyscallArgument:
    op = item.needed_text("op")
    if op not in OPERATORS:
        raise ConfigError(item.at("op"), f"{op!r} is none of {', '.join(OPERATORS)}")
    return SyscallArgument(
        index=item.number("index", least=0, most=5),
        value=item.number("value", least=0),
        op=op,
        value_two=item.number("valueTwo", least=0),
    )
