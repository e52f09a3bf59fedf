# SPDX-License-Identifier: Apache-2.0
"""Containers run under a profile of AppArmor, which Debian's kernel has."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from containers import Runtime, running

from interop.oci_bundles import Config, Edit
from needs import needs

LABEL = "nsx-confined (enforce)\n"
PROFILES = """
profile nsx-confined flags=(attach_disconnected) {
    file, capability, signal, unix, mount,
    deny /denied w,
}
profile nsx-other flags=(attach_disconnected) { file, capability, signal, unix, mount, }
"""


@pytest.fixture(scope="module")
def folder(folder: Path) -> Path:
    """The profiles are loaded."""
    parser = needs("apparmor_parser", package="apparmor")
    subprocess.run([parser, "--replace", "--skip-cache"], input=PROFILES, text=True, check=True)
    (folder / "root/denied").touch()
    return folder


def under(profile: str, *, no_new_privileges: bool = True) -> Edit:
    def edit(config: Config) -> None:
        config["root"]["readonly"] = False
        config["process"]["apparmorProfile"] = profile
        config["process"]["noNewPrivileges"] = no_new_privileges

    return edit


@pytest.mark.parametrize("no_new_privileges", [True, False])
def test_a_container_and_what_is_executed_in_it_are_confined(
    each: Runtime, folder: Path, no_new_privileges: bool
) -> None:
    edit = under("nsx-confined", no_new_privileges=no_new_privileges)
    with running(each, folder, edit) as box:
        assert Path(f"/proc/{box.pid}/attr/current").read_text() == LABEL
        assert box.exec("cat /proc/self/attr/current") == LABEL
        said = box.exec("echo x >/free && cat /free; echo x >/denied || echo no")
        assert said == "x\nno\n"


def test_what_is_executed_can_have_a_profile_of_its_own(each: Runtime, folder: Path) -> None:
    with running(each, folder, under("nsx-confined")) as box:
        words = ["exec", "--apparmor", "nsx-other", box.id, "cat", "/proc/self/attr/current"]
        assert box.runtime(*words) == "nsx-other (enforce)\n"


def test_a_profile_that_is_not_loaded_is_refused_by_name(pyrunc: Runtime, folder: Path) -> None:
    box = running(pyrunc, folder, under("nsx-no-such"))
    with pytest.raises(AssertionError, match="'nsx-no-such' is not loaded"), box:
        pass


def test_unconfined_is_no_profile_that_has_to_be_loaded(each: Runtime, folder: Path) -> None:
    with running(each, folder, under("unconfined")) as box:
        assert box.exec("cat /proc/self/attr/current") == "unconfined\n"
