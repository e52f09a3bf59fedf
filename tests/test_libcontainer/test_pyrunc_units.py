"""Quantities on the command line mean what they mean to runc."""

from __future__ import annotations

import pytest

from libcontainer.errors import ContainerError
from libcontainer.pyrunc.commands.kill_command import signal_number
from libcontainer.pyrunc.units import seconds, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [("5s", 5), ("500ms", 0.5), ("1m30s", 90), ("1.5h", 5400), ("0", 0), ("0s", 0), (".5s", 0.5)],
)
def test_times(text: str, expected: float) -> None:
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "3", "s", "5 s", "5x", "-1s", "1s2"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError):
        seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("0", 0), ("100", 100), ("2k", 2048), ("2KiB", 2048), ("50M", 50 << 20), ("1.5g", 3 << 29),
     ("3 mb", 3 << 20), ("1T", 1 << 40), ("7b", 7)],
)  # fmt: skip
def test_sizes(text: str, expected: int) -> None:
    assert size(text) == expected


@pytest.mark.parametrize("text", ["", "x", "-1", "1x", "k", "1.m"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError):
        size(text)


@pytest.mark.parametrize(
    ("word", "number"),
    [("9", 9), ("KILL", 9), ("sigkill", 9), ("SIGTERM", 15), ("0", 0), ("64", 64)],
)
def test_signals(word: str, number: int) -> None:
    assert signal_number(word) == number


@pytest.mark.parametrize("word", ["", "BOGUS", "65", "-9", "SIG_DFL", "_IGN", "SIG"])
def test_what_is_no_signal(word: str) -> None:
    with pytest.raises(ContainerError):
        signal_number(word)
