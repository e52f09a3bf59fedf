# SPDX-License-Identifier: Apache-2.0
"""What every command needs: the global options, and the container that it is about."""

from __future__ import annotations

import os

from libcontainer import plainjson
from libcontainer.container import Container
from libcontainer.errors import ContainerError
from libcontainer.pyrunc.options import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from libcontainer.configs import Config
    from libcontainer.pyrunc.log import Log
    from libcontainer.pyrunc.options import Line

_ALL_IDS = 2**32 - 1


def default_root() -> str:
    """Where containers' state is, unless --root says so: on a tmpfs, gone with the machine."""
    if os.geteuid() == 0 and not _in_user_namespace():
        return "/run/pyrunc"
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime:
        return f"{runtime}/pyrunc"
    if os.geteuid() == 0:
        return "/run/pyrunc"
    return f"/tmp/pyrunc-{os.geteuid()}"


def _in_user_namespace() -> bool:
    try:
        with open("/proc/self/uid_map", encoding="ascii") as file:
            return file.read().split() != ["0", "0", str(_ALL_IDS)]
    except OSError:
        return False


class Context:
    """One call of pyrunc.

    Args:
        line: the parsed command line.
        log: where to tell.
    """

    def __init__(self, line: Line, log: Log) -> None:
        self.line = line
        self.log = log
        self.options = line.options
        self._globals = line.globals
        root = line.globals["root"]
        self.root = os.path.abspath(root) if root else default_root()

    @property
    def id(self) -> str:
        """The container's."""
        return self.line.arguments[0]

    @property
    def words(self) -> list[str]:
        """The arguments behind the id."""
        return list(self.line.arguments[1:])

    def container(self) -> Container:
        """The one that the line names. Raises ContainerError where there is none."""
        return Container.load(self.root, self.id)

    def check_root(self) -> None:
        """In a folder where everybody may write, the root has to be ours alone."""
        if os.geteuid() == 0 or self._globals["root"]:
            return
        try:
            os.mkdir(self.root, 0o700)
        except FileExistsError:
            status = os.lstat(self.root)
            if status.st_uid != os.geteuid() or status.st_mode & 0o022:
                raise ContainerError(f"{self.root} is not this user's alone; use --root") from None

    def is_rootless(self) -> bool:
        """Whether cgroups may be out of reach."""
        word = self._globals["rootless"]
        if word not in ("true", "false", "auto"):
            raise UsageError(f"--rootless {word!r}: expected true, false or auto")
        if word != "auto":
            return bool(word == "true")
        return os.geteuid() != 0 or _in_user_namespace()

    def convert(self, spec: Any, bundle: str) -> Config:
        """config.json as a Config, with what the options say besides."""
        from libcontainer.specconv import config_from_spec

        return config_from_spec(
            spec,
            id=self.id,
            bundle=bundle,
            systemd_cgroup=self._globals["systemd_cgroup"],
            no_pivot_root=self.options["no_pivot"],
            no_new_keyring=self.options["no_new_keyring"],
            rootless_euid=os.geteuid() != 0,
            rootless_cgroups=self.is_rootless(),
        )


def read_json(path: str) -> Any:
    """A JSON file. Raises ContainerError where it is none."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return plainjson.loads(file.read())
    except OSError as error:
        raise ContainerError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise ContainerError(f"{path}: {error}") from None


def read_bundle(folder: str) -> Any:
    """The config.json of a bundle."""
    path = os.path.join(folder, "config.json")
    if not os.path.exists(path):
        raise ContainerError(
            f"JSON specification file {path} not found; `pyrunc spec` writes one to start from"
        )
    return read_json(path)
