# SPDX-License-Identifier: Apache-2.0
"""Differences between runtimes that are known, each with its reason.

A difference is a line that one of them has and the control has not ("+ ") or the other way round
("- "), of one topic. One that is listed and not there any more is a failure too.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from interop.container_view import Topics

ANYWHERE = r".*"
_UNCOMPARED = {"error"}  # the words are each runtime's own


@dataclass(frozen=True)
class Difference:
    """Lines of a topic that differ, and why they may.

    Args:
        runtime: which differs from the control.
        topic: as in `seen`, or "exit", "stderr", "stdout".
        lines: a regular expression that a differing line matches as a whole.
        reason: for people.
        cases: a regular expression of the names of cases.
        shown_by: a case that must show it.
        of_v1: whether it is one of cgroup v1 alone.
    """

    runtime: str
    topic: str
    lines: str
    reason: str
    cases: str = ANYWHERE
    shown_by: str = "default"
    of_v1: bool = False

    def __str__(self) -> str:
        return f"{self.runtime}-{self.topic}-{self.shown_by}"

    def explains(self, runtime: str, case: str, topic: str, line: str) -> bool:
        return (
            runtime == self.runtime
            and re.fullmatch(self.topic, topic) is not None
            and re.fullmatch(self.cases, case) is not None
            and re.fullmatch(self.lines, line) is not None
        )


def between(control: Topics, other: Topics) -> Iterator[tuple[str, str]]:
    """(topic, differing line), the line with its sign.

    Where one ran and the other did not, that is the difference.
    """
    ended_alike = control["exit"] == other["exit"]
    for topic in {**control, **other} if ended_alike else ("exit",):
        if topic in _UNCOMPARED:
            continue
        for line in difflib.ndiff(control.get(topic, []), other.get(topic, [])):
            if line[0] in "+-":
                yield topic, line


def unexplained(
    runtime: str, case: str, found: Iterable[tuple[str, str]], known: Iterable[Difference]
) -> list[str]:
    """The differing lines that no known difference explains."""
    rows = list(known)
    return [
        f"{topic}: {line}"
        for topic, line in found
        if not any(row.explains(runtime, case, topic, line) for row in rows)
    ]
