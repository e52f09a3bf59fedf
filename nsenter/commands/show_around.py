# SPDX-License-Identifier: Apache-2.0
"""Start the tour: `python -m nsenter run` without a command.

The tour also runs if this machine refuses some namespaces, or all of them.
"""

from __future__ import annotations

import errno
import sys

from nsenter._host.hints import ASK_THE_DOCTOR
from nsenter.bootstrap import bootstrap_data
from nsenter.commands.decode import explain
from nsenter.errors import BootstrapError
from nsenter.idmap import map_root
from nsenter.launch import PythonInit
from nsenter.namespaces import Namespaces, supported_namespaces
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter._launch.child import Child

__all__ = ["start"]

_HEADING = "What works here, without new namespaces"
# What the tour can do without: the operation and subject that fail, the field that asks for it,
# its value that does not, and what is said of it.
_LESSER: tuple[tuple[str, str, str, Any, str], ...] = (
    ("sethostname", "", "hostname", None, "Without a hostname of its own"),
    ("mount", "/proc", "proc", False, "Without a /proc of its own"),
)


def start(options: Options, target: PythonInit) -> Child:
    """Start the tour with `options`, or with as much of them as works here.

    What is left out is printed, with the reason. Where no namespace can be created, what works
    without is shown before the tour, which then takes place in the caller's own.
    """
    while True:
        try:
            return options.launch(target, trace=True)
        except BootstrapError as error:
            lesser = _lesser(options, error)
            if lesser is None:
                if not _is_refused(error):
                    raise
                _show_without(error)
                return Options().launch(target, trace=True)
            options = lesser


def _lesser(options: Options, error: BootstrapError) -> Options | None:
    """Options that do without what has failed; None if there are none."""
    for operation, subject, field, value, said in _LESSER:
        fails = error.operation == operation and subject in error.subject
        if fails and getattr(options, field) != value:
            _say(f"{said}: {error}\n")
            return options.replace(**{field: value})
    return None


def _is_refused(error: BootstrapError) -> bool:
    """Whether it is the place that lets nobody create a namespace."""
    creates = error.operation in ("clone", "clone3", "unshare")
    refusals = (errno.EPERM, errno.EACCES, errno.ENOSPC, errno.ENOSYS, errno.EINVAL)
    return creates and error.errno in refusals


def _say(text: str) -> None:
    print(text, flush=True)


def _show_without(error: BootstrapError) -> None:
    causes = error.hint.removesuffix(f"; {ASK_THE_DOCTOR}").split("; ")
    seen, _, do = causes[0].partition(": ")
    _say(
        f"This place forbids new namespaces: {error.operation} fails with "
        f'"{error.strerror}"{f", and {seen}" if do else ""}.\n'
        f"To change that: {do or error.hint or ASK_THE_DOCTOR}.\n\n"
        f"{_HEADING}\n{'=' * len(_HEADING)}\n"
    )
    _say("1. The bootstrap message that asks for every namespace, as bytes and explained:\n")
    maps = map_root()
    kinds = Namespaces()
    for kind in supported_namespaces():
        kinds.add(kind)
    message = bootstrap_data(kinds, uid_mappings=maps.uid, gid_mappings=maps.gid).encode()
    _say(f"{message.hex(' ', 4)}\n")
    explain(message)
    sys.stdout.flush()
    _say(
        "\n2. nsexec, the C core, has parsed that message, and came as far as this:\n\n"
        f"{error.stage}: {error.operation} {error.subject}: {error.strerror}\n\n"
        "3. Of a message that asks for none, nsexec goes through all stages, and Python takes over "
        "as the init:\n"
    )
