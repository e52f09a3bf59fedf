# SPDX-License-Identifier: Apache-2.0
"""Run a command that nobody trusts, with limits, and say why it ended.

The command has no network, no files except the system's programs and libraries, and no environment
of the caller's. Its output is passed on as it comes. The exit status is that of the command;
128 + N if signal N killed it; 124 if the time was over; 137 if the memory or the output reached its
limit; 127 if the command does not exist; 126 if it cannot be executed; 125 if something else
failed. A line on standard error says why the command ended, unless it has exited.

examples:
  python -m nsenter sandbox --memory 512M --pids 64 --timeout 10 -- python3 -c "print(6 * 7)"
  python -m nsenter sandbox --workspace ./job --overlay --commit out.txt -- make
  python -m nsenter sandbox --egress packages.example.org:443 -- curl https://packages.example.org
  python -m nsenter sandbox --json -- ls /
"""

from __future__ import annotations

import signal
import sys

from nsenter._host.printable import printable
from nsenter.commands import complain, read
from nsenter.commands.table import Option, Usage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter._sandbox.result import Result
    from nsenter.commands.table import ParsedArguments

_TIMED_OUT, _KILLED = 124, 128
_FAILED, _NOT_EXECUTABLE, _NOT_FOUND = 125, 126, 127
_MOST_INPUT = 1 << 30


def _whole(word: str) -> int:
    if not word.isdecimal():
        raise ValueError("expected a whole number")
    return int(word)


def _real(word: str) -> float:
    try:
        return float(word)
    except ValueError:
        raise ValueError("expected a number") from None


def _variable(word: str) -> tuple[str, str]:
    name, equals, value = word.partition("=")
    if not equals:
        raise ValueError("expected NAME=VALUE")
    return name, value


_LIMITS, _FILES, _OTHERS = "limits", "files", "what else it has"
_OPTIONS = (
    Option(("--memory",), "SIZE", "of all its processes together, such as 512M", "memory",
           group=_LIMITS),
    Option(("--swap",), "SIZE", "that may be swapped out in addition (default: nothing)", "swap",
           group=_LIMITS),
    Option(("--pids",), "NUMBER", "of processes and threads at a time", "pids", _whole, _LIMITS),
    Option(("--cpus",), "NUMBER", "of processors that it may keep busy, such as 1.5", "cpus", _real,
           _LIMITS),
    Option(("--timeout",), "SECONDS", "after which everything is killed", "timeout", _real,
           _LIMITS),
    Option(("--output-limit",), "SIZE", "of its output and its errors together (default: 64M)",
           "output_limit", group=_LIMITS),
    Option(("--best-effort",), "",
           "limit each process by itself if no cgroup can be made, instead of refusing to start",
           "best effort", group=_LIMITS),
    Option(("--read",), "PATH", "that it also sees, read-only", "read", group=_FILES),
    Option(("--write",), "PATH", "that it may also change", "write", group=_FILES),
    Option(("--root",), "DIR|IMAGE", "to have as root: a directory or an OCI image", "root",
           group=_FILES),
    Option(("--workspace",), "DIR", "to work in, as /workspace", "workspace", group=_FILES),
    Option(("--overlay",), "", "do not change DIR and the root: changes are forgotten", "overlay",
           group=_FILES),
    Option(("--commit",), "PATH", "in the workspace whose changes are kept if it succeeds",
           "commit", group=_FILES),
    Option(("--tmp-size",), "SIZE", "of /tmp (default: 64M)", "tmp_size", group=_FILES),
    Option(("--egress",), "HOST:PORT", "that it may connect to, through a proxy", "egress",
           group=_OTHERS),
    Option(("--share-net",), "", "leave it in this network", "share net", group=_OTHERS),
    Option(("--setenv",), "NAME=VALUE", "set a variable", "setenv", _variable, _OTHERS),
    Option(("--chdir",), "DIR", "to start in", "cwd", group=_OTHERS),
    Option(("--stdin",), "", "pass this standard input on, once it has ended", "stdin",
           group=_OTHERS),
    Option(("--json",), "", "print the result as JSON, with the output in it", "json",
           group=_OTHERS),
)  # fmt: skip
_SINGLE = (
    *("memory", "swap", "pids", "cpus", "timeout", "output_limit"),
    *("root", "workspace", "tmp_size"),
)
_SEVERAL = ("read", "write")


