"""Errors at single system calls of a program, by strace's inject: the helper of test_errnos.py."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from needs import needs

ERRNOS = ("EMFILE", "ENFILE", "ENOMEM", "ENOSPC", "EIO", "EPERM", "EINTR", "EAGAIN")
TEXTS = {name: os.strerror(getattr(errno, name)) for name in ERRNOS}
# What does not fail, or what is no fault of the program's when it does: its end, its memory.
_LEFT_OUT = {
    *"exit exit_group rt_sigreturn brk mmap munmap mprotect madvise arch_prctl".split(),
    *"set_tid_address set_robust_list rseq rt_sigaction rt_sigprocmask futex".split(),
    *"getpid gettid getppid getuid geteuid getgid getegid execve clock_gettime sched_yield".split(),
}
_LINE = re.compile(r"^(\d+) +([a-z_0-9]+)\((.*)$")
SECONDS = 60


class Call(NamedTuple):
    """The `nth` call of this name in a process, from 1."""

    name: str
    nth: int


def _strace(options: Sequence[str], words: Sequence[str]) -> list[str]:
    return [str(needs("strace", package="strace")), "-f", "-qq", *options, *words]


def calls(words: Sequence[str], folder: Path, begin: str) -> list[Call]:
    """What a program and all below it call, behind the first call with `begin` in its arguments.

    Those are left out that the first process makes before, too, while its interpreter boots: an
    error hits each process at its `nth` call.

    Args:
        folder: for the trace.
    """
    return sorted(set(_parsed(_traced(words, folder, fails=False), begin)))


def calls_between(
    words: Sequence[str], folder: Path, begin: str, end: str, *, alone: bool = False
) -> list[Call]:
    """What a process of a program that fails calls, from a call with `begin` in its arguments to
    the next with `end`.

    Args:
        alone: leave out those that another process makes as its `nth`, too.
    """
    counts: Counter[tuple[str, str]] = Counter()
    who = ""
    found = []
    for pid, name, arguments in filter(None, map(_split, _traced(words, folder, fails=True))):
        counts[pid, name] += 1
        if not who and begin in arguments:
            who = pid
        elif pid == who and end in arguments:
            break
        elif pid == who and name not in _LEFT_OUT:
            found.append(Call(name, counts[pid, name]))
    others: Counter[str] = Counter()
    for (pid, name), count in counts.items():
        if pid != who:
            others[name] = max(others[name], count)
    return [call for call in found if not alone or call.nth > others[call.name]]


def _traced(words: Sequence[str], folder: Path, *, fails: bool) -> list[str]:
    trace = folder / "trace"
    done = subprocess.run(
        _strace(["-o", str(trace)], words), stdin=subprocess.DEVNULL, capture_output=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    assert bool(done.returncode) == fails, done
    return trace.read_text(errors="replace").splitlines()


def _split(line: str) -> tuple[str, str, str] | None:
    """The pid, the name and the arguments of a call; None: it is another kind of line."""
    found = _LINE.match(line)
    return (found[1], found[2], found[3]) if found else None


def _parsed(lines: Sequence[str], begin: str) -> Iterator[Call]:
    counts: Counter[tuple[str, str]] = Counter()
    before: Counter[str] | None = None
    for pid, name, arguments in filter(None, map(_split, lines)):
        counts[pid, name] += 1
        if before is None and begin in arguments:
            before = Counter({made: count for (who, made), count in counts.items() if who == pid})
        if before is not None and name not in _LEFT_OUT and counts[pid, name] > before[name]:
            yield Call(name, counts[pid, name])


def inject(
    call: Call, error: str, words: Sequence[str], path: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run the program with an error at that call, of each process that comes so far.

    Args:
        path: count only the calls that are about this file.
    """
    options = [
        *("-o", "/dev/null", "-e", f"trace={call.name}"),
        *("-e", f"inject={call.name}:error={error}:when={call.nth}"),
        *(("-P", path) if path else ()),
    ]
    return subprocess.run(
        _strace(options, words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
        timeout=SECONDS, check=False,
    )  # fmt: skip
