# SPDX-License-Identifier: Apache-2.0
"""The root of a sandbox that is not the system's: a directory, or an OCI image."""

from __future__ import annotations

import os
from errno import ENOTDIR

from nsenter._sandbox.parts import Part
from nsenter._sandbox.workspace import Workspace
from nsenter.mounts import Attached

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from nsenter._sandbox.safe_files import Path
    from nsenter.launch import Environment
    from nsenter.options import Options

__all__ = ["Root"]


class Root(Part):
    """A directory or an OCI image as the root of the runs of a sandbox.

    Without an overlay it is read-only. With an overlay the runs can change it, as far as the user
    of the runs may, until the sandbox is reset or closed; the directory or image is not changed.

    An image is fetched by skopeo(1) and unpacked by umoci(1), once: it is kept in
    nsenter/images in the user's cache directory, by its digest. Its files then belong to the user
    of the runs, device files are left out, and its size is not limited. The variables of its
    configuration are set in the runs; its command and its user are not used.

    Args:
        source: the path of a directory, or a name of an image as in containers-transports(5), such
            as "oci:directory:tag" or "docker://debian:stable".
        options: the options of the runs, which say as which user they run.
        overlay, size, inodes: as for `Workspace`.

    Attributes:
        path: the directory; None before an image is unpacked.

    Raises:
        TypeError, ValueError: an argument is not valid.
    """

    def __init__(
        self,
        source: Path,
        options: Options,
        *,
        overlay: bool | str = False,
        size: int | str | None = None,
        inodes: int | str | None = None,
    ) -> None:
        from nsenter._sandbox.oci_image import is_reference

        if not isinstance(source, (str, bytes, os.PathLike)) or source in ("", "tmpfs"):
            raise ValueError(f"root must be a directory or the name of an image, not {source!r}")
        self._source = source
        self._is_image = is_reference(source)
        self.path: str | None = None if self._is_image else os.path.realpath(os.fsdecode(source))
        self._layer: Workspace | None = None
        self._environment: Mapping[str, str] = {}  # of the image
        self._how = {"overlay": overlay, "size": size, "inodes": inodes}
        self._options = options
        Workspace(".", options, **self._how)  # type: ignore[arg-type]

    def open(self) -> None:
        """Unpack the image if that was not done before, and mount the overlay.

        Raises:
            BootstrapError: skopeo or umoci is not installed, or has failed.
            OSError: the directory cannot be opened, or every way to make an overlay is refused.
        """
        if self._is_image:
            from nsenter._sandbox.oci_image import unpacked

            image = unpacked(str(self._source))
            self.path, self._environment = image.root, image.environment
        assert self.path is not None
        if self._how["overlay"]:
            layer = Workspace(self.path, self._options, **self._how)  # type: ignore[arg-type]
            layer.open()
            self._layer = layer
        elif not os.path.isdir(self.path):
            raise NotADirectoryError(ENOTDIR, "The root must be a directory", self.path)

    def close(self) -> None:
        """Forget what the runs have changed. May be called twice."""
        layer, self._layer = self._layer, None
        if layer is not None:
            layer.close()

    def changes(self, options: Options) -> Mapping[str, Any]:
        """Return the root as a field of the options of a run."""
        if self._layer is None:
            return {"root": self.path, "read_only": True}
        return {"root": Attached("/", self._layer.detached_mount, True), "read_only": False}

    def completed(self, environment: Environment, *, is_given: bool) -> Environment:
        """Return an environment with the variables of the image.

        Args:
            environment: the environment of the sandbox.
            is_given: the caller has chosen it; the variables in it are not replaced.
        """
        if not self._environment:
            return environment
        ours = {os.fsencode(name): os.fsencode(value) for name, value in environment.items()}
        theirs = {os.fsencode(n): os.fsencode(value) for n, value in self._environment.items()}
        return {**theirs, **ours} if is_given else {**ours, **theirs}

    def reset(self) -> None:
        """Forget what the runs have changed.

        Raises:
            ValueError: the root has no overlay.
        """
        if self._layer is None:
            raise ValueError("reset() requires overlay=True: the root cannot be changed")
        self._layer.reset()
