# SPDX-License-Identifier: Apache-2.0
"""The command line in one table, and the parser of lines that are right.

A line that is wrong, help and completion go to libcontainer.pyrunc.help, which makes an argparse
parser of the same table: argparse alone takes longer to import than a container to start.
"""

from __future__ import annotations

from nsenter.values import Value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

FLAG, TEXT, NUMBER, MANY = "flag", "text", "number", "many"


class Option(Value):
    """One option.

    Args:
        name: without dashes.
        kind: FLAG, TEXT, NUMBER, or MANY for one that may be given again and again.
        help: a line for people.
        short: its letter.
        default: where it is not given; a list for MANY.
    """

    name: str
    kind: str
    help: str
    short: str = ""
    default: Any = None

    @property
    def key(self) -> str:
        """Its name among the parsed."""
        return self.name.replace("-", "_")


class Command(Value):
    """One command.

    Args:
        help: a line for people.
        arguments: names of what comes behind the options; "…" at the end of one that takes all
            that is left, "?" behind one that may be left out.
        options: its options.
    """

    help: str
    arguments: tuple[str, ...]
    options: tuple[Option, ...] = ()


class UsageError(Exception):
    """A line that is wrong."""


GLOBAL = (
    Option("debug", FLAG, "log what is done"),
    Option("log", TEXT, "file that the log is appended to (default: standard error)"),
    Option("log-format", TEXT, "of the log: text or json", default="text"),
    Option("root", TEXT, "folder of all containers' state (default: /run/pyrunc)"),
    Option("criu", TEXT, "accepted and not used: there is no checkpoint"),
    Option("systemd-cgroup", FLAG, "have systemd make cgroups; cgroupsPath is slice:prefix:name"),
    Option("rootless", TEXT, "pass over cgroups that one may not make: true, false or auto",
           default="auto"),
    Option("version", FLAG, "print the version", short="v"),
    Option("help", FLAG, "print this", short="h"),
)  # fmt: skip

_BUNDLE = Option("bundle", TEXT, "folder of config.json (default: here)", short="b")
_CONSOLE = Option("console-socket", TEXT, "AF_UNIX socket that gets the terminal's master")
_PIDFD = Option("pidfd-socket", TEXT, "AF_UNIX socket that gets a pidfd of the process")
_PID_FILE = Option("pid-file", TEXT, "file that the process's pid is written to")
_PRESERVE = Option("preserve-fds", NUMBER, "so many descriptors from 3 on are kept", default=0)
_DETACH = Option("detach", FLAG, "do not wait for the process", short="d")
_CREATION = (
    _BUNDLE, _CONSOLE, _PIDFD, _PID_FILE,
    Option("no-pivot", FLAG, "no pivot_root, for a root on a ramdisk"),
    Option("no-new-keyring", FLAG, "keep the caller's session keyring"),
    _PRESERVE,
)  # fmt: skip
_FORMAT = Option("format", TEXT, "table or json", short="f", default="table")

COMMANDS = {
    "create": Command("make a container, up to its start", ("container-id",), _CREATION),
    "run": Command(
        "make a container and run it", ("container-id", "command…"),
        (
            *_CREATION, _DETACH,
            Option("keep", FLAG, "do not delete it when it has ended"),
            Option("no-subreaper", FLAG, "do not become the parent of orphans"),
            Option("rootfs", TEXT, "run without a bundle: a folder, or / for the host's root"),
            Option("rw", FLAG, "with --rootfs: the root may be written to"),
            Option("network", TEXT, "with --rootfs: none or host", default="none"),
            Option("volume", MANY, "with --rootfs: SOURCE:DESTINATION[:ro]", default=()),
            Option("env", MANY, "with --rootfs: NAME=value", short="e", default=()),
            Option("cwd", TEXT, "with --rootfs: the working directory"),
            Option("user", TEXT, "with --rootfs: UID[:GID]", short="u"),
            Option("tty", FLAG, "with --rootfs: a terminal (default: where there is one)",
                   short="t"),
        ),
    ),
    "start": Command("let a created container run its program", ("container-id",)),
    "exec": Command(
        "run a further process in a container", ("container-id", "command…"),
        (
            _CONSOLE, _PIDFD,
            Option("cwd", TEXT, "its working directory"),
            Option("env", MANY, "NAME=value", short="e", default=()),
            Option("tty", FLAG, "give it a terminal", short="t"),
            Option("user", TEXT, "UID[:GID]", short="u"),
            Option("additional-gids", MANY, "more group ids", short="g", default=()),
            Option("process", TEXT, "file with OCI's process object", short="p"),
            _DETACH, _PID_FILE,
            Option("process-label", TEXT, "its SELinux context"),
            Option("apparmor", TEXT, "its AppArmor profile"),
            Option("no-new-privs", FLAG, "it gains no privileges by execve"),
            Option("cap", MANY, "one more capability", short="c", default=()),
            _PRESERVE,
            Option("cgroup", TEXT, "run in a cgroup below the container's: [CONTROLLER:]NAME"),
            Option("ignore-paused", FLAG, "also in a paused container"),
        ),
    ),
    "state": Command("print the state of a container", ("container-id",)),
    "kill": Command(
        "send a signal to a container's first process", ("container-id", "signal?"),
        (Option("all", FLAG, "to all of its processes", short="a"),),
    ),
    "delete": Command(
        "take away a container", ("container-id",),
        (Option("force", FLAG, "kill it first where it runs", short="f"),),
    ),
    "list": Command(
        "list the containers", (),
        (_FORMAT, Option("quiet", FLAG, "their ids only", short="q")),
    ),
    "ps": Command("list a container's processes", ("container-id", "ps option…"), (_FORMAT,)),
    "pause": Command("stop all processes of a container", ("container-id",)),
    "resume": Command("let a paused container go on", ("container-id",)),
    "update": Command(
        "change what a container is limited to", ("container-id",),
        (
            Option("resources", TEXT, "file with OCI's resources object, or - for stdin",
                   short="r"),
            Option("blkio-weight", NUMBER, "weight of block I/O, 10 to 1000"),
            Option("cpu-period", TEXT, "period of the CPU quota, microseconds"),
            Option("cpu-quota", TEXT, "CPU time in a period, microseconds"),
            Option("cpu-burst", TEXT, "CPU time saved up, microseconds"),
            Option("cpu-share", TEXT, "weight among other containers"),
            Option("cpu-rt-period", TEXT, "period of real-time scheduling, microseconds"),
            Option("cpu-rt-runtime", TEXT, "CPU time of real-time scheduling, microseconds"),
            Option("cpuset-cpus", TEXT, "CPUs to use, such as 0-2,4"),
            Option("cpuset-mems", TEXT, "memory nodes to use"),
            Option("cpu-idle", TEXT, "1: run only where nobody else wants to"),
            Option("memory", TEXT, "memory, bytes or with k, m, g; -1: unlimited"),
            Option("memory-reservation", TEXT, "memory that it is left with under pressure"),
            Option("memory-swap", TEXT, "memory and swap; -1: unlimited swap"),
            Option("pids-limit", NUMBER, "processes; -1: unlimited"),
            Option("l3-cache-schema", TEXT, "Intel RDT, which is not supported"),
            Option("mem-bw-schema", TEXT, "Intel RDT, which is not supported"),
        ),
    ),
    "events": Command(
        "print what a container uses, and when memory runs out", ("container-id",),
        (
            Option("interval", TEXT, "time between two, such as 5s", default="5s"),
            Option("stats", FLAG, "print it once"),
        ),
    ),
    "spec": Command(
        "write a config.json to start from", (),
        (_BUNDLE, Option("rootless", FLAG, "for a container without root")),
    ),
    "features": Command("print what is supported, as JSON", ()),
    "checkpoint": Command("not supported", ("container-id", "arguments…")),
    "restore": Command("not supported", ("container-id", "arguments…")),
}  # fmt: skip


