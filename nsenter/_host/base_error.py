# SPDX-License-Identifier: Apache-2.0
"""The bases of all exceptions of this package.

This module imports nothing: every process that imports `nsenter._host.syscalls` pays for it.
"""

__all__ = ["NsenterError", "StepError"]


class NsenterError(Exception):
    """The base of every exception class of this package and of libcontainer.

    Each is also of the builtin class that fits, so that `except OSError` and the like go on
    catching it.
    """


class StepError(NsenterError, OSError):
    """A system call, or another step, has failed.

    Attributes:
        stage: the stage in which it failed, see `BootstrapError`; "" if that is not known.
        operation: the name of the system call or step.
        subject: what it was applied to: a path, a value, a pid.
        errno, strerror: the error number and its text, as for every OSError.
        hint: what to try, or "".
    """

    stage = ""
    operation = ""
    subject = ""
    hint = ""

    def __str__(self) -> str:
        stage = f"{self.stage}: " if self.stage else ""
        what = " ".join(filter(None, (self.operation, self.subject)))
        hint = f" ({self.hint})" if self.hint else ""
        return f"{stage}{what}: {self.strerror}{hint}"
