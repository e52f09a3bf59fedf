# SPDX-License-Identifier: Apache-2.0
"""pyrunc, runc and crun make the same container from the same bundle.

`cases` has the bundles, `container_view` what is compared, and `known` the known differences.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Iterator

import pytest

from interop import cgroups, differences, orphans, runtimes
from interop.cases import CASES, Case
from interop.container_view import Topics
from interop.known import KNOWN
from interop.runtimes import CONTROL, CRUN, OTHERS, PYRUNC
from interop.workshop import workshop

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="most of these containers are root's")

Run = Callable[[str, Case], Topics]


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """Runs a case by a runtime, once."""
    with orphans.adopted(), workshop() as place:
        by_name = {case.name: case for case in CASES}
        cached = functools.cache(lambda runtime, name: place.run(runtime, by_name[name]))
        yield lambda runtime, case: cached(runtime, case.name)


@pytest.fixture(autouse=True)
def first_the_control(run: Run) -> None:
    """The module's own processes are there before a test counts processes."""


# Of these families, whose members differ in a number or a flag, the quick run has one or two.
_SWEEP = re.compile(
    r"exit-(1|125|126|127|255)|signal-(1|2|11|34)|root-propagation-(r.*|shared|and-.*)|"
    r"mount-bind-((nodir|rel|strict)atime|slave|unbindable|r(private|shared|slave|unbindable)|"
    r"r(nosuid|noexec|nodev))|resources-(pids|memory)-unlimited|(masked|readonly)Paths-twice|"
    r"hook-fails-(createRuntime|createContainer|poststart)|seccomp-(old|status)-.*|"
    r"capabilities-(none-of-a-user|inheritable-(of-a-user|some)|ambient-not-permitted|bounding-alone)|"
    r"env-(without-home|empty)|cwd-(relative|missing-in-a-read-only-root)|rlimits-none|oom-score-0|"
    r"signal-15|missing-in-path|not-executable-in-path|(ipc|uts)-of-the-host|(ipc|uts)-joined|"
    r"sysctl-of-(ipc|the-host's-network)|user-namespace-(of-root|without-network)|version-not-given|"
    r"mount-tmpfs-(ro|of-an-owner|on-a-folder)|mount-bind-(none|by-its-type-alone|noatime|private)|"
    r"mount-no-(dev|sys)|device-(fifo|in-a-user-namespace|rules-none)|resources-(pids|cpuset|network)|"
    r"seccomp-(errno-default|kill-process|log|by-masked-argument)|hooks-without-env|"
    r"rootless-(umask|ids-and-groups|exit|sysctl|network)|root-propagation-private|"
    r"user-of-no-name|cwd-closed-to-the-user|rlimit-unknown|io-priority|selinux|exit-0|"
    r"capabilities-(not-given|inheritable-outside-bounding|ambient-not-inheritable)|"
    r"found-in-its-own-path|relative-to-cwd|no-(process|root|linux|new-keyring)|root-a-file|"
    r"joined-of-another-kind|cgroup-of-the-host|namespace-twice|hostname-of-the-host's-uts|"
    r"sysctl-unknown|user-namespace-without-(the-user|maps)|root-propagation-slave|"
    r"(masked|readonly)Paths-twice-in-a-shared-root|mount-bind-(shared|of-another|through-link)|"
    r"mount-bind-(file-on-file|relative-source)|mount-on-(another|a-file-of-proc|root)|"
    r"mount-overlay|mount-proc-hidepid|masked-(folder|none)|cgroup-path-relative|"
    r"device-(below-a-folder|block|spelt-as-a-folder|of-no-kind)|hook-(fails-prestart|relative)|"
    r"resources-(memory-too-small|swap-.*|cpu-quota-bad|cpuset-bad)|hooks-in-order|hook-too-slow|"
    r"seccomp-(trap|call-unknown|action-unknown|architectures|flag-unknown|no-getcwd)|"
    r"descriptors-of-(systemd-for-another|both)|rootless-(ids|ids-not-granted|device|of-a-.*)|"
    r"umask|cwd-(a-file|missing)|capabilities-(inheritable|unknown)|rlimit-twice|exit-7|a-folder|"
    r"missing|no-arguments|no-format|no-path|network-of-the-host|three-joined|joined-does-not-exist|"
    r"cgroup-new|mount-of-the-host|namespace-unknown|domainname|sysctl-of-the-host|maps-without-.*|"
    r"user-namespace-joined|no-pivot|no-mounts|field-unknown|mount-tmpfs-bad-option|mount-no-cgroup|"
    r"mount-bind-(ro|options|nosymfollow|flags-off|file|missing)|mount-(relative|twice|cgroup-rw)|"
    r"mount-on-proc-uptime|mount-dev-of-the-host|masked-relative|device-(outside-dev|rules-denied)|"
    r"resources-(cpu|hugepages|unified)|seccomp-(errno|flags|status|old)|hook-missing|"
    r"descriptors-not-kept|rootless-(ids-and-a-user|of-root|resources)"
)


