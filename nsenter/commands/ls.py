# SPDX-License-Identifier: Apache-2.0
"""List the namespaces: who is in them, who owns them, and what else keeps them.

This is like lsns(8), but it also shows the owner of each namespace, and namespaces without a
process. Those are kept by a mount, as ip-netns(8) makes one, by an open descriptor, or by a
namespace inside. If you give the number of a namespace, the command lists the processes in it.

examples:
  python -m nsenter ls --type net
  python -m nsenter ls --task 1234 --tree
  python -m nsenter ls 4026531840
"""

from __future__ import annotations

from nsenter._host.printable import printable
from nsenter.commands import complain, read
from nsenter.commands.table import Option, Usage
from nsenter.inspect import snapshot
from nsenter.namespaces import NamespaceType

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nsenter.inspect import NamespaceInfo, ProcessInfo, Snapshot


def _pid(word: str) -> int:
    if not word.isdecimal():
        raise ValueError("expected a pid")
    return int(word)


_OPTIONS = (
    Option(("--type", "-t"), "TYPE", "only namespaces of this type; may be repeated", "type",
           NamespaceType.parse),
    Option(("--task", "-p", "--pid"), "PID", "only the namespaces of this process", "pid", _pid),
    Option(("--tree", "-T"), "", "below the user namespace that owns each", "tree"),
    Option(("--json", "-J"), "", "all that is known, as JSON", "json"),
)  # fmt: skip


def main(words: list[str]) -> int:
    """Print it. 0, also where some processes are not this user's to see; that is said then."""
    given = read("ls", __doc__, _OPTIONS, words, "[NAMESPACE]")
    if given is None:
        return 0
    found = snapshot()
    wanted = _filtered(found, given.last("pid"), given.all("type"))
    if given.operands:
        wanted = [_named(wanted, given.operands)]
    if given.all("json"):
        _print_json(found, wanted)
    elif given.operands:
        _print_rows(_PROCESS_COLUMNS, [found.process(pid) for pid in wanted[0].pids], wanted[0])
    elif given.all("tree"):
        print("\n".join(_tree(found, wanted)))
    else:
        _print_rows(_COLUMNS, wanted, found)
    _say_hidden(found)
    return 0


def _filtered(
    found: Snapshot, pid: int | None, kinds: Sequence[NamespaceType]
) -> list[NamespaceInfo]:
    namespaces = found.namespaces if pid is None else found.of(pid)
    return [namespace for namespace in namespaces if not kinds or namespace.kind in kinds]


def _named(namespaces: Iterable[NamespaceInfo], operands: Sequence[str]) -> NamespaceInfo:
    word = operands[0].rpartition("[")[2].removesuffix("]")  # 4026531840, or as readlink has it
    if len(operands) > 1 or not word.isdecimal():
        raise Usage(f"{' '.join(operands)}: expected the number of one namespace")
    for namespace in namespaces:
        if namespace.inode == int(word):
            return namespace
    raise LookupError(f"namespace {word}: there is none here that this user may see")


def _say_hidden(found: Snapshot) -> None:
    if found.hidden:
        said = f"processes that this user may not look into: {len(found.hidden)}"
        complain(f"nsenter: {said}")


def _print_json(found: Snapshot, wanted: Iterable[NamespaceInfo]) -> None:
    import json

    namespaces = [
        {**namespace.to_data(full=True), "kind": namespace.kind.ns_name()} for namespace in wanted
    ]
    pids = {pid for namespace in wanted for pid in namespace.pids}
    processes = [process.to_data(full=True) for process in found.processes if process.pid in pids]
    document = {"namespaces": namespaces, "processes": processes, "hidden": list(found.hidden)}
    print(json.dumps(document, indent=2))


# ---- the tables


def _first(namespace: NamespaceInfo, found: Snapshot) -> ProcessInfo | None:
    return found.process(namespace.pids[0]) if namespace.pids else None


