"""After a failure every step is undone, and no further failure hides the first."""

from __future__ import annotations

import errno
import os

import pytest

from nsenter._host.cleanup import close, notes_of, undo
from nsenter.errors import BootstrapError, Naming


class Step:
    """A step that fails some times."""

    def __init__(self, *failures: BaseException) -> None:
        self.failures = [*failures]
        self.taken = 0

    def __call__(self) -> None:
        self.taken += 1
        if self.failures:
            raise self.failures.pop(0)


def test_every_step_is_taken_and_the_failures_are_noted() -> None:
    why = ValueError("why")
    always = OSError(5, "Input/output error")
    steps = Step(), Step(always, always), Step()
    undo(why, *steps)
    assert [step.taken for step in steps] == [1, 2, 1]
    assert notes_of(why) == ["and while this was undone: call: Input/output error"]


def test_a_step_that_fails_once_is_taken_again() -> None:
    why = ValueError("why")
    undo(why, Step(OSError(12, "Cannot allocate memory")))
    assert notes_of(why) == []


def test_a_step_that_has_waited_is_not_taken_again() -> None:
    why = ValueError("why")
    step = Step(OSError(errno.EBUSY, "Device or resource busy"))
    undo(why, step)
    assert step.taken == 1
    assert notes_of(why) == ["and while this was undone: call: Device or resource busy"]


def test_an_interrupt_is_raised_when_all_steps_are_taken() -> None:
    steps = Step(KeyboardInterrupt()), Step()
    with pytest.raises(KeyboardInterrupt):
        undo(ValueError("why"), *steps)
    assert [step.taken for step in steps] == [2, 1]


def test_the_notes_come_along_when_an_error_is_named() -> None:
    with pytest.raises(BootstrapError) as caught, Naming():
        try:
            os.open("/no/such/file", os.O_RDONLY)
        except OSError as error:
            undo(error, Step(ValueError("one"), ValueError("two")))
            raise
    assert notes_of(caught.value) == ["and while this was undone: two"]


def test_only_the_owner_of_a_descriptor_that_was_not_open_hears_of_it() -> None:
    reader, writer = os.pipe()
    close(reader, writer)
    with pytest.raises(OSError, match="Bad file descriptor"):
        close(reader)
