# SPDX-License-Identifier: Apache-2.0
"""The data files of packages whose code was sent in memory, for `importlib.resources`.

The caller reads them on request, and only those of installed packages: the folder of a script or of
an editable install may hold secrets.
"""

from __future__ import annotations

from _frozen_importlib import FrozenImporter, ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from types import ModuleType
    from typing import Any

    # Returns the bytes of a file of a package, or the names in one of its folders.
    Fetch = Callable[[str, str], bytes | list[str]]

__all__ = ["ArchivedPackages", "Data"]


class Data:
    """The part of a loader, and of a resource reader, that returns the data files of a package.

    Args:
        package: the name of the package.
        fetch: a function that requests a file from the caller. It may raise FileNotFoundError.
    """

    def __init__(self, package: str, fetch: Fetch) -> None:
        self._package = package
        self._fetch = fetch

    def get_resource_reader(self, name: str) -> Data:
        return self

    def get_data(self, path: str) -> bytes:
        found = self._fetch(self._package, path)
        if not isinstance(found, bytes):
            raise FileNotFoundError(2, "this is a folder", path)
        return found

    def open_resource(self, resource: str) -> Any:
        import io

        return io.BytesIO(self.get_data(resource))

    def resource_path(self, resource: str) -> str:
        raise FileNotFoundError(2, "this has no path in this root", resource)

    def is_resource(self, path: str) -> bool:
        try:
            return isinstance(self._fetch(self._package, path), bytes)
        except FileNotFoundError:
            return False

    def contents(self) -> list[str]:
        found = self._fetch(self._package, "")
        return found if isinstance(found, list) else []


class _ArchivedPackage(Data):
    """The loader of a package in the module archive."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return FrozenImporter.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        FrozenImporter.exec_module(module)


class ArchivedPackages:
    """A finder that replaces FrozenImporter. Its packages have data files."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = FrozenImporter.find_spec(name, path, target)
        if spec is not None and spec.submodule_search_locations is not None:
            # These are folders of the boot, which do not exist. Without them, a package that lists
            # its folders finds nothing and goes on. numpy does so to explain why an extension
            # cannot be imported.
            spec.submodule_search_locations.clear()
            spec.loader = _ArchivedPackage(name, self._fetch)  # type: ignore[assignment]
        return spec
