# SPDX-License-Identifier: Apache-2.0
"""Run a command in new and joined namespaces.

Without a command it shows around inside, in every namespace that this kernel has, with Python
as PID 1. The exit status is the command's; 128 + N where signal N killed it; 127 where it is not
there, 126 where it cannot be executed, 125 where something else failed. SIGINT, SIGTERM and the
like are passed on; the second of them kills.

examples:
  python -m nsenter run
  python -m nsenter run --new user,pid,mnt -- ps ax
  python -m nsenter run --join pid=1234 -- ip address
  python -m nsenter run --new all --map-auto --python -- sh
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
from collections.abc import Iterator

from nsenter import idmap
from nsenter.bootstrap import BootstrapData, bootstrap_data
from nsenter.commands import command_words
from nsenter.launch import Child, Program, PythonInit, TracePoint, launch
from nsenter.namespaces import (
    Namespace,
    Namespaces,
    NamespaceType,
    is_namespace_supported,
    namespace_types,
)

_FORWARDED = (
    *(signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT),
    *(signal.SIGUSR1, signal.SIGUSR2),
)
_ASKS_TO_END = {signal.SIGINT, signal.SIGTERM, signal.SIGQUIT}
_KILLED = 128


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The namespaces, the ids, and the command."""
    parser.add_argument(
        "--new", metavar="TYPE,…|all", type=_types, default=[], action="extend",
        help="create these: user, ipc, uts, net, pid, mnt, cgroup, time; all: all but those joined",
    )  # fmt: skip
    parser.add_argument(
        "--join", metavar="pid=PID|TYPE=PATH", default=[], action="append",
        help="join all namespaces of a process, or one by its path; may be repeated",
    )  # fmt: skip
    ids = parser.add_mutually_exclusive_group()
    ids.add_argument(
        "--map-root", dest="mappings", action="store_const", const=idmap.map_root,
        help="be root in a new user namespace (the default where one is created)",
    )  # fmt: skip
    ids.add_argument(
        "--map-auto", dest="mappings", action="store_const", const=idmap.map_auto,
        help="as --map-root, with the subordinate ids of /etc/subuid and /etc/subgid besides",
    )  # fmt: skip
    parser.add_argument("--hostname", help="of a new uts namespace")
    parser.add_argument(
        "--no-proc", dest="mount_proc", action="store_false",
        help="do not mount a new /proc where the pid and the mnt namespace are new",
    )  # fmt: skip
    parser.add_argument(
        "--python", action="store_true", help="have a Python init start the command and reap for it"
    )
    parser.add_argument("command", nargs=argparse.REMAINDER, metavar="-- CMD [ARGS...]")


