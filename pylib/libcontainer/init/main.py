# SPDX-License-Identifier: Apache-2.0
"""Where the init starts, and how it fails: what is raised in it reaches the caller."""

from __future__ import annotations

import errno
import posix
import sys

from libcontainer.init import setns, standard_init, sync
from libcontainer.init.cgroup_doors import enter_cgroups
from libcontainer.init.config import unpack
from libcontainer.runc_messages import go_text
from nsenter._host.base_error import StepError
from nsenter._host.os_errors import operation_of, subject_of
from nsenter._host.syscalls import PR_SET_PDEATHSIG, prctl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

_SIGKILL = 9
_FAILED = 1
_NO_MEMORY = "cannot allocate memory (is a limit of this user or of a cgroup too low?)"
_ROLES = {"standard": standard_init.run, "setns": setns.run}


def main(channel: int, packed: dict[str, Any]) -> NoReturn:
    """Become the process that the init config describes.

    Args:
        channel: this process's end of the init pipe.
        packed: the init config, from `libcontainer.init.config.pack`.
    """
    # A half-made init does not outlive the runtime that makes it.
    prctl("PR_SET_PDEATHSIG", PR_SET_PDEATHSIG, _SIGKILL)
    try:
        tasks_fds, mounts = sync.receive_until_go(channel)
        enter_cgroups(tasks_fds)
        init_config = unpack(packed, mounts)
        _ROLES[init_config.type](channel, init_config)
    except (sync.PeerGoneError, BrokenPipeError, ConnectionResetError):
        posix._exit(_FAILED)  # nobody waits for this init any more
    except OSError as error:
        _tell(channel, *_words(error), error.errno or 0, error.strerror or str(error))
    except MemoryError:
        _tell(channel, "allocate memory", "", errno.ENOMEM, _NO_MEMORY)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        _tell(channel, f"internal error in {operation_of(error)}", "", errno.EINVAL, why)
    posix._exit(_FAILED)


def _words(error: OSError) -> tuple[str, str]:
    if isinstance(error, StepError) and error.operation:
        return error.operation, error.subject
    return operation_of(error), subject_of(error)


def _tell(channel: int, operation: str, subject: str, number: int, why: str) -> None:
    try:
        sync.send(channel, sync.Error(operation, subject, number, why))
    except OSError:  # the parent does not listen any more, but a person may read this
        what = f"{operation} {subject}".rstrip()
        sys.stderr.write(f"{what}: {go_text(why, number)}\n")
        sys.stderr.flush()
