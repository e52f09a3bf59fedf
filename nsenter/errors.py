# SPDX-License-Identifier: Apache-2.0
"""The exceptions of this package. Each says what failed and, if known, what to do about it."""

from __future__ import annotations

import errno
import os

from nsenter._host.base_error import NsenterError, StepError
from nsenter._host.cleanup import notes_of

__all__ = ["BootstrapError", "MessageError", "Naming", "NsenterError", "signal_name"]


class MessageError(NsenterError, ValueError):
    """A bootstrap message is not valid.

    Attributes:
        attribute: the type of the attribute that is wrong; None for the header.
        offset: the offset in bytes from the start of the message; None if the message could not be
            encoded.
        reason: what is wrong.
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


# The subject of these operations is a file in the root of the process.
_ON_FILES = ("chdir", "execve")
_kinds: dict[type[OSError], type[BootstrapError]] = {}


class BootstrapError(StepError):
    """A process could not be started in its namespaces.

    The error is also an instance of the builtin class for its errno: code that catches the
    FileNotFoundError of subprocess for a missing program also catches this one.

    Attributes:
        stage: the stage that failed: "launcher" (the calling process), "parent", "child", "init",
            or "template" (of a `NamespaceExecutor`).
        operation: the system call or step that failed.
        subject: the path, value or pid that the operation was applied to.
        errno: the error number, as for every OSError.
        filename: the subject if it is the path of a file, otherwise None.
        hint: what to try, or "". It names the settings of this machine that cause the error, as
            they were when it occurred.
    """

    def __new__(
        cls, stage: str, operation: str, subject: str, number: int, hint: str | None = None
    ) -> BootstrapError:
        """Create an instance of the subclass for the errno, such as PermissionError."""
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
        """Return the error for a stage that signal `number` killed before it was done."""
        name = signal_name(number) or f"signal {number}"
        return cls(stage, "run", f"killed by {name}", errno.ECANCELED)

    @classmethod
    def at(cls, stage: str, failure: StepError) -> BootstrapError:
        """Return the error for a step that has failed in a stage, with a hint."""
        error = cls(stage, failure.operation, failure.subject, failure.errno or 0)
        error.strerror = failure.strerror
        return error

    def __reduce__(self) -> tuple[type[BootstrapError], tuple[str, str, str, int, str], object]:
        where = self.stage, self.operation, self.subject
        # strerror may be more precise than the kernel's text for this errno.
        state = {"strerror": self.strerror}
        return BootstrapError, (*where, self.errno or 0, self.hint), state


class Naming:
    """A context manager that turns a bare OSError into a BootstrapError that says what failed.

    A bare OSError says only, for example, "Too many open files". The BootstrapError is the
    launcher's; it is still an instance of the same builtin class.
    """

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, OSError) and _is_bare(error):
            raise _named(error) from error


def _is_bare(error: OSError) -> bool:
    """Return whether the error says no more than its errno."""
    is_pythons = type(error).__module__ == "builtins"
    return is_pythons and error.errno is not None and error.strerror == os.strerror(error.errno)


def _named(error: OSError) -> BootstrapError:
    try:
        from nsenter._host import os_errors

        operation, subject = os_errors.operation_of(error), os_errors.subject_of(error)
    except (OSError, ImportError):  # no descriptor or memory is left to import the module
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
    """Return the name, such as "SIGKILL"; "" for a real-time signal."""
    import signal  # only errors need it

    try:
        return signal.Signals(number).name
    except ValueError:
        return ""


def _hint_for(operation: str, number: int, subject: str) -> str:
    try:
        from nsenter._host.hints import hint_for  # only errors need it

        return hint_for(operation, number, subject)
    except (OSError, ImportError):  # no descriptor or memory is left: there is no hint
        return ""


def _kind_for(number: int) -> type[BootstrapError]:
    """Return a class that is BootstrapError and the builtin class for this errno."""
    builtin = type(OSError(number, ""))
    if builtin is OSError:
        return BootstrapError
    if builtin not in _kinds:
        names = {"__module__": __name__, "__doc__": BootstrapError.__doc__}
        _kinds[builtin] = type("BootstrapError", (BootstrapError, builtin), names)
    return _kinds[builtin]
