# SPDX-License-Identifier: Apache-2.0
"""The modules of a command in one file, so that its start opens one file and not sixty.

An image is a cache beside the .pyc files, trusted and made anew as they are: the modules that a
command used the last time, each with its source's time and size, and their code as one object. It
is used whole or, where one of the sources has changed, not at all.

What a command needs before all else is made before it asks: the import system takes longer over a
module than the module itself.
"""

# No annotations from __future__, which is a module like any other: to find it takes as long as ten
# of ours.
import marshal
import os
import sys
from _frozen_importlib import ModuleSpec
from _frozen_importlib_external import ExtensionFileLoader

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from types import CodeType, ModuleType
    from typing import Any

__all__ = ["INIT", "command_in", "install", "rest_has_time", "save", "uninstall"]

# The init, which is no command: how it is called here.
INIT = "init"

_PACKAGES = ("libcontainer", "nsenter", "__future__")
_FOLDER = os.path.join(os.path.dirname(__file__), "__pycache__")
_MAGIC = b"pyrunc image 7\n" + sys.version.encode() + b"\n"
_NO_DOCSTRINGS = 2
_MODULE, _PACKAGE, _EXTENSION = range(3)


class _Image:
    """Finds and loads the modules of an image.

    Args:
        entries: name, source, its time in ns, its size, and the kind of each module. An extension
            has no code here, but is found without a look into any folder.
        codes: of each.
        urgent: how many of the first to make before they are asked for, each behind those that it
            imports.

    Attributes:
        made: those that were made, in this order.
        missed: whether one was asked for that is not here.
    """

    def __init__(
        self, entries: "Sequence[Sequence[Any]]", codes: "Sequence[CodeType | None]", urgent: int
    ) -> None:
        self._entries = {entry[0]: entry for entry in entries}
        self._codes = dict(zip(self._entries, codes, strict=True))
        self.urgent = [*self._entries][:urgent]
        self.made: list[str] = []
        self.missed = False

    def entry(self, name: str) -> "Sequence[Any] | None":
        """Of a module; None: it is not here."""
        return self._entries.get(name)

    def is_fresh(self) -> bool:
        """Whether all sources are what they were."""
        return bool(self._entries) and all(
            _identity(entry[1]) == entry[2:4] for entry in self._entries.values()
        )

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: object = None
    ) -> ModuleSpec | None:
        entry = self._entries.get(name)
        if entry is None:
            self.missed = True
            return None
        _, source, _, _, kind = entry
        loader: Any = ExtensionFileLoader(name, source) if kind == _EXTENSION else self
        # Not "has a location": the import system would work out where a .pyc of it would be.
        spec = ModuleSpec(name, loader, origin=source, is_package=kind == _PACKAGE)
        if kind == _PACKAGE:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    def get_code(self, name: str) -> "CodeType | None":
        """For who takes modules elsewhere (nsenter.bundle)."""
        code: CodeType | None = self._codes[name]
        return code

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: "ModuleType") -> None:
        name = module.__name__
        module.__file__ = self._entries[name][1]
        code = self._codes[name]
        assert code is not None
        exec(code, module.__dict__)
        self.made.append(name)

    def preload(self) -> None:
        """Make the urgent ones without the import system."""
        begun: dict[str, ModuleType] = {}
        for name in self.urgent:
            if self._entries[name][4] == _EXTENSION:
                __import__(name)
            elif name not in sys.modules or name in begun:
                self.exec_module(self._begin(name, begun))

    def _begin(self, name: str, begun: "dict[str, ModuleType]") -> "ModuleType":
        """An empty module, in its package, which may be empty yet: it imports from its modules."""
        if name in sys.modules:
            return sys.modules[name]
        _, source, _, _, kind = self._entries[name]
        module = begun[name] = sys.modules[name] = type(sys)(name)
        package, _, last = name.rpartition(".")
        module.__package__ = package
        if kind == _PACKAGE:
            module.__package__, module.__path__ = name, [os.path.dirname(source)]
        if package:
            setattr(self._begin(package, begun), last, module)
        return module


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


_image = _Image((), (), 0)
_command = ""
_urgent: list[str] = []


