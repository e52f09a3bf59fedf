# SPDX-License-Identifier: Apache-2.0
"""Help texts in runc's form, and completion, from the table in libcontainer.pyrunc.options."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from libcontainer.pyrunc.options import (
    COMMANDS,
    FLAG,
    GLOBAL,
    MANY,
    NUMBERS,
    TIME,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from libcontainer.pyrunc.options import Option

_PYRUNC = """\
NAME:
   pyrunc - Open Container Initiative runtime

It runs containers from OCI bundles, as runc does, with runc's command line. A bundle is a directory
with a config.json and a root file system. It also runs a command without a bundle:

    # pyrunc run --rootfs / box -- sh

USAGE:
   pyrunc [global options] command [command options] [arguments...]
"""
_MORE = {
    "run": """\
DESCRIPTION:
   With a bundle, it runs process.args of config.json. With --rootfs it needs no bundle: it runs the
command after the container's name in that directory, or in the host's own root. The root is
read-only unless you give --rw.

EXAMPLES:
    # pyrunc spec && pyrunc run web
    # pyrunc run --rootfs ./alpine --rw --volume $PWD:/src box -- sh -c 'ls /src'
    # pyrunc run --rootfs / --network host box
""",
    "exec": """\
EXAMPLE:
    # pyrunc exec web ps
""",
    "kill": """\
EXAMPLE:
    # pyrunc kill web KILL
""",
    "update": """\
DESCRIPTION:
   A limit that you do not name stays as it is. The file of --resources has the form of
linux.resources in config.json; a 0 in it changes nothing, except in pids.limit:
{"memory": {"limit": 0, "reservation": 0, "swap": 0},
 "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
 "blockIO": {"weight": 0}, "pids": {"limit": 100}}
With --resources, all other options are ignored.
""",
}


def text(command: str = "") -> str:
    """Return the help of a command, or of pyrunc."""
    if not command:
        names = ((name, entry[0]) for name, entry in COMMANDS.items())
        return f"{_PYRUNC}\nCOMMANDS:\n{_table(names)}\nGLOBAL OPTIONS:\n{_options(GLOBAL)}"
    summary, arguments, _, _, _, options = COMMANDS[command]
    usage = f"pyrunc {command} {arguments}".rstrip()
    parts = [f"NAME:\n   pyrunc {command} - {summary}\n", f"USAGE:\n   {usage}\n"]
    if command in _MORE:
        parts.append(_MORE[command])
    if options:
        parts.append(f"OPTIONS:\n{_options(options)}")
    return "\n".join(parts)


def _options(options: Iterable[Option]) -> str:
    return _table((_names(option), _with_default(option)) for option in options)


def _names(option: Option) -> str:
    name, letter, kind, _, _ = option
    value = "" if kind == FLAG else " value"
    return f"--{name}{value}, -{letter}{value}" if letter else f"--{name}{value}"


def _with_default(option: Option) -> str:
    _, _, kind, default, line = option
    shown = f"{default:g}s" if kind == TIME else default
    return f"{line} (default: {shown})" if default and "default:" not in line else line


def _table(rows: Iterable[tuple[str, str]]) -> str:
    rows = list(rows)
    width = max(len(name) for name, _ in rows)
    return "".join(f"   {name:{width}}  {line}\n" for name, line in rows)


def parser() -> argparse.ArgumentParser:
    """Return an argparse parser with the options of the table, for completion."""
    top = argparse.ArgumentParser(prog="pyrunc", add_help=False)
    _add(top, GLOBAL)
    commands = top.add_subparsers(metavar="COMMAND", dest="command")
    for name, (summary, arguments, least, most, _, options) in COMMANDS.items():
        sub = commands.add_parser(name, help=summary)
        _add(sub, options)
        if least or most != 0:
            counted = sub.add_argument("container", help=arguments)
            counted.completer = _container_ids  # type: ignore[attr-defined]
        if most is None:
            sub.add_argument("words", nargs=argparse.REMAINDER)
        elif most > 1:
            sub.add_argument("signal", nargs="?")
    return top


def _add(target: argparse.ArgumentParser, options: Sequence[Option]) -> None:
    for name, letter, kind, _, line in options:
        names = [f"-{letter}"] if letter else []
        more: dict[str, Any] = {"action": "store_true"} if kind == FLAG else {}
        if kind in (MANY, NUMBERS):
            more = {"action": "append"}
        target.add_argument(*names, f"--{name}", help=line.replace("%", "%%"), **more)


def _container_ids(prefix: str, parsed_args: Any = None, **_: object) -> list[str]:
    from libcontainer.pyrunc.state_root import state_root
    from libcontainer.record import list_containers

    ids = list_containers(state_root(getattr(parsed_args, "root", None) or ""))
    return [id for id in ids if id.startswith(prefix)]


def complete() -> None:
    """Answer the shell by argcomplete, and exit."""
    if sys.flags.no_site:  # as a command is started, without the folder of other packages
        import site

        site.main()
    import argcomplete

    argcomplete.autocomplete(parser())
