"""What is mounted in this process's mount namespace, for tests that leave nothing behind."""

from __future__ import annotations

from pathlib import Path


def mounted() -> list[str]:
    """Each mount with its options, without the path: somebody may rename a directory above it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [" ".join(words[:4] + words[5:]) for words in map(str.split, lines)]
