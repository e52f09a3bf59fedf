# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, said so that a person knows what to do next."""

from __future__ import annotations

import errno
import os

from nsenter.hints import hint_for

__all__ = ["BlobError", "BootstrapError"]


class BlobError(ValueError):
    """A bootstrap message that is refused.

    Attributes:
        attribute: the type of the attribute at fault; None for the header.
        offset: bytes from the start of the message; None where the message does not exist
            because it cannot be made.
        reason: what is wrong with it.
    """

    def __init__(
        self, reason: str, *, attribute: int | None, name: str, offset: int | None
    ) -> None:
        what = f"{name} ({attribute})" if attribute is not None else name
        where = f" at offset {offset}" if offset is not None else ""
        super().__init__(f"{what}{where}: {reason}")
        self.attribute = attribute
        self.offset = offset
        self.reason = reason


class BootstrapError(OSError):
    """A process could not be started in its namespaces.

    Attributes:
        stage: where it failed: "launcher" (this process), "parent", "child", "init".
        operation: the system call or step.
        subject: what it was done to: a path, a value, a pid.
        errno: as for any OSError.
        hint: what to try, or "". It names the settings of this machine that are at fault, as
            they were when it failed.
    """

    def __init__(
        self, stage: str, operation: str, subject: str, number: int, hint: str | None = None
    ) -> None:
        super().__init__(number, os.strerror(number))
        self.stage = stage
        self.operation = operation
        self.subject = subject
        self.hint = hint_for(operation, number, subject) if hint is None else hint

    @classmethod
    def killed(cls, stage: str, number: int) -> BootstrapError:
        """A stage was killed by signal `number` before it had done its part."""
        import signal

        try:
            name = signal.Signals(number).name
        except ValueError:  # a real-time signal
            name = f"signal {number}"
        return cls(stage, "run", f"killed by {name}", errno.ECANCELED)

    def __reduce__(self) -> tuple[type[BootstrapError], tuple[str, str, str, int, str]]:
        return type(self), (self.stage, self.operation, self.subject, self.errno or 0, self.hint)

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        what = " ".join(filter(None, (self.operation, self.subject)))
        return f"{self.stage}: {what}: {self.strerror}{hint}"
