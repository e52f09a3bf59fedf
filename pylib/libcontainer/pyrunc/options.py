# SPDX-License-Identifier: Apache-2.0
"""The command line in one table, and its parser.

Help and completion use the same table (libcontainer.pyrunc.help). argparse is not used, because it
refuses what runc accepts: a flag with a value (--detach=false), and a value that begins with a dash
and is not a number (--env -x=1).

The rules are those of runc's parser. One dash means the same as two. A value follows its option or
a "=". Options may follow the arguments, unless the arguments are a command of their own. A word
after the arguments that is not an option is a further argument. Messages have runc's text, which
callers know.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    # Name, letter, kind, value where it is not given, a line for people.
    Option = tuple[str, str, str, Any, str]
    # A line for people, the arguments as help shows them, how many there may be at least and at
    # most (None: any number), where options end (see `_Parsing`), the options.
    Command = tuple[str, str, int, int | None, str, tuple[Option, ...]]

FLAG, TEXT, NUMBER, TIME = "flag", "text", "number", "time"
MANY, NUMBERS = "many", "numbers"  # may be given again and again
ANYWHERE, AT_ARGUMENT, NO_OPTIONS = "", "*", "-"

_HELP = ("help", "h", FLAG, False, "print this help")

GLOBAL: tuple[Option, ...] = (
    ("debug", "", FLAG, False, "log each step"),
    ("log", "", TEXT, "", "file to append the log to (default: standard error)"),
    ("log-format", "", TEXT, "text", "format of the log: text or json"),
    ("root", "", TEXT, "", "directory for the state of all containers (default: /run/pyrunc)"),
    ("criu", "", TEXT, "", "accepted and ignored: checkpoints are not supported"),
    ("systemd-cgroup", "", FLAG, False,
     "let systemd make the cgroup; cgroupsPath is slice:prefix:name"),
    ("cgroup-manager", "", TEXT, "",
     "as in crun: cgroupfs, systemd, or disabled (make no cgroup)"),
    ("rootless", "", TEXT, "auto", "ignore cgroups that cannot be used: true, false or auto"),
    _HELP,
    ("version", "v", FLAG, False, "print the version"),
)  # fmt: skip

_BUNDLE = ("bundle", "b", TEXT, "", "directory with config.json (default: the current one)")
_CONSOLE = ("console-socket", "", TEXT, "", "AF_UNIX socket to send the terminal's master to")
_PIDFD = ("pidfd-socket", "", TEXT, "", "AF_UNIX socket to send a pidfd of the process to")
_PID_FILE = ("pid-file", "", TEXT, "", "file to write the pid to")
_PRESERVE = ("preserve-fds", "", NUMBER, 0, "pass this many descriptors after stdio and LISTEN_FDS")
_DETACH = ("detach", "d", FLAG, False, "do not wait for the process")
_FORMAT = ("format", "f", TEXT, "table", "table or json")
_CREATION: tuple[Option, ...] = (
    _BUNDLE,
    _CONSOLE,
    _PIDFD,
    _PID_FILE,
    ("no-pivot", "", FLAG, False, "do not use pivot_root(2): for a root on a ramdisk"),
    ("no-new-keyring", "", FLAG, False, "keep the caller's session keyring"),
    _PRESERVE,
)
_ID = "<container-id>"

COMMANDS: dict[str, Command] = {
    "checkpoint": (
        "checkpoint a container (not supported)", f"[options] {_ID}", 0, None, NO_OPTIONS, (),
    ),
    "create": ("create a container", f"[options] {_ID}", 1, 1, ANYWHERE, _CREATION),
    "delete": (
        "delete a container", f"[options] {_ID}", 1, 1, ANYWHERE,
        (("force", "f", FLAG, False, "kill it first if it runs"),),
    ),
    "events": (
        "print what a container uses, and when memory runs out", f"[options] {_ID}", 1, 1, ANYWHERE,
        (
            ("interval", "", TIME, 5.0, "time between two reports, such as 5s or 500ms"),
            ("stats", "", FLAG, False, "print one report and exit"),
        ),
    ),
    "exec": (
        "run a further process in a container", f"[options] {_ID} <command> [args]", 1, None,
        AT_ARGUMENT,
        (
            _CONSOLE,
            _PIDFD,
            ("cwd", "", TEXT, "", "working directory of the process"),
            ("env", "e", MANY, (), "set a variable of the environment: NAME=value"),
            ("tty", "t", FLAG, False, "give the process a terminal"),
            ("user", "u", TEXT, "", "ids of the process: UID[:GID]"),
            ("additional-gids", "g", NUMBERS, (), "add a supplementary group"),
            ("process", "p", TEXT, "", "file with an OCI process object, in place of a command"),
            _DETACH,
            _PID_FILE,
            ("process-label", "", TEXT, "", "SELinux label of the process"),
            ("apparmor", "", TEXT, "", "AppArmor profile of the process"),
            ("no-new-privs", "", FLAG, None, "set no_new_privs"),
            ("cap", "c", MANY, (), "add a capability"),
            _PRESERVE,
            ("cgroup", "", MANY, (), "run in a cgroup below the container's: [CONTROLLER,…:]PATH"),
            ("ignore-paused", "", FLAG, False, "exec in a paused container too"),
        ),
    ),
    "features": ("print what is supported, as JSON", "", 0, 0, ANYWHERE, ()),
    "image": (
        "make the memory images that pyrunc starts from until the machine boots again", "[options]",
        0, 0, ANYWHERE,
        (("remove", "", FLAG, False, "remove them instead"),),
    ),
    "kill": (
        "send a signal (SIGTERM) to a container's first process", f"[options] {_ID} [signal]",
        1, 2, ANYWHERE,
        (("all", "a", FLAG, False, "send it to all processes of the container"),),
    ),
    "list": (
        "list the containers", "[options]", 0, 0, ANYWHERE,
        (_FORMAT, ("quiet", "q", FLAG, False, "print the ids only")),
    ),
    "pause": ("stop all processes of a container", _ID, 1, 1, ANYWHERE, ()),
    "ps": (
        "list the processes of a container", f"[options] {_ID} [ps options]", 1, None, AT_ARGUMENT,
        (_FORMAT,),
    ),
    "restore": (
        "restore a container (not supported)", f"[options] {_ID}", 0, None, NO_OPTIONS, (),
    ),
    "resume": ("resume a paused container", _ID, 1, 1, ANYWHERE, ()),
    "run": (
        "create a container and run it", f"[options] {_ID} [-- command [args]]", 1, None, "rootfs",
        (
            *_CREATION,
            _DETACH,
            ("keep", "", FLAG, False, "do not delete the container when it has ended"),
            ("no-subreaper", "", FLAG, False, "do not become the parent of orphaned processes"),
            ("rootfs", "", TEXT, "", "run without a bundle: a directory, or / for the host's root"),
            ("rw", "", FLAG, False, "with --rootfs: make the root writable"),
            ("network", "", TEXT, "none", "with --rootfs: none or host"),
            ("volume", "", MANY, (), "with --rootfs: SOURCE:DESTINATION[:ro]"),
            ("env", "e", MANY, (), "with --rootfs: NAME=value"),
            ("cwd", "", TEXT, "", "with --rootfs: the working directory"),
            ("user", "u", TEXT, "", "with --rootfs: UID[:GID]"),
            ("tty", "t", FLAG, None, "with --rootfs: a terminal (default: if pyrunc has one)"),
        ),
    ),
    "spec": (
        "write a config.json to start from", "[options]", 0, 0, ANYWHERE,
        (_BUNDLE, ("rootless", "", FLAG, False, "write it for a user who is not root")),
    ),
    "start": ("run the program of a created container", _ID, 1, 1, ANYWHERE, ()),
    "state": ("print the state of a container", _ID, 1, 1, ANYWHERE, ()),
    "update": (
        "change the limits of a container", f"[options] {_ID}", 1, 1, ANYWHERE,
        (
            ("resources", "r", TEXT, "", "file with an OCI resources object; - for stdin"),
            ("blkio-weight", "", NUMBER, 0, "weight of block I/O, 10 to 1000"),
            ("cpu-period", "", TEXT, "", "period of the CPU quota, microseconds"),
            ("cpu-quota", "", TEXT, "", "CPU time in a period, microseconds"),
            ("cpu-burst", "", TEXT, "", "unused CPU time that it may use later, microseconds"),
            ("cpu-share", "", TEXT, "", "weight among other containers"),
            ("cpu-rt-period", "", TEXT, "", "period of real-time scheduling, microseconds"),
            ("cpu-rt-runtime", "", TEXT, "", "real-time CPU time in a period, microseconds"),
            ("cpuset-cpus", "", TEXT, "", "CPUs to use, such as 0-2,4"),
            ("cpuset-mems", "", TEXT, "", "memory nodes to use"),
            ("cpu-idle", "", TEXT, "", "1: run only if no other process wants to"),
            ("kernel-memory", "", TEXT, "", "accepted and ignored: kernels no longer have it"),
            ("kernel-memory-tcp", "", TEXT, "", "accepted and ignored"),
            ("memory", "", TEXT, "", "bytes, also 100M or 1g; -1: unlimited"),
            ("memory-reservation", "", TEXT, "", "memory to leave to it when memory is short"),
            ("memory-swap", "", TEXT, "", "memory and swap together; -1: unlimited"),
            ("pids-limit", "", NUMBER, None, "number of processes; -1: unlimited"),
            ("l3-cache-schema", "", TEXT, "", "Intel RDT, which is not supported"),
            ("mem-bw-schema", "", TEXT, "", "Intel RDT, which is not supported"),
        ),
    ),
}  # fmt: skip


class UsageError(Exception):
    """The command line is not valid.

    Attributes:
        command: the command whose options or arguments are wrong; "" means pyrunc itself.
    """

    def __init__(self, message: str, command: str = "") -> None:
        super().__init__(message)
        self.command = command


def parse_globals(words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return pyrunc's own options, and the command with all words that follow it.

    Raises:
        UsageError: an option is not valid; the error says why.
    """
    parsing = _Parsing(GLOBAL, AT_ARGUMENT)
    return parsing.values, parsing.parse(words)


