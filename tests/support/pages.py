# SPDX-License-Identifier: Apache-2.0
"""The pages of the documentation, and the scripts in docs/examples that they show.

As a script, writes what the scripts say into the pages' code.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "docs/examples"
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])

# <!-- SCRIPT: SECTION --> right before a block of Python says what it is a copy of.
_BLOCK = re.compile(
    r"^(?P<head>(?:<!-- (?P<source>[^\n]+) -->\n)?```(?P<language>\w*)\n)(?P<text>.*?)^```$",
    re.M | re.S,
)
_SECTION = re.compile(r"^# --- (.+)\n", re.M)
_COMMAND = re.compile(r"^\$ python (?=docs/examples/|-m pytest )")


@dataclass(frozen=True)
class Block:
    """A block of code on a page.

    Args:
        source: the script and the section that it says it is of; "" where it says nothing.
    """

    page: Path
    source: str
    language: str
    text: str

    @property
    def said(self) -> str | None:
        """The section that it has to be; None where it names none."""
        script, _, section = self.source.partition(": ")
        return sections(EXAMPLES / script)[section] if section else None

    @property
    def run(self) -> Run | None:
        """What it shows of a run of an example, if it does."""
        if self.language != "console" or not _COMMAND.match(self.text):
            return None
        command, _, output = self.text.partition("\n")
        return Run(tuple(shlex.split(command)[2:]), output)


@dataclass(frozen=True)
class Run:
    """A run of an example: the arguments of python, and what it prints.

    In the output `…` stands for anything on its line; a line of it alone, for any lines.
    """

    arguments: tuple[str, ...]
    output: str

    @property
    def script(self) -> str:
        (name,) = (Path(word).name for word in self.arguments if word.endswith(".py"))
        return name

    def matches(self, printed: str) -> bool:
        lines = (
            r"(?:.*\n)*" if line == "…" else re.escape(line).replace("…", ".*") + r" *\n"
            for line in self.output.splitlines()
        )
        return re.fullmatch("".join(lines), printed) is not None


def sections(script: Path) -> dict[str, str]:
    """What a script has below each of its lines `# --- NAME`."""
    _, *parts = _SECTION.split(script.read_text())
    return {
        name: text.strip("\n") + "\n" for name, text in zip(parts[::2], parts[1::2], strict=True)
    }


def blocks(page: Path) -> list[Block]:
    return [_block(page, found) for found in _BLOCK.finditer(page.read_text())]


def prose(page: Path) -> str:
    """A page without its blocks."""
    return _BLOCK.sub("", page.read_text())


def _block(page: Path, found: re.Match[str]) -> Block:
    return Block(page, found["source"] or "", found["language"], found["text"])


def refresh(page: Path) -> None:
    """Write the sections of the scripts into the blocks that name them."""

    def refreshed(found: re.Match[str]) -> str:
        said = _block(page, found).said
        return found[0] if said is None else f"{found['head']}{said}```"

    page.write_text(_BLOCK.sub(refreshed, page.read_text()))


if __name__ == "__main__":
    for each in PAGES:
        refresh(each)
