# SPDX-License-Identifier: Apache-2.0
"""Calls of systemd (org.freedesktop.systemd1(5)) by busctl(1): of the machine's, or of a user's."""

from __future__ import annotations

import os
from errno import EIO, ENOENT

from nsenter._host.syscalls import Failure

RUNNING_SYSTEMD = "/run/systemd/system"
_SERVICE = "org.freedesktop.systemd1"
_OBJECT = "/org/freedesktop/systemd1"
_MANAGER = "org.freedesktop.systemd1.Manager"
_UNIT = "org.freedesktop.systemd1.Unit"
_OWNER = "OwnerUID="


class Bus:
    """A systemd that takes calls.

    Args:
        user: whether it is that of the caller's user session, in place of the machine's.
        advice: what to do if no systemd runs, for the text of errors.
    """

    def __init__(self, *, user: bool, advice: str = "") -> None:
        self._advice = f"; {advice}" if advice else ""
        self._options = ("--user",) if user else ()

    def check(self, what: str) -> None:
        """Raises Failure where no systemd runs; `what` is for its text."""
        if not os.path.isdir(RUNNING_SYSTEMD):
            why = f"systemd is not running on this machine{self._advice}"
            raise Failure("call systemd", what, ENOENT, why)

    def call(self, method: str, *arguments: str) -> None:
        """A method of its manager. Raises Failure, with what systemd says."""
        self._busctl(method, "call", _SERVICE, _OBJECT, _MANAGER, method, *arguments)

    def root(self) -> str:
        """The path of the cgroup that all its units are in; "" for that of all."""
        return self._get(_OBJECT, _MANAGER, "ControlGroup")

    def version(self) -> int:
        """systemd's; 0 if it does not tell."""
        digits = ""
        for character in self._get(_OBJECT, _MANAGER, "Version").removeprefix("v"):
            if not ("0" <= character <= "9"):
                break
            digits += character
        return int(digits or 0)

    def unit_state(self, unit: str) -> str:
        """Return the state of a unit, such as "active" or "failed": see systemctl(1).

        Raises:
            Failure: systemd does not know the state.
        """
        return self._get(f"{_OBJECT}/unit/{escaped(unit)}", _UNIT, "ActiveState")

    def owner(self) -> int:
        """The uid of whose session it is; 0: root's, or there is none."""
        try:
            told = self._busctl("status", "status")
        except Failure:
            return 0
        numbers = [line[len(_OWNER) :] for line in told.splitlines() if line.startswith(_OWNER)]
        return int(numbers[0]) if numbers else 0

    def _get(self, path: str, interface: str, name: str) -> str:
        told = self._busctl(name, "get-property", _SERVICE, path, interface, name)
        return told.removeprefix("s ").strip('"')

    def _busctl(self, what: str, *arguments: str) -> str:
        import subprocess

        self.check(what)
        command = ["busctl", "--no-pager", *self._options, "--", *arguments]
        try:
            done = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            why = "busctl is not installed; it comes with systemd"
            raise Failure("call systemd", what, ENOENT, why) from None
        if done.returncode:
            raise Failure("call systemd", what, EIO, done.stderr.strip())
        return done.stdout.strip()


def escaped(unit: str) -> str:
    """A unit's name as the last part of its object's path (sd_bus_path_encode(3))."""
    first, rest = unit[:1], unit[1:]
    keep = [c if c.isascii() and c.isalnum() else f"_{ord(c):02x}" for c in rest]
    return (first if first.isalpha() else f"_{ord(first):02x}") + "".join(keep)