def parse_command(name: str, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the options of a command by key, such as "pid_file", and its arguments.

    Raises:
        UsageError: an option is not valid, or there are too many or too few arguments.
    """
    _, _, least, most, end, options = COMMANDS[name]
    if end == NO_OPTIONS:
        return {"help": bool({"-h", "-help", "--help"}.intersection(words))}, list(words)
    parsing = _Parsing((*options, _HELP), end)
    try:
        arguments = parsing.parse(words)
    except UsageError as error:
        raise UsageError(str(error), name) from None
    if not parsing.values["help"]:
        _check_count(name, len(arguments), least, most)
    return parsing.values, arguments


def _check_count(name: str, count: int, least: int, most: int | None) -> None:
    if least == most and count != least:
        how = f"exactly {least}"
    elif count < least:
        how = f"a minimum of {least}"
    elif most is not None and count > most:
        how = f"a maximum of {most}"
    else:
        return
    raise UsageError(f'pyrunc: "{name}" requires {how} argument(s)', name)


def key_of(name: str) -> str:
    """Return the key of an option among the parsed ones."""
    return name.replace("-", "_")


class _Parsing:
    """The parsing of the options of one table.

    Args:
        table: the options.
        end: where the options end. ANYWHERE: with the last word. AT_ARGUMENT: at the first
            argument. NO_OPTIONS: there are none. A key: at the first argument if that option is
            given.
    """

    def __init__(self, table: Iterable[Option], end: str) -> None:
        self._end = end
        self._by_name: dict[str, Option] = {}
        self.values: dict[str, Any] = {}
        for option in table:
            name, letter, _, default, _ = option
            self._by_name[name] = option
            if letter:
                self._by_name[letter] = option
            self.values[key_of(name)] = default

    def parse(self, words: Sequence[str]) -> list[str]:
        """Fill in `values`; return the arguments."""
        arguments: list[str] = []
        at = 0
        while at < len(words):
            word = words[at]
            at += 1
            if word == "--":
                break
            if self._is_option(word, bool(arguments)):
                at += self._take(word, words[at : at + 1])
            else:
                arguments.append(word)
                if self._ends():
                    # A "--" between the argument and a command's words is none of these.
                    at += words[at : at + 1] == ["--"]
                    break
        return [*arguments, *words[at:]]

    def _ends(self) -> bool:
        return self._end == AT_ARGUMENT or bool(self._end and self.values[self._end])

    def _is_option(self, word: str, behind: bool) -> bool:
        """Return whether a word is an option.

        After an argument only known options are: `kill NAME -9` has two arguments.
        """
        if not word.startswith("-") or word == "-":
            return False
        return not behind or _split(word)[0] in self._by_name

    def _take(self, word: str, following: Sequence[str]) -> int:
        """Take an option; return how many of the following words belong to it."""
        name, equals, value = _split(word)
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        option = self._by_name.get(name)
        if option is None:
            raise UsageError(f"flag provided but not defined: -{name}")
        if option[2] == FLAG:
            self._put(option, name, value if equals else "true")
            return 0
        if not equals and not following:
            raise UsageError(f"flag needs an argument: -{name}")
        self._put(option, name, value if equals else following[0])
        return 0 if equals else 1

    def _put(self, option: Option, as_given: str, text: str) -> None:
        name, _, kind, _, _ = option
        key = key_of(name)
        try:
            value = _READERS[kind](text)
        except ValueError:
            what = "boolean value" if kind == FLAG else "value"
            quoted = text.replace("\\", "\\\\").replace('"', '\\"')
            message = f'invalid {what} "{quoted}" for -{as_given}: parse error'
            if kind != FLAG:
                message = message.replace(" for -", " for flag -")
            raise UsageError(message) from None
        if kind in (MANY, NUMBERS):
            value = (*self.values[key], value)
        self.values[key] = value


def _split(word: str) -> tuple[str, str, str]:
    """Return the name, the "=" and the value of an option. One dash means the same as two."""
    return word[2 if word.startswith("--") else 1 :].partition("=")


def _flag(text: str) -> bool:
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    if text in ("0", "f", "F", "FALSE", "false", "False"):
        return False
    raise ValueError(text)


def _number(text: str) -> int:
    return int(text, 0)


def _time(text: str) -> float:
    from libcontainer.pyrunc.units import seconds

    return seconds(text)


_READERS: dict[str, Callable[[str], Any]] = {
    FLAG: _flag, TEXT: str, MANY: str, NUMBER: _number, NUMBERS: _number, TIME: _time,
}  # fmt: skip