def _of_first(name: str) -> Callable[[NamespaceInfo, Snapshot], object]:
    def value(namespace: NamespaceInfo, found: Snapshot) -> object:
        first = _first(namespace, found)
        return "" if first is None else getattr(first, name)

    return value


def _kept_by(namespace: NamespaceInfo) -> str:
    first, *others = namespace.kept_by or ("",)
    return f"{first} (+{len(others)})" if others else first


# Heading, how it is aligned, and what is in it.
_COLUMNS: tuple[tuple[str, str, Callable[[NamespaceInfo, Snapshot], object]], ...] = (
    ("NS", ">", lambda namespace, _: namespace.inode),
    ("TYPE", "<", lambda namespace, _: namespace.kind.ns_name()),
    ("OWNER", ">", lambda namespace, _: namespace.owner or "-"),
    ("NPROCS", ">", lambda namespace, _: len(namespace.pids)),
    ("PID", ">", _of_first("pid")),
    ("UID", ">", _of_first("uid")),
    ("COMMAND", "<", _of_first("comm")),
    ("KEPT BY", "<", lambda namespace, _: _kept_by(namespace)),
)
_PROCESS_COLUMNS: tuple[tuple[str, str, Callable[[ProcessInfo, NamespaceInfo], object]], ...] = (
    ("PID", ">", lambda process, _: process.pid),
    ("PPID", ">", lambda process, _: process.parent),
    ("INSIDE", ">", lambda process, _: process.pids[-1]),
    ("UID", ">", lambda process, _: process.uid),
    ("COMMAND", "<", lambda process, _: process.comm),
)


def _print_rows(
    columns: Sequence[tuple[str, str, Callable[..., object]]],
    items: Iterable[object],
    context: object,
) -> None:
    rows = [[heading for heading, _, _ in columns]]
    rows += [[printable(str(cell(item, context))) for _, _, cell in columns] for item in items]
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        cells = (
            f"{text:{align}{width}}"
            for text, (_, align, _), width in zip(row, columns, widths, strict=True)
        )
        print(" ".join(cells).rstrip())


# ---- the tree


def _tree(found: Snapshot, wanted: Sequence[NamespaceInfo]) -> Iterator[str]:
    """Return the wanted namespaces below their owners, whose own owners show where they belong."""
    shown = {namespace.inode: namespace for namespace in wanted}
    for namespace in wanted:
        owner = namespace.owner
        while owner is not None and owner not in shown:
            shown[owner] = found.namespace(owner)
            owner = shown[owner].owner
    roots = [namespace for namespace in shown.values() if namespace.owner not in shown]
    for root in roots:
        yield from _branch(found, shown.values(), root, "", "")


def _branch(
    found: Snapshot, shown: Iterable[NamespaceInfo], top: NamespaceInfo, lead: str, below: str
) -> Iterator[str]:
    yield lead + _told(found, top)
    owned = [namespace for namespace in shown if namespace.owner == top.inode]
    # What it holds itself, and then the user namespaces below it.
    owned.sort(key=lambda namespace: namespace.kind == NamespaceType.NEWUSER)
    for namespace in owned:
        last = namespace is owned[-1]
        corner, line = ("└─ ", "   ") if last else ("├─ ", "│  ")
        yield from _branch(found, shown, namespace, below + corner, below + line)


def _told(found: Snapshot, namespace: NamespaceInfo) -> str:
    """Return the line of a namespace."""
    said = [f"{namespace.kind.ns_name()} {namespace.inode}"]
    if namespace.owner_uid is not None:
        said.append(f"of uid {namespace.owner_uid}")
    if namespace.kind == NamespaceType.NEWPID and namespace.parent is not None:
        said.append(f"in pid {namespace.parent}")
    first = _first(namespace, found)
    if first is not None:
        others = f" (+{len(namespace.pids) - 1})" if len(namespace.pids) > 1 else ""
        said.append(f"{first.pid} {printable(first.comm)}{others}")
    if namespace.kept_by:
        said.append(f"kept by {printable(_kept_by(namespace))}")
    return "  ".join(said)
