# SPDX-License-Identifier: Apache-2.0
"""A process that runs a program, and ends it when the caller ends, however that happens.

PR_SET_PDEATHSIG is not enough for a program that enters a user namespace: the kernel forgets the
signal when a process gains capabilities (prctl(2)).

sys.argv: the pid of the caller, and the program with its arguments.
"""

from __future__ import annotations

import os
import select
import signal
import sys

__all__ = ["main"]


def main() -> None:
    """Run the program; exit with its exit status."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # the caller may ignore it
    parent = int(sys.argv[1])
    caller = os.pidfd_open(parent)
    if os.getppid() != parent:
        return
    argv = sys.argv[2:]
    # The descriptors that were passed to this process are inheritable. Python ignores the signals.
    ignored = [signal.SIGPIPE, signal.SIGXFSZ]
    pid = os.posix_spawnp(argv[0], argv, os.environ, setsigdef=ignored)
    program = os.pidfd_open(pid)
    poll = select.poll()
    for fd in (caller, program):
        poll.register(fd, select.POLLIN)
    while not (ready := {fd for fd, _ in poll.poll()}):
        pass
    if program not in ready:
        os.kill(pid, signal.SIGKILL)
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) & 0xFF)
