"""`python -m nsenter run` without a command also works if some or all namespaces are refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import nsenter
from needs import needs
from nsenter import Options, seccomp

ROOT = Path(__file__).parent.parent.parent
TOUR = [sys.executable, "-m", "nsenter", "run"]
HEADING = "What works here, without new namespaces"


def tour(options: Options) -> str:
    done = nsenter.run(TOUR, options, capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def refused(**names: list[str]) -> Options:
    """A process for which these system calls fail, by errno."""
    return Options(seccomp=seccomp.policy("allow", names), no_new_privs=True)


def check_shown_without(said: str, cause: str, change: str) -> None:
    first, second, _, heading, *_ = said.splitlines()
    assert first.startswith("This place forbids new namespaces: ") and cause in first
    assert second.startswith("To change that: ") and change in second
    assert first.endswith(".") and second.endswith(".")
    assert heading == HEADING
    assert "CLONE_FLAGS (27281)" in said and "new: user, ipc, uts, net, pid, mnt, cgroup" in said
    assert "parsed that message" in said and "Python is PID " in said
    assert "uid_map" in said and "launcher  ready" in said
    assert not any(line.endswith(" new") for line in said.splitlines())


def test_where_a_filter_refuses_namespaces_it_says_so_and_shows_the_rest() -> None:
    """As Docker's default for a container without CAP_SYS_ADMIN."""
    options = refused(eperm=["unshare", "setns", "mount", "sethostname"], enosys=["clone3"])
    said = tour(options.replace(capabilities=()))
    check_shown_without(said, "a seccomp filter is on this process", "seccomp=unconfined")


def test_where_no_more_namespaces_are_allowed_it_names_the_setting() -> None:
    words = ["sh", "-ec", 'echo 0 >/proc/sys/user/max_user_namespaces; exec "$@"', "sh", *TOUR]
    unshare = needs("unshare", package="util-linux")
    done = subprocess.run(
        [unshare, "--user", "--map-root-user", *words],
        cwd=ROOT, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    cause = "sysctl user.max_user_namespaces is 0"
    check_shown_without(done.stdout, cause, "sysctl -w user.max_user_namespaces=")


def test_a_hostname_that_is_refused_is_left_out() -> None:
    """As podman's default for a container without CAP_SYS_ADMIN."""
    said = tour(refused(eperm=["sethostname"]))
    first, *_ = said.splitlines()
    assert first.startswith("Without a hostname of its own: init: sethostname nsenter: ")
    assert "it requires a new uts namespace" not in first and "a seccomp filter" in first
    assert "Python is PID 1 on host" in said and HEADING not in said


def test_a_proc_that_is_refused_is_left_out() -> None:
    """As in a container, where parts of /proc are covered."""
    covered = Options(new="user,mnt", mounts=[nsenter.Tmpfs("/proc/fs")])
    said = tour(covered)
    first, *_ = said.splitlines()
    assert first.startswith("Without a /proc of its own: init: mount proc ")
    assert "/proc/fs is mounted over" in first
    assert "Python is PID 1 on host 'nsenter'" in said and HEADING not in said