def _types(words: str) -> list[str]:
    try:
        return [w if w == "all" else NamespaceType.parse(w).value for w in words.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _differs(pid: int, kind: NamespaceType) -> bool:
    """Whether a process is in another namespace of this kind than we are."""
    theirs = os.stat(f"/proc/{pid}/ns/{kind.ns_name()}")
    ours = os.stat(f"/proc/self/ns/{kind.ns_name()}")
    return (theirs.st_dev, theirs.st_ino) != (ours.st_dev, ours.st_ino)


def _of_process(pid: int, stack: contextlib.ExitStack) -> Iterator[Namespace]:
    pidfd = os.pidfd_open(pid)
    stack.callback(os.close, pidfd)
    for kind in namespace_types():
        if is_namespace_supported(kind) and _differs(pid, kind):
            yield Namespace.from_fd(kind, pidfd)


def _joined(word: str, stack: contextlib.ExitStack) -> list[Namespace]:
    kind, equals, where = word.partition("=")
    if not equals or not where:
        raise ValueError(f"--join {word}: expected pid=PID or TYPE=PATH")
    if kind == "pid" and where.isdecimal():
        try:
            return list(_of_process(int(where), stack))
        except OSError as error:
            raise OSError(error.errno, f"--join {word}: {error.strerror}") from None
    return [Namespace(NamespaceType.parse(kind), where)]


def _add_new(wanted: Namespaces, name: str) -> None:
    if name == "all":
        for kind in filter(is_namespace_supported, namespace_types()):
            if not wanted.contains(kind):
                wanted.add(kind)
        return
    kind = NamespaceType.parse(name)
    if wanted.path_of(kind):
        raise ValueError(f"--new {kind.ns_name()}: this one is joined already")
    wanted.add(kind)


def _namespaces(args: argparse.Namespace, stack: contextlib.ExitStack) -> Namespaces:
    wanted = Namespaces()
    for word in args.join:
        for namespace in _joined(word, stack):
            wanted.add(namespace.type, namespace.path)
    is_plain_tour = not (args.new or args.join or args.command)
    for name in ["all"] if is_plain_tour else args.new:
        _add_new(wanted, name)
    if args.mappings and not wanted.contains(NamespaceType.NEWUSER):
        wanted.add(NamespaceType.NEWUSER)
    return wanted


def _bootstrap(args: argparse.Namespace, namespaces: Namespaces) -> BootstrapData:
    if not namespaces.is_private(NamespaceType.NEWUSER):
        if args.mappings:
            raise ValueError("--map-root and --map-auto: the user namespace is joined, and mapped")
        return bootstrap_data(namespaces)
    maps = (args.mappings or idmap.map_root)()
    return bootstrap_data(namespaces, uid_mappings=maps.uid, gid_mappings=maps.gid)


def _target(args: argparse.Namespace, words: list[str]) -> Program | PythonInit:
    if not words:
        return PythonInit("nsenter.tour:main", (_own_namespaces(),))
    return PythonInit("nsenter.init:main", words) if args.python else Program(words)


def _own_namespaces() -> dict[str, str]:
    return {
        kind.ns_name(): str(os.stat(f"/proc/self/ns/{kind.ns_name()}").st_ino)
        for kind in namespace_types()
        if is_namespace_supported(kind)
    }


def _waterfall(trace: tuple[TracePoint, ...]) -> str:
    """When each stage came where, in milliseconds since the launch."""
    start = min(point.ns for point in trace)
    rows = sorted(trace, key=lambda point: point.ns)
    lines = [f"{(p.ns - start) / 1e6:8.3f} ms  {p.stage:9} {p.point}" for p in rows]
    return "\n".join(["      time  stage     has come to", *lines, ""])


@contextlib.contextmanager
def _forwarding(child: Child) -> Iterator[None]:
    asked = 0

    def forward(number: int, frame: object) -> None:
        nonlocal asked
        asked += number in _ASKS_TO_END
        # The init of a pid namespace may ignore a request; it cannot ignore this.
        child.send_signal(signal.SIGKILL if asked > 1 else number)

    # One that is ignored, as nohup(1) has it, stays so.
    heard = [n for n in _FORWARDED if signal.getsignal(n) is not signal.SIG_IGN]
    before = {number: signal.signal(number, forward) for number in heard}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _supervise(child: Child) -> int:
    with child, _forwarding(child):
        if child.channel is not None:
            if child.trace:
                child.channel.sendall(_waterfall(child.trace).encode())
            child.channel.close()
        status = child.wait()
    return status if status >= 0 else _KILLED - status


def execute(args: argparse.Namespace) -> int:
    """Run it and return its exit status."""
    words = command_words(args.command)
    with contextlib.ExitStack() as stack:
        namespaces = _namespaces(args, stack)
        is_tour = not words
        own_processes = namespaces.is_private(NamespaceType.NEWPID)
        own_mounts = namespaces.is_private(NamespaceType.NEWNS)
        own_name = namespaces.is_private(NamespaceType.NEWUTS)
        child = launch(
            _bootstrap(args, namespaces),
            _target(args, words),
            hostname=args.hostname or ("nsenter" if is_tour and own_name else None),
            mount_proc=args.mount_proc and own_processes and own_mounts,
            trace=is_tour,
        )
    return _supervise(child)