def command_in(words: "Iterable[str]") -> str:
    """Which command a line is of, as a parser would know; the first word that may be one is good
    enough, as a wrong one only costs time."""
    return next((word for word in words if word.isalpha()), "")


def install(command: str) -> None:
    """Have imports look into the image of a command, behind the built-in and the frozen modules,
    and make what is urgent."""
    global _image, _command
    _command = command
    found = _load(_path(command))
    if found.is_fresh():
        _image = found
    sys.meta_path.insert(2, _image)
    _image.preload()


def uninstall() -> None:
    """Have every module found where its source is from now on."""
    sys.meta_path[:] = [finder for finder in sys.meta_path if finder is not _image]


def rest_has_time() -> None:
    """What is imported from now on is not made beforehand the next time: the init is at work, and
    there is nothing to do but wait for it."""
    global _urgent
    _urgent = [*_image.made]


def _path(command: str) -> str:
    return f"{_FOLDER}/pyrunc-{command}.{sys.implementation.cache_tag}.image"


def _load(path: str) -> _Image:
    """The image; an empty one where there is none of this version that is ours."""
    try:
        data = _read(path)
    except OSError:
        return _Image((), (), 0)
    if not data.startswith(_MAGIC):
        return _Image((), (), 0)
    try:
        return _Image(*marshal.loads(memoryview(data)[len(_MAGIC) :]))
    except (EOFError, ValueError, TypeError):  # cut short
        return _Image((), (), 0)


def _read(path: str) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
        return os.read(fd, status.st_size) if ours else b""
    finally:
        os.close(fd)


def save(status: int = 0) -> None:
    """Write the image anew where a module was imported that it did not have, or they were made in
    another order than is known.

    Args:
        status: of the command. One that failed has imported what the next will not.
    """
    urgent = _urgent or [*_image.made]
    if not _may_write() or status:
        return
    if (not _image.missed and urgent == _image.urgent) or not _is_command():
        return
    names = dict.fromkeys([*urgent, *_image.made, *sys.modules])
    try:
        compiled = [entry for entry in map(_compiled, names) if entry]
    except OSError:  # the next command can do without it
        return
    # Only when all came from the image is it known in which order they have to be made.
    count = 0 if _image.missed else len(urgent)
    _write(_path(_command), _packed(compiled, count))


def _may_write() -> bool:
    return not sys.flags.dont_write_bytecode


def _is_command() -> bool:
    if _command == INIT:
        return True
    from libcontainer.pyrunc.options import COMMANDS

    return _command in COMMANDS


def _compiled(name: str) -> "tuple[Any, ...] | None":
    """What is kept of a module; None for what is neither ours nor an extension."""
    source, kind = _source_of(name)
    identity = _identity(source) if source else None
    if identity is None:
        return None
    if kind == _EXTENSION:
        return (name, source, *identity, kind), None
    with open(source, "rb") as file:
        code = compile(file.read(), source, "exec", dont_inherit=True, optimize=_NO_DOCSTRINGS)
    return (name, source, *identity, kind), code


def _source_of(name: str) -> tuple[str, int]:
    """The file of a module that is kept, and its kind; "": it is not."""
    kept = _image.entry(name)
    if kept:
        return kept[1], kept[4]
    spec = getattr(sys.modules.get(name), "__spec__", None)
    if spec is None or not spec.origin:
        return "", _MODULE
    if isinstance(spec.loader, ExtensionFileLoader):
        return spec.origin, _EXTENSION
    if name.partition(".")[0] not in _PACKAGES or not spec.origin.endswith(".py"):
        return "", _MODULE
    return spec.origin, _MODULE if spec.submodule_search_locations is None else _PACKAGE


def _packed(compiled: "Sequence[tuple[Any, ...]]", urgent: int) -> bytes:
    entries, codes = (tuple(column) for column in zip(*compiled, strict=True))
    return _MAGIC + marshal.dumps((entries, codes, urgent))


def _write(path: str, data: bytes) -> None:
    """Whole or not at all; a folder that cannot be written to has none."""
    temporary = f"{path}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            while data:
                data = data[os.write(fd, data) :]
        finally:
            os.close(fd)
        os.rename(temporary, path)
    except OSError:
        _discard(temporary)


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        return
