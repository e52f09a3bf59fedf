# SPDX-License-Identifier: Apache-2.0
"""The trace shows where a start spends its time, as text and as SVG."""

from __future__ import annotations

from itertools import pairwise
from xml.etree import ElementTree

import pytest

from nsenter._launch import trace as waterfall
from nsenter._launch.child import TracePoint
from nsenter.launch import Program, PythonInit
from nsenter.options import Options

SVG = "{http://www.w3.org/2000/svg}"

TRACE = (
    TracePoint("launcher", "spawn", 1_000_000_000),
    TracePoint("parent", "start", 1_000_200_000),
    TracePoint("parent", "mapped", 1_000_700_000),
    TracePoint("init", "start", 1_000_750_000),
    TracePoint("parent", "done", 1_000_800_000),
    TracePoint("init", "exec", 1_001_800_000),
    TracePoint("launcher", "ready", 1_002_000_000),
)


def test_a_bar_starts_where_its_stage_last_was() -> None:
    told = [(b.stage, b.point, b.start // 1000, b.end // 1000) for b in waterfall.bars(TRACE)]
    assert told == [
        ("parent", "start", 0, 200),
        ("parent", "mapped", 200, 700),
        # A stage that is new waited for what came last before it.
        ("init", "start", 700, 750),
        ("parent", "done", 700, 800),
        ("init", "exec", 750, 1800),
        ("launcher", "ready", 0, 2000),
    ]


def test_the_text_has_a_line_for_each_and_a_bar_to_scale() -> None:
    heading, *lines = waterfall.text(TRACE).splitlines()
    assert heading.split() == ["at", "took", "stage", "came", "to"]
    assert lines[1].split()[:5] == ["0.700", "0.500", "ms", "parent", "mapped"]
    lengths = {line.split()[4]: line.count("━") for line in lines}
    assert lengths["ready"] == 40 and lengths["exec"] == 21 and lengths["mapped"] == 10
    assert lines[1].index("━") - lines[-1].index("━") == 4


def test_the_order_of_the_points_does_not_matter() -> None:
    assert waterfall.bars(reversed(TRACE)) == waterfall.bars(TRACE)


@pytest.mark.parametrize("trace", [(), TRACE[:1]])
def test_without_points_there_is_nothing_to_draw(trace: tuple[TracePoint, ...]) -> None:
    assert waterfall.bars(trace) == ()
    assert len(waterfall.text(trace).splitlines()) == 1
    ElementTree.fromstring(waterfall.draw(trace))


def drawn(trace: tuple[TracePoint, ...], title: str = "") -> ElementTree.Element:
    return ElementTree.fromstring(waterfall.draw(trace, title))


def number(element: ElementTree.Element, name: str) -> float:
    return float(element.attrib[name])


def test_the_drawing_has_a_labelled_bar_for_each_to_scale() -> None:
    root = drawn(TRACE)
    bars = [r for r in root.iter(f"{SVG}rect") if r.get("rx")]
    texts = [t.text for t in root.iter(f"{SVG}text")]
    assert len(bars) == len(waterfall.bars(TRACE))
    whole = max(bars, key=lambda bar: number(bar, "width"))
    for bar in waterfall.bars(TRACE):
        assert f"{bar.point} · {bar.took}" in texts
        start, width = bar.start * 640 / 2e6, (bar.end - bar.start) * 640 / 2e6
        drawn_so = [
            shape for shape in bars
            if number(shape, "width") == pytest.approx(width, abs=0.2)
            and number(shape, "x") - number(whole, "x") == pytest.approx(start, abs=0.2)
        ]  # fmt: skip
        assert len(drawn_so) == 1, bar
    assert {"launcher", "parent", "init", "ms", "0", "1", "2"} <= set(texts)


def test_nothing_of_the_drawing_overlaps_or_leaves_it() -> None:
    root = drawn(TRACE)
    width, height = number(root, "width"), number(root, "height")
    bars = sorted(
        (r for r in root.iter(f"{SVG}rect") if r.get("rx")), key=lambda bar: number(bar, "y")
    )
    for bar in bars:
        assert number(bar, "x") + number(bar, "width") <= width
        assert number(bar, "y") + number(bar, "height") <= height
    for above, below in pairwise(bars):
        assert number(above, "y") + number(above, "height") <= number(below, "y")


def test_a_title_is_text_whatever_is_in_it() -> None:
    title = "run -- sh -c '<b>&amp;\"' \x1b[31m \x00 \udc80"
    texts = [t.text for t in drawn(TRACE, title).iter(f"{SVG}text")]
    assert texts[0] == "run -- sh -c '<b>&amp;\"' �[31m � �"


@pytest.mark.parametrize(
    "target", [Program(["true"]), PythonInit("nsenter._inside.pid1:main", ["true"])]
)
def test_a_real_start_is_told_from_its_spawn_until_it_is_ready(target: Program) -> None:
    with Options(new="all").launch(target, trace=True) as child:
        bars = waterfall.bars(child.trace)
        child.wait()
    assert {bar.stage for bar in bars} >= {"launcher", "parent", "init"}
    assert (bars[-1].stage, bars[-1].point, bars[-1].start) == ("launcher", "ready", 0)
    assert all(0 <= bar.start <= bar.end <= bars[-1].end for bar in bars)
