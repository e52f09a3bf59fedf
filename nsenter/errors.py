# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, said so that a person knows what to do next."""

from __future__ import annotations

import errno
import os

from nsenter.error_base import NsenterError
from nsenter.undo import notes_of

__all__ = ["BlobError", "BootstrapError", "Naming", "NsenterError", "signal_name"]


class BlobError(NsenterError, ValueError):
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


# What these are done to is a file in the process's root.
_ON_FILES = ("chdir", "execve")
_kinds: dict[type[OSError], type[BootstrapError]] = {}


class BootstrapError(NsenterError, OSError):
    """A process could not be started in its namespaces.

    It is of the class that Python has for its errno too: who catches the FileNotFoundError of
    subprocess for a program that is not there catches this one.

    Attributes:
        stage: where it failed: "launcher" (this process), "parent", "child", "init".
        operation: the system call or step.
        subject: what it was done to: a path, a value, a pid.
        errno: as for any OSError.
        filename: the subject where that is a file's path, else None.
        hint: what to try, or "". It names the settings of this machine that are at fault, as
            they were when it failed.
    """

    def __new__(
        cls, stage: str, operation: str, subject: str, number: int, hint: str | None = None
    ) -> BootstrapError:
        path = (subject,) if operation in _ON_FILES else ()
        kind = _kind_for(number) if cls is BootstrapError else cls
        return super().__new__(kind, number, os.strerror(number), *path)

    def __init__(
        self, stage: str, operation: str, subject: str, number: int, hint: str | None = None
    ) -> None:
        self.stage = stage
        self.operation = operation
        self.subject = subject
        self.hint = _hint_for(operation, number, subject) if hint is None else hint

    @classmethod
    def killed(cls, stage: str, number: int) -> BootstrapError:
        """A stage was killed by signal `number` before it had done its part."""
        name = signal_name(number) or f"signal {number}"
        return cls(stage, "run", f"killed by {name}", errno.ECANCELED)

    def __reduce__(self) -> tuple[type[BootstrapError], tuple[str, str, str, int, str], object]:
        where = self.stage, self.operation, self.subject
        # Which may be better words than the kernel's.
        state = {"strerror": self.strerror}
        return BootstrapError, (*where, self.errno or 0, self.hint), state

    def __str__(self) -> str:
        hint = f" ({self.hint})" if self.hint else ""
        what = " ".join(filter(None, (self.operation, self.subject)))
        return f"{self.stage}: {what}: {self.strerror}{hint}"


class Naming:
    """A block in which Python's bare OSErrors, such as "Too many open files", become
    BootstrapErrors of the launcher, of the same builtin class, that say what failed."""

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, OSError) and _is_bare(error):
            raise _named(error) from error


def _is_bare(error: OSError) -> bool:
    """Whether it says no more than the kernel did."""
    is_pythons = type(error).__module__ == "builtins"
    return is_pythons and error.errno is not None and error.strerror == os.strerror(error.errno)


def _named(error: OSError) -> BootstrapError:
    try:
        from nsenter import failed

        operation, subject = failed.operation_of(error), failed.subject_of(error)
    except (OSError, ImportError):  # there is no descriptor or memory left to import it with
        trace = error.__traceback__
        while trace and trace.tb_next:
            trace = trace.tb_next
        function = trace.tb_frame.f_code.co_name.strip("_") if trace else "system call"
        operation, subject = function, str(error.filename or "")
    named = BootstrapError("launcher", operation, subject, error.errno or 0, hint="")
    named.filename = error.filename
    named.strerror = error.strerror
    for note in notes_of(error):
        named.add_note(note)
    return named


def signal_name(number: int) -> str:
    """As "SIGKILL"; "" for a real-time signal."""
    import signal  # for errors alone

    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _hint_for(operation: str, number: int, subject: str) -> str:
    try:
        from nsenter.hints import hint_for  # which nobody needs as long as all is well

        return hint_for(operation, number, subject)
    except (OSError, ImportError):  # out of descriptors, or of memory: the error itself counts
        return ""


def _kind_for(number: int) -> type[BootstrapError]:
    """BootstrapError, and what else Python says for this errno."""
    builtin = type(OSError(number, ""))
    if builtin is OSError:
        return BootstrapError
    if builtin not in _kinds:
        names = {"__module__": __name__, "__doc__": BootstrapError.__doc__}
        _kinds[builtin] = type("BootstrapError", (BootstrapError, builtin), names)
    return _kinds[builtin]
