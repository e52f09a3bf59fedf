# SPDX-License-Identifier: Apache-2.0
"""The texts of runc's errors that engines match.

Docker, podman and containerd decide by these texts with which status they end (125, 126 or 127),
and which hint they print. The texts of an errno are Go's: those of strerror(3), which begin with a
lower case letter.
"""

from __future__ import annotations

import posix

from nsenter._host.base_error import StepError
from nsenter._host.cleanup import notes_of

# Some advice of nsenter._host.hints names options of the other command. This is the same for
# config.json.
_FOR_CONFIG = {
    "no admin": "config.json must name a user namespace and its mappings too, as `pyrunc spec "
    "--rootless` writes it",
    "chroot": "run pyrunc outside of the chroot",
    "kinds": "`pyrunc features` lists the supported ones; config.json may name only those",
    "no new privs": "start pyrunc without no_new_privs, or map only the caller's own id",
    "covered proc": "podman run --security-opt unmask=ALL, docker run --security-opt "
    "systempaths=unconfined; or bind the current /proc in config.json",
}

_NOT_STARTED = "unable to start container process"
_IN_INIT = "error during container init"


def errno_text(number: int) -> str:
    """Return Go's text for an errno, such as "permission denied"."""
    return _as_go_has_it(posix.strerror(number))


def _as_go_has_it(text: str) -> str:
    """Return a text with a lower case first letter, as Go has it.

    An abbreviation stays the same ("RFS specific error").
    """
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def message(error: BaseException, *, of_exec: bool = False) -> str:
    """Return the message of an error in runc's words, followed by the notes on the error.

    The number that Python puts before the message of an OSError is left out.

    Args:
        error: the error.
        of_exec: whether the command was to execute a process in a running container.
    """
    if not isinstance(error, OSError) or error.strerror is None:
        told = str(error)
    else:
        told = go_text(_told(error, of_exec), error.errno or 0)
    return ", ".join((told, *notes_of(error)))


def go_text(text: str, number: int) -> str:
    """Return a text with Go's text for one errno. All other texts in it stay the same."""
    return text.replace(posix.strerror(number), errno_text(number))


def _told(error: OSError, of_exec: bool) -> str:
    if isinstance(error, StepError):
        return _not_started(error, of_exec) if error.stage else f"{error}{_hint(error)}"
    if type(error).__str__ is not OSError.__str__:
        return str(error)
    from nsenter._host.os_errors import in_words

    return in_words(error)


def _hint(failure: StepError) -> str:
    """Return what to do about a system call that failed, if a filter refuses it."""
    from nsenter._host.refused_syscalls import why_refused  # for errors alone

    hint = why_refused(failure.operation, failure.errno or 0, failure.subject)
    return f" ({hint})" if hint else ""


def hint_for_config(hint: str) -> str:
    """Return a hint of `nsenter._host.hints` in the terms of config.json."""
    from nsenter._host.hints import FACTS  # for errors alone

    for name, advice in _FOR_CONFIG.items():
        hint = hint.replace(FACTS[name].do, advice)
    return hint


def _not_started(error: StepError, of_exec: bool) -> str:
    if error.hint:
        error.hint = hint_for_config(error.hint)
    if error.stage != "init":
        return f"{_NOT_STARTED}: {error}"
    # What a message of its stage begins with is said in other words here.
    text = str(error).removeprefix(f"{error.stage}: ")
    inside = () if of_exec else (_IN_INIT,)
    return ": ".join((_NOT_STARTED, *inside, text))
