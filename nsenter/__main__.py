# SPDX-License-Identifier: Apache-2.0
"""python -m nsenter: start processes in namespaces, and look at what starts them."""

from __future__ import annotations

import argparse
import errno
import importlib
import signal
import sys

from nsenter.errors import BootstrapError

# Name, module below nsenter.commands, and what the help says.
_COMMANDS = (
    ("run", "run", "run a command in new and joined namespaces"),
    ("encode", "encode", "make a bootstrap message from JSON"),
    ("decode", "decode", "explain a bootstrap message, attribute by attribute"),
    ("types", "types", "list the namespace types and what this kernel supports"),
    ("stub", "stub", "take the place of `runc init` for a parent that speaks its protocol"),
)

# As env(1), timeout(1) and docker have it: this command failed, or what it was to run is not
# there, or cannot be executed.
FAILED = 125
NOT_EXECUTABLE = 126
NOT_FOUND = 127
KILLED = 128  # plus the signal


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m nsenter", description=__doc__)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, module_name, summary in _COMMANDS:
        module = importlib.import_module(f"nsenter.commands.{module_name}")
        command = commands.add_parser(
            name,
            help=summary,
            description=module.__doc__,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        module.add_arguments(command)
        command.set_defaults(execute=module.execute)
    return parser


def _status_of(error: Exception) -> int:
    if not isinstance(error, BootstrapError) or error.operation != "execve":
        return FAILED
    return NOT_FOUND if error.errno == errno.ENOENT else NOT_EXECUTABLE


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    args = _parser().parse_args(argv)
    try:
        status: int = args.execute(args)
    except KeyboardInterrupt:
        return KILLED + signal.SIGINT
    except (OSError, ValueError, LookupError, ImportError) as error:
        print(f"nsenter: {error}", file=sys.stderr)
        return _status_of(error)
    return status


if __name__ == "__main__":
    sys.exit(main())
