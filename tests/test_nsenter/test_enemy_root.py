"""No file of a hostile root is opened before the init asks for one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import preloaded
from nsenter import (
    Namespace,
    NamespaceExecutor,
    Namespaces,
    Options,
    PythonInit,
    bootstrap_data,
)
from nsenter.launch import launch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="FUSE is mounted on / here, as root")

DAEMON = Path(__file__).parents[1] / "support" / "fuse_root.py"
ASKED_FOR = "what-the-init-asks-for"


@pytest.fixture
def root() -> Iterator[subprocess.Popen[str]]:
    if not Path("/dev/fuse").exists():
        pytest.fail("/dev/fuse is not there: the kernel needs CONFIG_FUSE_FS (modprobe fuse)")
    with subprocess.Popen([sys.executable, DAEMON], stdout=subprocess.PIPE, text=True) as daemon:
        try:
            assert daemon.stdout is not None
            assert daemon.stdout.readline() == "up\n"
            yield daemon
        finally:
            daemon.kill()


# Of the second, extensions are loaded by a Python that runs, which then goes through the stages.
INITS = {"early": {}, "late": {"modules": ("numpy",), "extensions": None}}


@pytest.mark.parametrize("settings", INITS.values(), ids=INITS)
def test_no_name_is_looked_up_in_a_joined_root_before_the_init_asks(
    root: subprocess.Popen[str], settings: dict[str, Any]
) -> None:
    data = bootstrap_data(Namespaces([Namespace.from_pid("mnt", root.pid)]))
    target = PythonInit("takeover_targets:ask_for", (f"/{ASKED_FOR}",), **settings)
    with launch(data, target, timeout=60) as child:
        assert child.channel is not None
        with child.channel.makefile("rb") as channel:
            assert channel.read() == b"not there, in /"
        assert child.wait(60) == 0
    root.kill()
    assert root.stdout is not None
    # The daemon tells of it, so it would have told of others.
    assert root.stdout.read().splitlines() == [ASKED_FOR]


def test_no_name_is_looked_up_there_by_a_fork_of_a_template(root: subprocess.Popen[str]) -> None:
    options = Options(join={"mnt": root.pid})
    with NamespaceExecutor(1, options, preload=["preloaded", "json"], fresh=True) as executor:
        assert not executor.submit(preloaded.ask_for, f"/{ASKED_FOR}").result(60)
    root.kill()
    assert root.stdout is not None
    assert root.stdout.read().splitlines() == [ASKED_FOR]
