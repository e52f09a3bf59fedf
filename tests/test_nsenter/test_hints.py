# SPDX-License-Identifier: Apache-2.0
"""After a failure, a hint says what to try. The hints are one table, which examines the machine."""

from __future__ import annotations

import errno
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

from needs import needs
from nsenter._host.hints import _TABLE, FACTS, hint_for
from nsenter.errors import BootstrapError
from rootless import as_user

ROOT = Path(__file__).parent.parent.parent
NSENTER = [sys.executable, "-m", "nsenter"]


def test_each_fact_says_what_it_means_and_what_to_do_once() -> None:
    for name, fact in FACTS.items():
        assert fact.means and fact.do, name
        assert not fact.means.endswith(".") and not fact.do.endswith("."), name
    texts = [text for fact in FACTS.values() for text in (fact.means, fact.do)]
    assert len(texts) == len(set(texts))


def test_each_row_says_something_and_stands_once() -> None:
    keys = [(operation, number) for operations, number, *_ in _TABLE for operation in operations]
    assert len(keys) == len(set(keys))
    for operation, number in keys:
        assert hint_for(operation, number), (operation, number)


def test_each_fact_is_told_by_an_error_or_by_the_doctor() -> None:
    told = {fact for _, _, _, *facts in _TABLE for fact in facts}
    doctor = (ROOT / "nsenter" / "doctor.py").read_text()
    assert [name for name in FACTS if name not in told and f'"{name}"' not in doctor] == []


def test_what_nothing_is_known_about_has_no_hint() -> None:
    assert hint_for("frobnicate", errno.EPERM) == ""
    assert str(BootstrapError("init", "frobnicate", "x", errno.EPERM)).endswith("not permitted")


def test_the_table_costs_a_start_nothing() -> None:
    script = (
        "import sys; import nsenter; before = set(sys.modules); import nsenter._host.hints; "
        "print(*set(sys.modules) - before)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    added = {name for name in done.stdout.split() if name not in sys.builtin_module_names}
    assert added == {"nsenter._host", "nsenter._host.hints"}


def test_a_user_who_asks_for_a_namespace_alone_is_told_what_it_takes() -> None:
    result = as_user([*NSENTER, "run", "--net", "--", "true"])
    assert result.returncode == 125
    assert "clone net: Operation not permitted (uid 4242 has no CAP_SYS_ADMIN: " in result.stderr
    assert "--user --map-root-user" in result.stderr
    advice = [*NSENTER, "run", "--user", "--map-root-user", "--net", "--", "true"]
    assert as_user(advice).returncode == 0, "the advice works"


def hint_with_sysctl(path: str, value: int, call: str) -> str:
    """A hint where a sysctl has a value, for who has no CAP_SYS_ADMIN."""
    folder, _, name = path.rpartition("/")
    ask = f"from nsenter._host.hints import hint_for; print({call})"
    script = (
        f"mount -t tmpfs none /mnt; echo {value} > /mnt/{name}; "
        f"mount --bind /mnt /proc/sys/{folder}; "
        f'cd {ROOT}; exec setpriv --bounding-set=-sys_admin {sys.executable} -c "{ask}"'
    )
    options = ("--mount", "--propagation", "private")
    done = subprocess.run(
        [needs("unshare", package="util-linux"), *options, "sh", "-e", "-c", script],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.strip()


@pytest.mark.parametrize("call", ["clone", "clone3", "unshare"])
def test_a_setting_at_fault_is_named_alone(call: str) -> None:
    path = "kernel/unprivileged_userns_clone"
    hint = hint_with_sysctl(path, 0, f"hint_for('{call}', {errno.EPERM}, 'user,net')")
    assert hint == (
        "sysctl kernel.unprivileged_userns_clone is 0: sysctl -w kernel.unprivileged_userns_clone=1"
    )
    well = hint_with_sysctl(path, 1, f"hint_for('{call}', {errno.EPERM}, 'user,net')")
    assert "sysctl" not in well and "python -m nsenter doctor" in well


@pytest.mark.parametrize("call", ["clone", "write", "mount"])
def test_apparmors_restriction_is_named_wherever_it_strikes(call: str) -> None:
    path = "kernel/apparmor_restrict_unprivileged_userns"
    hint = hint_with_sysctl(path, 1, f"hint_for('{call}', {errno.EPERM}, 'user')")
    assert "sysctl kernel.apparmor_restrict_unprivileged_userns is 1: " in hint


def test_a_pipe_that_cannot_be_written_to_is_no_matter_of_id_maps() -> None:
    assert hint_for("write", errno.EPERM, "the init pipe") == ""
    assert "map only their own id" in hint_for("write", errno.EPERM, "/proc/1/uid_map")


def test_a_limit_is_named_only_for_the_kinds_that_were_asked_for() -> None:
    script = (
        "echo 0 > /proc/sys/user/max_net_namespaces; "
        f"cd {ROOT}; {sys.executable} -m nsenter run --{{}} true"
    )
    options = ("--user", "--map-root-user")
    unshare = needs("unshare", package="util-linux")
    done = subprocess.run(
        [unshare, *options, "sh", "-c", script.format("net")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    advice = "sysctl user.max_net_namespaces is 0: sysctl -w user.max_net_namespaces=10000"
    assert done.stderr.endswith(f"clone net: No space left on device ({advice})\n")
    done = subprocess.run([unshare, *options, "sh", "-c", script.format("uts")], check=False)  # type: ignore[assignment]
    assert done.returncode == 0
    assert "user.max_net" not in hint_for("clone", errno.ENOSPC, "uts")


def test_a_hint_is_that_of_the_machine_where_it_failed() -> None:
    error = BootstrapError("init", "clone", "net", errno.ENOSPC, "from elsewhere")
    assert pickle.loads(pickle.dumps(error)).hint == "from elsewhere"