class Line(Value):
    """A parsed line.

    Args:
        command: its name; "" where only global options are given.
        globals: global options, by key.
        options: the command's, by key.
        arguments: what is behind.
    """

    command: str
    globals: dict[str, Any]
    options: dict[str, Any]
    arguments: tuple[str, ...] = ()


def parse(words: Sequence[str]) -> Line:
    """The line of `words`.

    Raises:
        UsageError: it is wrong; says how.
    """
    given, rest = _options(GLOBAL, words)
    if not rest:
        return Line("", given, {})
    name, *rest = rest
    command = COMMANDS.get(name)
    if command is None:
        raise UsageError(f"there is no command {name!r}")
    options, arguments = _options((*command.options, GLOBAL[-1]), rest)
    if not options["help"]:
        _check_count(name, command, arguments)
    return Line(name, given, options, tuple(arguments))


def _check_count(name: str, command: Command, arguments: list[str]) -> None:
    needed = sum(not a.endswith(("…", "?")) for a in command.arguments)
    endless = any(a.endswith("…") for a in command.arguments)
    if len(arguments) < needed or (len(arguments) > len(command.arguments) and not endless):
        what = f"at least {needed}" if endless else f"exactly {needed}"
        raise UsageError(f'"{name}" requires {what} argument(s), got {len(arguments)}')


def _options(table: Sequence[Option], words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Options up to the first word that is none, and what is left. One dash serves as two."""
    by_name = {option.name: option for option in table}
    by_name |= {option.short: option for option in table if option.short}
    values: dict[str, Any] = {option.key: _unset(option) for option in table}
    rest = list(words)
    while rest and rest[0].startswith("-") and rest[0] != "-":
        word = rest.pop(0)
        if word == "--":
            break
        name, equals, value = word.lstrip("-").partition("=")
        option = by_name.get(name)
        if option is None:
            raise UsageError(f"there is no option {word.partition('=')[0]}")
        if option.kind == FLAG:
            values[option.key] = _bool(option, value) if equals else True
            continue
        if not equals:
            if not rest:
                raise UsageError(f"--{option.name} needs a value")
            value = rest.pop(0)
        _put(values, option, value)
    # A "--" between the arguments and a command is no argument.
    if len(rest) > 1 and rest[1] == "--":
        del rest[1]
    return values, rest


def _unset(option: Option) -> Any:
    if option.kind == MANY:
        return []
    return False if option.kind == FLAG else option.default


def _put(values: dict[str, Any], option: Option, value: str) -> None:
    if option.kind == MANY:
        values[option.key].append(value)
    elif option.kind == NUMBER:
        if not value.lstrip("-").isdecimal():
            raise UsageError(f"--{option.name} {value!r}: expected a number")
        values[option.key] = int(value)
    else:
        values[option.key] = value


def _bool(option: Option, value: str) -> bool:
    if value.lower() in ("true", "t", "1"):
        return True
    if value.lower() in ("false", "f", "0"):
        return False
    raise UsageError(f"--{option.name}={value}: expected true or false")