def pairs() -> Iterator[object]:
    for case in CASES:
        for other in OTHERS:
            if other not in case.but:
                is_sweep = other != PYRUNC or _SWEEP.fullmatch(case.name)
                marks = [pytest.mark.sweep] if is_sweep else []
                yield pytest.param(other, case, id=f"{case.name}-{other}", marks=marks)


@pytest.mark.parametrize(("other", "case"), [*pairs()])
def test_a_container_is_what_runc_makes_of_it(other: str, case: Case, run: Run) -> None:
    control, theirs = run(CONTROL, case), run(other, case)
    found = list(differences.between(control, theirs))
    left = differences.unexplained(other, case.name, found, KNOWN)
    said = "\n".join(["", *left, f"{CONTROL}: {control['error']}", f"{other}: {theirs['error']}"])
    assert not left, said


@pytest.mark.parametrize("runtime", [CONTROL, PYRUNC])
@pytest.mark.parametrize("case", [case for case in CASES if case.says], ids=lambda case: case.name)
def test_an_error_names_what_went_wrong(runtime: str, case: Case, run: Run) -> None:
    message = " ".join(run(runtime, case)["error"]).lower()
    for words in case.says:
        assert words.lower() in message


@pytest.mark.parametrize(
    "known",
    [
        pytest.param(row, marks=[] if row.runtime == PYRUNC else [pytest.mark.sweep])
        for row in KNOWN
        if not (row.of_v1 and cgroups.IS_V2)
    ],
    ids=str,
)
def test_a_known_difference_is_still_there(known: differences.Difference, run: Run) -> None:
    case = next(case for case in CASES if case.name == known.shown_by)
    found = differences.between(run(CONTROL, case), run(known.runtime, case))
    assert any(known.explains(known.runtime, case.name, *row) for row in found), known.reason


def test_the_control_makes_what_the_cases_are_about(run: Run) -> None:
    """Else two runtimes that do nothing would be alike."""
    by_name = {case.name: run(CONTROL, case) for case in CASES[:6]}
    assert by_name["default"]["end"] == []
    assert by_name["default"]["hostname"] == ["runc"]
    assert "PATH=/bin" in by_name["env"]["environment"]
    assert len(by_name["default"]["mountinfo"]) > 10
    assert CRUN in OTHERS


@pytest.mark.parametrize("name", [CONTROL, *OTHERS])
def test_a_run_leaves_no_process_to_anybody_not_even_an_ended_one(name: str) -> None:
    case = Case("ends", args=["/bin/true"])
    with orphans.adopted(), workshop() as place:
        bundle = place.bundle(case, runtimes.new_id())
        place.runtime(name).must("run", "--bundle", bundle, runtimes.new_id())
        assert orphans.reap() == []
