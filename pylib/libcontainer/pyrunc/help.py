# SPDX-License-Identifier: Apache-2.0
"""Help and completion: an argparse parser made of the table in libcontainer.pyrunc.options."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from libcontainer.pyrunc.options import COMMANDS, FLAG, GLOBAL, MANY, NUMBER, Command, Option

if TYPE_CHECKING:
    from collections.abc import Sequence

_DESCRIPTION = """\
Run containers from OCI bundles: folders with a config.json and a root file system.

  pyrunc spec; pyrunc run mycontainer             in a bundle
  pyrunc run --rootfs / box -- sh                 without one: the host's root, read-only
"""


def parser() -> argparse.ArgumentParser:
    """The parser of everything."""
    top = argparse.ArgumentParser(
        prog="pyrunc",
        description=_DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        add_help=False,
    )
    _add(top, GLOBAL)
    commands = top.add_subparsers(title="commands", metavar="COMMAND", dest="command")
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name, prog=f"pyrunc {name}", help=command.help, description=command.help, add_help=False
        )
        _add(sub, (*command.options, GLOBAL[-1]))
        _add_arguments(sub, command)
    return top


def _add(target: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    for option in options:
        names = [f"-{option.short}"] if option.short else []
        more: dict[str, Any] = {"action": "store_true"}
        if option.kind != FLAG:
            more = {"metavar": "N" if option.kind == NUMBER else "VALUE"}
        if option.kind == MANY:
            more["action"] = "append"
        target.add_argument(*names, f"--{option.name}", help=option.help, **more)


def _add_arguments(target: argparse.ArgumentParser, command: Command) -> None:
    for argument in command.arguments:
        name = argument.rstrip("…?")
        counts = {"…": argparse.REMAINDER, "?": "?"}
        added = target.add_argument(name, metavar=name.upper(), nargs=counts.get(argument[-1]))
        if name == "container-id":
            added.completer = _container_ids  # type: ignore[attr-defined]


def _container_ids(prefix: str, **_: object) -> list[str]:
    from libcontainer.container import list_containers
    from libcontainer.pyrunc.context import default_root

    return [id for id in list_containers(default_root()) if id.startswith(prefix)]


def text(command: str = "") -> str:
    """The help of a command, or of all."""
    top = parser()
    if not command:
        return top.format_help()
    subparsers = next(a for a in top._actions if isinstance(a, argparse._SubParsersAction))
    found: argparse.ArgumentParser = subparsers.choices[command]
    return found.format_help()


def complete() -> None:
    """Answer the shell (argcomplete), and end."""
    import argcomplete

    argcomplete.autocomplete(parser())
