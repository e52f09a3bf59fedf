# SPDX-License-Identifier: Apache-2.0
"""The second message on the init pipe: what our launcher asks for beyond runc's."""

from __future__ import annotations

import os

from nsenter._host.records import Value
from nsenter._message import codec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["LaunchAttribute", "Settings"]

_INT_MAX = 2**31 - 1


class _Attributes:
    """The attribute types of the second message, by the names in csrc/message/launch_fields.h."""

    def __init__(self) -> None:
        self.__dict__.update(codec.attribute_types(codec.LAUNCH))

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> int: ...


LaunchAttribute = _Attributes()


class Settings(Value):
    """What the second message says; the fields are those of `nsenter.launch.launch`.

    Args:
        tasks_fds: descriptors of files by which the process enters cgroups of v1.
        confinement: further attributes, such as are asked for.
    """

    cwd: str | bytes | os.PathLike[str] | None
    hostname: str | bytes | None
    mount_proc: bool
    cgroup: int | None
    timeout: float
    trace: bool
    tasks_fds: tuple[int, ...] = ()
    confinement: tuple[tuple[int, int | bytes], ...] = ()

    def encode(self, payload_fds: set[int]) -> bytes:
        """The message, with the descriptors that the payload keeps.

        Raises:
            ValueError: a text is empty or has a NUL.
        """
        attributes = {
            LaunchAttribute.HOSTNAME: _optional_text("hostname", self.hostname),
            LaunchAttribute.MOUNT_PROC: int(self.mount_proc),
            LaunchAttribute.CWD: _optional_text("cwd", self.cwd),
            LaunchAttribute.KEEP_FDS: _numbers(payload_fds),
            LaunchAttribute.CGROUP_FD: self.cgroup,
            # A mapping tool's: a bit less than ours, so that it is the tool which is named.
            LaunchAttribute.TIMEOUT: int(min(self.timeout * 900, _INT_MAX)),
            LaunchAttribute.TRACE: int(self.trace),
            LaunchAttribute.TASKS_FDS: _numbers(self.tasks_fds) if self.tasks_fds else None,
        }
        present = [(type, value) for type, value in attributes.items() if value is not None]
        return codec.encode([*present, *self.confinement], codec.LAUNCH)


def _numbers(fds: Iterable[int]) -> bytes:
    return ",".join(map(str, sorted(fds))).encode()


def _optional_text(name: str, value: str | bytes | os.PathLike[str] | None) -> bytes | None:
    if value is None:
        return None
    text = os.fsencode(value)
    if not text or b"\0" in text:
        raise ValueError(f"{name} {value!r}: must not be empty or have a NUL")
    return text
