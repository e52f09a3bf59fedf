# SPDX-License-Identifier: Apache-2.0
"""What every command needs: the global options, and the container that it is about."""

from __future__ import annotations

import os
from errno import EAGAIN

from libcontainer.container import Container
from libcontainer.errors import ContainerError
from libcontainer.pyrunc.state_root import make_private, may_lack_cgroups, state_root
from libcontainer.specconv.spelling import respelt
from nsenter._host import json_text
from nsenter._host.syscalls import Failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from io import FileIO
    from typing import Any

    from libcontainer.configs import Config
    from libcontainer.pyrunc.log import Log
    from nsenter._interpreter.prebooted import PrebootedInit


_STDIN = 0
_CGROUP_MANAGERS = ("cgroupfs", "systemd", "disabled")


def _read_all(file: FileIO, name: str) -> str:
    raw = file.readall()
    if raw is None:  # the descriptor does not block, and nothing has been written to it yet
        raise Failure("read", name, EAGAIN)
    return raw.decode("utf-8", "surrogateescape")


class Context:
    """One call of pyrunc.

    Args:
        given: pyrunc's own options.
        options: the options of the command, by key.
        arguments: the arguments of the command. The first is the id of a container, if the command
            takes one.
        log: the log.
        prebooted: a prebooted interpreter for the init; None means that there is none.

    Attributes:
        root: the absolute path of the state directory.
    """

    def __init__(
        self,
        given: dict[str, Any],
        options: dict[str, Any],
        arguments: list[str],
        log: Log,
        prebooted: PrebootedInit | None = None,
    ) -> None:
        self._given = given
        self.options = options
        self.arguments = arguments
        self.prebooted = prebooted
        self.log = log
        self.root = state_root(given["root"])

    @property
    def id(self) -> str:
        """The id of the container."""
        return self.arguments[0]

    @property
    def words(self) -> list[str]:
        """The arguments after the id."""
        return self.arguments[1:]

    def container(self) -> Container:
        """Return the container that the command line names.

        Raises:
            ContainerError: there is no such container.
        """
        return self.listening(Container.load(self.root, self.id))

    def listening(self, container: Container) -> Container:
        """Return the container; its warnings go to the log as errors, as runc's do."""
        container.warn = self.log.error
        return container

    def make_root(self) -> None:
        """Create this user's default state directory, unless --root names another."""
        if not self._given["root"]:
            make_private(self.root)

    def convert(self, spec: dict[str, Any], bundle: str) -> Config:
        """Return a config.json as a Config, changed as the options require."""
        from libcontainer.specconv import config_from_spec

        manager = self._cgroup_manager()
        systemd = manager == "systemd"
        return config_from_spec(
            spec,
            id=self.id,
            bundle=bundle,
            systemd_cgroup=systemd,
            no_cgroup=manager == "disabled",
            no_pivot_root=self.options["no_pivot"],
            readonly_submounts=bool(self.options.get("rootfs")) and not self.options["rw"],
            no_new_keyring=self.options["no_new_keyring"],
            rootless_euid=os.geteuid() != 0,
            rootless_cgroups=may_lack_cgroups(self._given["rootless"], systemd=systemd),
        )

    def _cgroup_manager(self) -> str:
        """Return the name of the cgroup manager.

        runc has one option for it and crun has another; podman may pass either.
        """
        given: str = self._given["cgroup_manager"]
        if given not in ("", *_CGROUP_MANAGERS):
            raise ContainerError(
                f"--cgroup-manager {given!r}: expected {', '.join(_CGROUP_MANAGERS)}"
            )
        if not self._given["systemd_cgroup"]:
            return given or "cgroupfs"
        if given not in ("", "systemd"):
            raise ContainerError(f"--systemd-cgroup and --cgroup-manager {given}: give one of them")
        return "systemd"

    def read_bundle(self, folder: str) -> dict[str, Any]:
        """Return the config.json of a bundle.

        Raises:
            ContainerError: there is none.
        """
        path = os.path.join(folder, "config.json")
        try:
            spec = self.read_json(path)
        except FileNotFoundError:
            raise ContainerError(
                f"JSON specification file {path} not found; `pyrunc spec` writes one to start from"
            ) from None
        if not isinstance(spec, dict):
            raise ContainerError(f"{path}: not an object")
        return spec

    def read_json(self, path: str) -> Any:
        """Return the content of a JSON file.

        Raises:
            ContainerError: the file is not JSON.
            OSError: the file cannot be read.
        """
        with open(path, "rb", buffering=0) as file:
            return self.parse_json(_read_all(file, path), path)

    def read_json_from_stdin(self) -> Any:
        """Return the JSON document on standard input; the errors are those of `read_json`."""
        name = "standard input"
        with open(_STDIN, "rb", buffering=0, closefd=False) as file:
            return self.parse_json(_read_all(file, name), name)

    def parse_json(self, text: str, name: str) -> Any:
        """Return a JSON document of the specification, and log the names in it that are misspelt.

        Args:
            text: the document.
            name: the name of the source, for errors.
        """
        try:
            value, notes = respelt(json_text.loads(text))
        except ValueError as error:
            raise ContainerError(f"{name}: {error}") from None
        for note in notes:
            self.log.warning(f"{name}: {note}")
        return value
