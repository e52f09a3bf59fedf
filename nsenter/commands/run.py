# SPDX-License-Identifier: Apache-2.0
"""Run a command in new and joined namespaces.

Without a command, Python runs as PID 1 in every kind of namespace that this kernel has, and shows
what it sees there. The exit status is that of the command; 128 + N if signal N killed it; 127 if
the command does not exist; 126 if it cannot be executed; 125 if something else failed. SIGINT,
SIGTERM and similar signals are passed on to the command; the second of them kills it.

examples:
  python -m nsenter run
  python -m nsenter run --user --pid --mount -- ps ax
  python -m nsenter run --target 1234 --net -- ip address
  python -m nsenter run --net=blue -- ss
  python -m nsenter run --all --map-auto --python -- sh
"""

from __future__ import annotations

import os
import signal

from nsenter._host.suppress import suppress
from nsenter._launch import trace as timeline
from nsenter.commands import complain, read
from nsenter.commands.run_options import OPTIONS, names_namespaces, options_of
from nsenter.commands.table import Option
from nsenter.launch import Program, PythonInit
from nsenter.namespaces import supported_namespaces
from nsenter.options import ALL

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nsenter._launch.child import Child, TracePoint

_FORWARDED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
_ASKS_TO_END = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}
_KILLED = 128

_OWN = (
    Option(
        ("--python",), "", "have a Python init start the command and reap for it", "python",
        group="how it is run",
    ),
    Option(
        ("--trace",), "[FILE.svg]",
        "print on stderr where the start spent its time, or draw it", "trace",
        group="how it is run",
    ),
)  # fmt: skip


def main(words: list[str]) -> int:
    """Run it and return its exit status."""
    given = read("run", __doc__, (*OPTIONS, *_OWN), words, "[--] [COMMAND [ARGUMENT]…]")
    if given is None:
        return 0
    options, command = options_of(given), given.operands
    trace = given.last("trace")
    if trace:
        _check_writable(trace)
    target = _target(command, bool(given.all("python")))

    def start() -> Child:
        if isinstance(target, PythonInit) and not command and not names_namespaces(given):
            from nsenter.commands import show_around  # which a command has no need of

            return show_around.start(
                options.replace(new=ALL, hostname=options.hostname or "nsenter"), target
            )
        return options.launch(target, trace=trace is not None or not command)

    with _Forwarding() as signals, start() as child:
        signals.to(child)
        if trace is not None:
            _tell(child.trace, trace, " ".join(["nsenter run", *words]))
        return _accompany(child, is_tour=not command)


def _target(command: tuple[str, ...], by_python: bool) -> Program | PythonInit:
    if not command:
        return PythonInit("nsenter._inside.show_inside:main", (_own_namespaces(),))
    return PythonInit("nsenter._inside.pid1:main", command) if by_python else Program(command)


def _own_namespaces() -> dict[str, str]:
    return {
        kind.ns_name(): str(os.stat(f"/proc/self/ns/{kind.ns_name()}").st_ino)
        for kind in supported_namespaces()
    }


def _check_writable(path: str) -> None:
    """Before anything is started: one cannot un-run a command whose trace has no place."""
    with open(path, "a", encoding="utf-8"):
        pass


def _tell(trace: tuple[TracePoint, ...], path: str, title: str) -> None:
    if not path:
        complain(timeline.text(trace), end="")
        return
    with open(path, "w", encoding="utf-8") as file:
        file.write(timeline.draw(trace, title))


class _Forwarding:
    """While in this block, signals that ask us to do something are passed on to the child.

    Those that come before it has started are kept for it: nothing that comes at any time leaves
    a child without us.
    """

    def __init__(self) -> None:
        self._child: Child | None = None
        self._kept: list[int] = []
        self._asked = 0

    def to(self, child: Child) -> None:
        """It has started."""
        self._child = child
        while self._kept:
            child.send_signal(self._kept.pop(0))

    def _forward(self, number: int, frame: object) -> None:
        self._asked += number in _ASKS_TO_END
        insists = self._asked > 1
        if self._child is not None:
            # The init of a pid namespace may ignore a request; it cannot ignore this.
            self._child.send_signal(signal.SIGKILL if insists else number)
        elif insists:  # a start that hangs; what is there of it ends with us
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        else:
            self._kept.append(number)

    def __enter__(self) -> _Forwarding:
        # One that is ignored, as nohup(1) has it, stays so.
        heard = [n for n in _FORWARDED if signal.getsignal(n) is not signal.SIG_IGN]
        self._before = {number: signal.signal(number, self._forward) for number in heard}
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)


def _accompany(child: Child, *, is_tour: bool) -> int:
    """Until it has ended; returns its exit status."""
    if child.channel is not None:
        if is_tour:  # which tells of its own start
            with suppress(BrokenPipeError):  # why it has ended, its status tells
                child.channel.sendall(timeline.text(child.trace).encode())
        child.channel.close()
    if child.terminal_fd >= 0:
        from nsenter.commands.terminal import relay

        relay(child)
    status = child.wait()
    return status if status >= 0 else _KILLED - status
