# SPDX-License-Identifier: Apache-2.0
"""What isolates a sandbox: namespaces; or Landlock, where there can be none and the caller agrees.

Without namespaces, the code runs with the user of the caller, or as nobody if that is root.
Landlock (landlock(7)) opens the same paths as `nsenter.presets.sandbox`, the filter denies what
Landlock leaves (see landlock_filter.py), and the process group takes the place of the PID
namespace.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from errno import EACCES, EINVAL, ENOSPC, ENOSYS, EPERM

from nsenter import presets
from nsenter._host import syscalls
from nsenter._sandbox.landlock_filter import strict_without_namespaces
from nsenter._sandbox.parts import Part
from nsenter.errors import BootstrapError
from nsenter.launch import Program
from nsenter.mounts import Path
from nsenter.options import Options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

__all__ = ["LANDLOCK", "NAMESPACES", "Fallback", "why_no_namespaces"]

NAMESPACES, LANDLOCK = "namespaces", "landlock"
_NOBODY = 65534
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")
_FORBIDDEN = (EPERM, EACCES, ENOSPC, EINVAL, ENOSYS)
# The fields of Options that do not require a namespace, and that the fallback does not set.
_FIELDS = ("rlimits", "umask", "cpus", "oom_score_adj")
_LANDLOCK_CREATE_RULESET, _VERSION = 444, 1
_SCOPES = 6  # the version of Landlock that keeps signals inside, of Linux 6.12


def why_no_namespaces() -> BootstrapError | None:
    """Return the error of a start in new namespaces, if this machine forbids them to this user."""
    options = Options(new=("user", "mnt"), maps="current", root="tmpfs")
    try:
        with options.launch(Program(["/true"])):
            return None
    except BootstrapError as error:
        # The root is empty: if it comes to execve(2), then all that comes before it works.
        if error.operation == "execve" or error.errno not in _FORBIDDEN:
            return None
        return error


class Fallback(Part):
    """The options of a sandbox without namespaces, and its temporary directory.

    Args:
        read, write: the paths that the code can read, and those that it can also change.
        network: the word for the network of the sandbox: "none" or "host".
        fields: fields of `Options`.
        refused: what the caller has asked for that requires namespaces, by its name.

    Raises:
        ValueError: something is asked for that requires namespaces.
    """

    def __init__(
        self,
        read: Iterable[Path],
        write: Iterable[Path],
        network: object,
        fields: dict[str, Any],
        refused: dict[str, object],
    ) -> None:
        given = [name for name, value in refused.items() if value]
        given += [name for name in fields if name not in _FIELDS]
        if network not in ("none", "host"):
            given.append("network")
        if given:
            words = ", ".join(given)
            raise ValueError(f'{words}: fallback="landlock" cannot do it without namespaces')
        self._read, self._write = tuple(read), tuple(write)
        self._network = network == "host"
        self._fields = fields
        self._folder = ""

    def open(self) -> None:
        """Make the temporary directory.

        Raises:
            BootstrapError: this kernel's Landlock cannot do it.
        """
        _check_version()
        self._folder = tempfile.mkdtemp(prefix="nsenter-sandbox-")
        if presets._is_root_and_nobody():
            os.chown(self._folder, _NOBODY, _NOBODY)

    def close(self) -> None:
        """Remove the temporary directory. No process of the sandbox is left."""
        folder, self._folder = self._folder, ""
        if folder:
            for parent, names, _ in os.walk(folder):  # the code may have made some unreadable
                for name in names:
                    path = os.path.join(parent, name)
                    if not os.path.islink(path):
                        os.chmod(path, 0o700)
            shutil.rmtree(folder)

    def options(self) -> Options:
        """Return the options of a run in an open sandbox."""
        as_nobody: dict[str, Any] = (
            {"uid": _NOBODY, "gid": _NOBODY} if presets._is_root_and_nobody() else {}
        )
        return Options(
            landlock=self._rules(),
            landlock_bind=None if self._network else (),
            landlock_connect=None if self._network else (),
            landlock_scope=("abstract_unix_socket", "signal"),
            seccomp=strict_without_namespaces(self._network),
            capabilities=(),
            no_new_privs=True,
            die_with_parent=True,
            cwd=self._folder,
            **as_nobody,
            **self._fields,
        )

    def _rules(self) -> dict[str, str]:
        from nsenter._interpreter import installed

        rules = dict.fromkeys([*presets._system(), *installed.needed_to_start()], "rx")
        rules |= {os.fsdecode(path): "rx" for path in self._read}
        rules |= {path: "rw" for path in _DEVICES if os.path.exists(path)}
        rules |= {os.fsdecode(path): "rwx" for path in self._write}
        return {**rules, self._folder: "rwx"}

    def environment(self) -> dict[str, str]:
        """Return the variables that name the temporary directory."""
        return dict.fromkeys(("HOME", "TMPDIR"), self._folder)


def _check_version() -> None:
    try:
        version = syscalls.call(
            "landlock_create_ruleset", "", _LANDLOCK_CREATE_RULESET, 0, 0, _VERSION
        )
    except OSError as error:
        raise BootstrapError(
            "launcher", "limit", "the sandbox by Landlock", error.errno or ENOSYS,
            hint="boot Linux 6.12 or newer, with landlock in the list of lsm=",
        ) from None  # fmt: skip
    if version < _SCOPES:
        raise BootstrapError(
            "launcher", "limit", f"the sandbox by Landlock, version {version}", ENOSYS,
            hint="signals can be kept inside since Linux 6.12, whose Landlock has version 6",
        )  # fmt: skip
