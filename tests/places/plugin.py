"""What the whole test run is told: how its parallel workers start, and which tests its place can
run. See places.worker, places.rights and places.needed.

In CI, where CI=true is in the environment and the tests run as root, nothing is skipped; nor is it
with NSENTER_TEST_ALL=1, which is how the table is made.
"""

from __future__ import annotations

import collections
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Set
from pathlib import Path
from typing import Any, NoReturn

import pytest

from needs import NOTHING_IS_SKIPPED
from places.needed import needed
from places.rights import RIGHTS, found

_WORKER = Path(__file__).with_name("worker.py")
_TESTS = Path(__file__).resolve().parent.parent
_LACKS = "this place lacks "


class Workers:
    """The part that takes pytest-xdist: it starts each worker through places.worker."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_xdist_setupnodes(self, config: pytest.Config, specs: list[Any]) -> None:
        for number, spec in enumerate(specs):
            words = (sys.executable, str(_WORKER), str(number), sys.executable)
            spec.python = " ".join(map(shlex.quote, words))


class Place:
    """Skips what the place has no right to, and says so in the end."""

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        has = frozenset(RIGHTS) if NOTHING_IS_SKIPPED else found()
        for item in items:
            if not item.path.is_relative_to(_TESTS):
                continue
            name = getattr(item, "originalname", item.name)
            lacks = needed(item.path.relative_to(_TESTS).as_posix(), name) - has
            if lacks:
                item.add_marker(pytest.mark.skip(reason=_why_not(lacks)), append=False)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        """With NSENTER_TEST_SECONDS no test takes longer: what cannot work here often waits."""
        seconds = int(os.environ.get("NSENTER_TEST_SECONDS", "0"))
        if not seconds:
            return (yield)
        before = signal.signal(signal.SIGALRM, _took_too_long)
        signal.alarm(seconds)
        try:
            return (yield)
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, before)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        in_ci = NOTHING_IS_SKIPPED and os.environ.get("CI") == "true"
        is_ok = session.exitstatus == pytest.ExitCode.OK
        if in_ci and is_ok and reporter and reporter.getreports("skipped"):
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        reasons: collections.Counter[str] = collections.Counter()
        for report in terminalreporter.getreports("skipped"):
            reasons[_reason(report)] += 1
        if not reasons:
            return
        terminalreporter.section("not tested here")
        if NOTHING_IS_SKIPPED:
            terminalreporter.write_line("In CI that is a failure.")
        for reason, count in reasons.most_common():
            terminalreporter.write_line(f"{count:5} {reason.removeprefix(_LACKS)}")
        if os.geteuid() != 0:
            terminalreporter.write_line("Root of the machine can run all tests: sudo make test")


def _why_not(lacks: Set[str]) -> str:
    """What the place lacks: that of the machine's root, which has all, or the first."""
    name = next(name for name in ("machine", *RIGHTS) if name in lacks)
    return f"{_LACKS}{RIGHTS[name].lacks}: {RIGHTS[name].how}"


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")


def _took_too_long(number: int, frame: object) -> NoReturn:
    raise TimeoutError("NSENTER_TEST_SECONDS are over")


def configure(config: pytest.Config) -> None:
    """For pytest_configure."""
    config.pluginmanager.register(Place(), "place")
    if config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(Workers(), "workers")
    if hasattr(config, "workerinput"):  # a worker, and not what a test in one has started
        _make_way(Path(config.option.basetemp).parent)


def _make_way(folder: Path) -> None:
    """To a worker's folder. In a private /tmp, what the controller has made for it is not there.

    Pytest's own folders let others pass: whether they may search the last one, its test says.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for own in (folder, folder.parent):
        if own.name.startswith("pytest-"):
            own.chmod(0o711)
