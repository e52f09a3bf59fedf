# SPDX-License-Identifier: Apache-2.0
"""Each error message is as tests/error_messages.txt has it, so that all can be read together."""

from __future__ import annotations

import pytest

from error_messages import Case, cases, message_of

LEAST = {">>>": 70, "$": 40}


@pytest.mark.parametrize("case", cases(), ids=lambda case: f"{case.kind} {case.cause}")
def test_the_cause_prints_the_message(case: Case) -> None:
    assert message_of(case) == case.message


def test_the_table_has_all_that_it_had() -> None:
    """The table is read whole: a row that is not understood would be no test."""
    found = cases()
    for kind, least in LEAST.items():
        assert sum(case.kind == kind for case in found) >= least
    assert all(case.message for case in found)
    assert len({(case.kind, case.cause) for case in found}) == len(found)
