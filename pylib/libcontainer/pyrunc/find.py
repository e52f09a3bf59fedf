# SPDX-License-Identifier: Apache-2.0
"""The file pyrunc-start, which is installed in the directory of the pyrunc program.

The installer writes "#!PYTHON" before it, from which the program (csrc/products/installation.c)
knows its interpreter. The program runs this file in that interpreter, without site and isolated
from the environment. This file finds the package by its own path, never by the current directory or
the environment, and continues with libcontainer.pyrunc.start.
"""

import sys
from _frozen_importlib_external import PathFinder, SourceFileLoader
from posix import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from importlib.machinery import ModuleSpec

# The directory of the package, if setup.py knew it: of an editable installation.
_RECORDED = ""
_START = "libcontainer.pyrunc.start"
_VERSION = f"python{sys.version_info[0]}.{sys.version_info[1]}"
_FAILED = 1


def _site_directories(prefix: str) -> list[str]:
    """Return the directories of packages whose scripts an installer puts in PREFIX/bin."""
    names = (f"{_VERSION}/site-packages", f"{_VERSION}/dist-packages", "python3/dist-packages")
    return [f"{prefix}/{lib}/{name}" for lib in ("lib", "lib64") for name in names]


def _candidates() -> list[str]:
    """Yield the directories that may contain the package; pip's --target uses PREFIX itself."""
    prefix = __file__.rsplit("/", 2)[0]
    recorded = [_RECORDED] if _RECORDED else []
    return [*recorded, *_site_directories(prefix), prefix]


def _path_of_start(folder: str) -> str:
    return f"{folder}/{_START.replace('.', '/')}.py"


def _exists(path: str) -> bool:
    try:
        stat(path)
    except OSError:
        return False
    return True


def _all_site_directories() -> list[str]:
    """Return the site directories of this interpreter. To find them takes some time."""
    import site

    site.main()
    return sys.path


class _Rest:
    """Finds cffi's module if the installer put it in another directory than the package."""

    @staticmethod
    def find_spec(
        name: str, path: "Sequence[str] | None" = None, target: object = None
    ) -> "ModuleSpec | None":
        if name != "_cffi_backend":
            return None
        _all_site_directories()
        return PathFinder.find_spec(name)


def _find_package() -> str:
    tried = _candidates()
    for folder in tried:
        if _exists(_path_of_start(folder)):
            return folder
    tried += [folder for folder in _all_site_directories() if folder not in tried]
    for folder in tried:
        if _exists(_path_of_start(folder)):
            return folder
    message = (
        f"pyrunc: the package libcontainer is in none of {', '.join(tried)}, which is where "
        f"{__file__} looks for it with {sys.executable} (Python {sys.version.split()[0]}); install "
        f"pynsenter again with the Python that pyrunc is to use\n"
    )
    sys.stderr.write(message)
    sys.exit(_FAILED)


def _run() -> None:
    here = _find_package()
    prefix = sys.executable.rsplit("/", 2)[0]
    # In a checkout, nsenter is beside pylib, and cffi is in the environment.
    recorded = [here.rsplit("/", 1)[0]] if here == _RECORDED else []
    sites = [folder for folder in _site_directories(prefix) if _exists(folder)]
    sys.path[:0] = dict.fromkeys([here, *recorded, *sites])
    sys.meta_path.append(_Rest)
    # By its path, as what finds modules would first read the directories of sys.path.
    loader = SourceFileLoader(_START, _path_of_start(here))
    start = type(sys)(_START)
    start.__file__ = loader.path
    loader.exec_module(start)
    start.main(here)


_run()
