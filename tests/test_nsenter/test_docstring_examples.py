"""The examples in the docstrings of public objects print what they say.

A reader who copies an example out of help() or the API reference gets the same result.
"""

from __future__ import annotations

import doctest
import importlib

import pytest

# The public modules that have examples. A module that loses its last one makes a test fail.
MODULES = (
    *("nsenter.bootstrap", "nsenter.idmap", "nsenter.launch", "nsenter.mounts"),
    *("nsenter.namespaces", "nsenter.seccomp", "libcontainer.specconv.spec"),
    "nsenter._sandbox.workspace",
)


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_hold(name: str) -> None:
    found = doctest.testmod(importlib.import_module(name))
    assert found.attempted > 0
    assert found.failed == 0
