"""What the whole test run is told: how its parallel workers start (see places.worker)."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

_WORKER = Path(__file__).with_name("worker.py")


class Workers:
    """The part that takes pytest-xdist: it starts each worker through places.worker."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: list[object]) -> None:
        for number, spec in enumerate(specs):
            words = (sys.executable, str(_WORKER), str(number), sys.executable)
            spec.python = " ".join(map(shlex.quote, words))  # type: ignore[attr-defined]


def configure(config: pytest.Config) -> None:
    """For pytest_configure."""
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Workers(), "workers")
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Its /tmp is private: what the controller has made for it is not there.
        Path(config.option.basetemp).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