def main(words: list[str]) -> int:
    """Run it, and return its exit status."""
    given = read("sandbox", __doc__, _OPTIONS, words, "[--] COMMAND [ARGUMENT]…")
    if given is None:
        return 0
    if not given.operands:
        raise Usage("sandbox: the command to run is missing")
    arguments = _arguments(given)
    # The sandbox ends with this process in any case; this also removes what belongs to it.
    signal.signal(signal.SIGTERM, _end)
    from nsenter.sandbox import Sandbox

    is_json = bool(given.all("json"))
    with Sandbox(**arguments) as box:
        result = box.run(
            given.operands,
            input=sys.stdin.buffer.read(_MOST_INPUT) if given.all("stdin") else b"",
            env=_environment(given),
            cwd=given.last("cwd"),
            on_output=None if is_json else _pass_on,
        )
        if given.all("commit") and result.ok:
            box.commit(*given.all("commit"))
    if is_json:
        _print_json(result)
    else:
        _explain(result)
    return _status(result)


def _end(number: int, frame: object) -> None:
    sys.exit(_KILLED + number)


def _arguments(given: ParsedArguments) -> dict[str, Any]:
    """Return the arguments of a Sandbox."""
    found = {name: given.last(name) for name in _SINGLE if given.all(name)}
    found |= {name: given.all(name) for name in _SEVERAL}
    if given.all("best effort"):
        found["limits"] = "best effort"
    if given.all("overlay"):
        found["overlay"] = True
    if given.all("commit") and not given.all("overlay"):
        raise Usage("--commit requires --overlay and --workspace")
    if given.all("egress") and given.all("share net"):
        raise Usage("--egress and --share-net cannot both be given")
    if given.all("egress"):
        from nsenter._sandbox.egress import Egress

        found["network"] = Egress(given.all("egress"))
    elif given.all("share net"):
        found["network"] = "host"
    return found


def _environment(given: ParsedArguments) -> dict[str, str] | None:
    if not given.all("setenv"):
        return None
    from nsenter.sandbox import ENVIRONMENT

    return {**ENVIRONMENT, **dict(given.all("setenv"))}


def _pass_on(stream: int, piece: bytes) -> None:
    out = sys.stdout if stream == 1 else sys.stderr
    out.buffer.write(piece)
    out.flush()


def _explain(result: Result) -> None:
    if result.error is not None:
        complain(f"nsenter: {printable(str(result.error))}")
    elif result.verdict != "exited":
        complain(f"nsenter: {result.verdict.replace('_', ' ')}")
    for line in result.refused:
        complain(f"nsenter: refused: {printable(line)}")


def _print_json(result: Result) -> None:
    import json

    usage = None if result.usage is None else dict(result.usage.__dict__)
    found = {
        **{name: getattr(result, name) for name in ("args", "verdict", "returncode", "wall_time")},
        "stdout": result.stdout.decode(errors="replace"),
        "stderr": result.stderr.decode(errors="replace"),
        "usage": usage,
        "limited_by": dict(result.limited_by),
        "refused": [*map(str, result.refused)],
        "error": result.error and str(result.error),
    }
    print(json.dumps(found))


def _status(result: Result) -> int:
    if result.error is not None:
        if result.error.operation != "execve":
            return _FAILED
        return _NOT_FOUND if isinstance(result.error, FileNotFoundError) else _NOT_EXECUTABLE
    if result.verdict == "timeout":
        return _TIMED_OUT
    code = result.returncode or 0
    return code if code >= 0 else _KILLED - code
