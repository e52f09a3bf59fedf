# SPDX-License-Identifier: Apache-2.0
"""Read "linux.memoryPolicy" (config-linux.md, set_mempolicy(2))."""

from __future__ import annotations

from libcontainer.configs import MemoryPolicy
from libcontainer.errors import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

# linux/mempolicy.h
MODES = {
    "MPOL_DEFAULT": 0, "MPOL_PREFERRED": 1, "MPOL_BIND": 2, "MPOL_INTERLEAVE": 3,
    "MPOL_LOCAL": 4, "MPOL_PREFERRED_MANY": 5, "MPOL_WEIGHTED_INTERLEAVE": 6,
}  # fmt: skip
FLAGS = {
    "MPOL_F_STATIC_NODES": 1 << 15,
    "MPOL_F_RELATIVE_NODES": 1 << 14,
    "MPOL_F_NUMA_BALANCING": 1 << 13,
}
_MOST_NODES = 1024  # the kernel can be built for no more
_LONGEST_NUMBER = 10


def memory_policy_from_spec(linux: Reader) -> MemoryPolicy | None:
    """Return the policy; None if there is none, or if it changes nothing."""
    item = linux.object("memoryPolicy")
    if item is None or not any(item.value.get(name) for name in ("mode", "flags", "nodes")):
        return None
    mode = item.text("mode")
    if mode not in MODES:
        raise ConfigError(item.at("mode"), _none_of("mode", mode, MODES))
    flags = 0
    for i, word in enumerate(item.texts("flags")):
        if word not in FLAGS:
            raise ConfigError(f"{item.at('flags')}[{i}]", _none_of("flag", word, FLAGS))
        flags |= FLAGS[word]
    return MemoryPolicy(MODES[mode], flags, tuple(sorted(_nodes(item))))


def _none_of(what: str, word: str, words: dict[str, int]) -> str:
    return f"invalid memory policy {what}: {word!r} is none of {', '.join(words)}"


def _nodes(item: Reader) -> set[int]:
    """Return the nodes of a list such as "0-2,4"; an empty list names none."""
    found: set[int] = set()
    for part in filter(None, (part.strip() for part in item.text("nodes").split(","))):
        first, dash, last = part.partition("-")
        ends = (first, last) if dash else (first, first)
        if not all(n.isascii() and n.isdigit() and len(n) <= _LONGEST_NUMBER for n in ends) or not (
            int(ends[0]) <= int(ends[1]) < _MOST_NODES
        ):
            why = f"invalid memory policy node: {part!r} is no node and no range of nodes"
            raise ConfigError(item.at("nodes"), f"{why}, of 0..{_MOST_NODES - 1}")
        found.update(range(int(ends[0]), int(ends[1]) + 1))
    return found
