"""Which rights a test needs: by the table, and all of them if it is not there."""

from __future__ import annotations

from places.table import NEEDS

MACHINE = frozenset(("namespaces", "proc", "ids", "machine"))


def needed(file: str, test: str) -> frozenset[str]:
    """The names of the rights (see places.rights) of a test.

    Args:
        file: its file below tests/.
        test: the name of its function.
    """
    for need, tests in NEEDS.get(file, {}).items():
        if test in tests.split() or tests == "*":
            return MACHINE if "machine" in need.split() else frozenset(need.split())
    return MACHINE
