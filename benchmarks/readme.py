# SPDX-License-Identifier: Apache-2.0
"""The part of README.md that a run writes: what was found, on which machine, and when."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from harness import WAITED
from report import told

__all__ = ["update"]

_README = Path(__file__).with_name("README.md")
_BEGIN, _END = "<!-- written by `make bench`: begin -->\n", "<!-- written by `make bench`: end -->"

# Heading, picture, what it shows, and the cases below it.
_SECTIONS = (
    ("Starting a program", "launch",
     "How many times as long as the kernel alone a launch takes. The dotted line is the floor; "
     "what is left of it makes no namespaces.", ("all", "but-net")),
    ("Each kind of namespace", "kinds",
     "Which namespace costs what, and what is on top of it: the net namespace is most of a launch.",
     ("single",)),
    ("Containers, joins, Python", "containers",
     "The same bundle, the same container, the same function; each group has its own scale.",
     ("container", "container-row", "container-v2", "join", "python", "protocol", "call")),
    ("One launch, stage by stage", "waterfall",
     "When each stage came to each point, by its own clock: a bar is the time since the point "
     "before it.", ()),
    ("How a launch grows", "growth",
     "Where a line is flat, size does not matter. Bands are the confidence interval.",
     ("caller", "mounts", "maps", "joined", "alive", "concurrency")),
    ("Encoding and decoding", "codec",
     "One message of 240 bytes, and one of 60 KB.", ("codec",)),
    ("Memory", "memory",
     "The most that each process on the way had resident.", ("peaks", "rest")),
)  # fmt: skip


def _machine(about: dict[str, Any]) -> Iterator[str]:
    yield (
        f"Run of {about['date'][:16].replace('T', ' ')} UTC: {about['processors']} processors, "
        f"{about['processor']}, {about['memory_mib'] / 1024:.0f} GiB, Linux {about['kernel']}, "
        f"cgroups {about['cgroups']}, {about['libc']}, Python {about['python']}, "
        f"load {about['load_average'][0]:.1f} at the start. "
        f"{'; '.join(f'{name}: {text}' for name, text in about['versions'].items())}."
    )
    yield ""


def _targets(cases: dict[str, Any]) -> Iterator[str]:
    yield "| | ratio | median | target | |"
    yield "| --- | --- | --- | --- | --- |"
    for case in cases.values():
        for ratio in case["ratios"]:
            if ratio["target"]:
                value = ratio["ratio"]
                yield (
                    f"| {case['title']} | {_ratio_name(ratio)} | **{value['median']:.2f}** "
                    f"({value['low']:.2f} … {value['high']:.2f}) "
                    f"| ≤ {ratio['target']} | {ratio['verdict']} |"
                )
    yield ""


def _ratio_name(ratio: dict[str, Any]) -> str:
    return f"{_short(ratio['above'])} / {' + '.join(map(_short, ratio['below']))}"


def _short(series: str) -> str:
    """Without the quantity that nearly all have."""
    return series.removesuffix(f": {WAITED}").removesuffix(": each")


def _case(case: dict[str, Any]) -> Iterator[str]:
    yield f"**{case['title']}.** {case['about']}"
    yield ""
    yield "| | median | 95 % | |"
    yield "| --- | ---: | --- | --- |"
    for name, value in case["values"].items():
        median, interval = told(value, case["unit"])
        yield f"| {_short(name)} | {median} | {interval} | {case['notes'].get(name, '')} |"
    yield ""
    if case["ratios"]:
        yield "| ratio | median | 95 % |"
        yield "| --- | ---: | --- |"
        for ratio in case["ratios"]:
            value = ratio["ratio"]
            interval = f"{value['low']:.2f} … {value['high']:.2f}"
            yield f"| {_ratio_name(ratio)} | {value['median']:.2f} | {interval} |"
        yield ""
    if case["missing"]:
        yield f"Left out: {'; '.join(case['missing'])}."
        yield ""


def _section(
    document: dict[str, Any], heading: str, picture: str, shows: str, names: tuple[str, ...]
) -> Iterator[str]:
    yield f"### {heading}"
    yield ""
    yield f"![{heading}](results/{picture}.png)"
    yield ""
    yield shows
    yield ""
    known = [document["cases"][name] for name in names if name in document["cases"]]
    if known:
        yield "<details><summary>The numbers</summary>"
        yield ""
        for case in known:
            yield from _case(case)
        yield "</details>"
        yield ""


def _lines(document: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield from _machine(document["machine"])
    yield from _targets(document["cases"])
    for section in _SECTIONS:
        yield from _section(document, *section)


def update(document: dict[str, Any], readme: Path = _README) -> None:
    """Write a run between the marks."""
    before, begin, rest = readme.read_text().partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"{readme}: the marks between which a run is written are gone")
    readme.write_text(before + begin + "\n".join(_lines(document)) + end + after)
