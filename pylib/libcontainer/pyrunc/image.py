# SPDX-License-Identifier: Apache-2.0
"""All modules of the command in one file, so that its start opens one file and not eighty.

The image is a cache beside the .pyc files, trusted and made anew as they are: an index of modules,
each with its source's time and size, and their code. One whose source has changed is not used.

What a command used the last time is there before it asks: the import system takes longer over a
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
    from collections.abc import Iterable, Mapping, Sequence
    from types import ModuleType
    from typing import Any

__all__ = ["INIT", "command_in", "install", "rest_has_time", "save"]

_PACKAGES = ("libcontainer", "nsenter", "__future__")
_PATH = os.path.join(
    os.path.dirname(__file__), "__pycache__", f"pyrunc.{sys.implementation.cache_tag}.image"
)
_MAGIC = b"pyrunc image 5\n" + sys.version.encode() + b"\n"
_SIZE_BYTES = 8
_NO_DOCSTRINGS = 2
_MODULE, _PACKAGE, _EXTENSION = range(3)

# The init, which is no command: how it is called here.
INIT = "init"


class _Image:
    """Finds and loads the modules of the image.

    Args:
        fd: of the file; -1: there is none.
        index: by name: source, its time in ns, its size, what kind of module it is, and where its
            code is. An extension has none, but is found without a look into any folder.
        used: by command, the modules that it used, each behind those that it imports.

    Attributes:
        missed: modules that it has not, or not as they are now.
        made: those that were made, in this order.
        outdated: whether one of those to be made beforehand has changed.
    """

    def __init__(
        self, fd: int, index: "Mapping[str, Any]", used: "Mapping[str, Sequence[str]]"
    ) -> None:
        self._fd = fd
        self.index = index
        self.used = used
        self.missed: list[str] = []
        self.made: list[str] = []
        self.outdated = False

    def find_spec(
        self, name: str, path: "Sequence[str] | None" = None, target: object = None
    ) -> ModuleSpec | None:
        if not self._is_fresh(name):
            self.missed.append(name)
            return None
        source, _, _, kind = self.index[name][:4]
        if kind == _EXTENSION:
            return ModuleSpec(name, ExtensionFileLoader(name, source), origin=source)
        return self._spec(name)

    def _is_fresh(self, name: str) -> bool:
        entry = self.index.get(name)
        return entry is not None and _identity(entry[0]) == entry[1:3]

    def _spec(self, name: str) -> ModuleSpec | None:
        source, _, _, kind = self.index[name][:4]
        is_package = kind == _PACKAGE
        loader: Any = self
        # Not "has a location": the import system would work out where a .pyc of it would be.
        spec = ModuleSpec(name, loader, origin=source, is_package=is_package)
        if is_package:
            spec.submodule_search_locations = [os.path.dirname(source)]
        return spec

    def create_module(self, spec: ModuleSpec) -> None:
        return None

    def exec_module(self, module: "ModuleType") -> None:
        self._execute(module, self.code(module.__name__))

    def _execute(self, module: "ModuleType", code: bytes | memoryview) -> None:
        name = module.__name__
        module.__file__ = self.index[name][0]
        exec(marshal.loads(code), module.__dict__)
        self.made.append(name)

    def code(self, name: str) -> bytes:
        """The marshalled code of a module."""
        offset, size = self.index[name][4:]
        return os.pread(self._fd, size, offset)

    def preload(self, names: "Iterable[str]") -> None:
        """Make modules without the import system; none where one of them has changed, as a
        package that is only begun would be left for its real self."""
        names = [name for name in names if name not in sys.modules]
        self.outdated = not all(map(self._is_fresh, names))
        if not names or self.outdated:
            return
        places = [self.index[name][4:] for name in names]
        first = min(offset for offset, _ in places)
        last = max(offset + size for offset, size in places)
        code = memoryview(os.pread(self._fd, last - first, first))
        begun: dict[str, ModuleType] = {}
        for name, (offset, size) in zip(names, places, strict=True):
            at = offset - first
            self._execute(self._begin(name, begun), code[at : at + size])

    def _begin(self, name: str, begun: "dict[str, ModuleType]") -> "ModuleType":
        """An empty module, in its package, which may be empty yet: it imports from its modules."""
        if name in sys.modules:
            return sys.modules[name]
        spec: Any = self._spec(name)
        module = begun[name] = sys.modules[name] = type(sys)(name)
        module.__spec__, module.__loader__ = spec, spec.loader
        package, _, last = name.rpartition(".")
        module.__package__ = package
        if spec.submodule_search_locations is not None:
            module.__package__, module.__path__ = name, spec.submodule_search_locations
        if package:
            setattr(self._begin(package, begun), last, module)
        return module


def _identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


_image = _Image(-1, {}, {})
_command = ""
_urgent: list[str] = []


def command_in(words: "Iterable[str]") -> str:
    """Which command a line is of, as a parser would know; the first word that may be one is good
    enough, as a wrong one only costs time."""
    return next((word for word in words if word.isalpha()), "")


def install(command: str) -> None:
    """Have imports look into the image, behind the built-in and the frozen modules, and make what
    a command used the last time."""
    global _image, _command
    _image = _load()
    sys.meta_path.insert(2, _image)
    _command = command
    _image.preload(_image.used.get(command, ()))


def rest_has_time() -> None:
    """What is imported from now on is not made beforehand the next time: the init is at work, and
    there is nothing to do but wait for it."""
    global _urgent
    _urgent = [*_image.made]


def _load() -> "_Image":
    """The image; an empty one where there is none of this version that is ours."""
    try:
        fd = os.open(_PATH, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _Image(-1, {}, {})
    status = os.fstat(fd)
    ours = status.st_uid in (0, os.geteuid()) and not status.st_mode & 0o022
    head = os.read(fd, len(_MAGIC) + _SIZE_BYTES) if ours else b""
    if not head.startswith(_MAGIC):
        os.close(fd)
        return _Image(-1, {}, {})
    size = int.from_bytes(head[len(_MAGIC) :], "little")
    return _Image(fd, *marshal.loads(os.read(fd, size)))


def save() -> None:
    """Write the image anew where a module was imported that it did not have, or a command was
    given whose modules it does not know."""
    is_known = _command in _image.used and not _image.outdated
    if sys.flags.dont_write_bytecode or (is_known and not _image.missed):
        return
    made = _urgent or [*_image.made]
    from libcontainer.pyrunc.options import COMMANDS

    found = {name: _compiled(name) for name in _image.missed}
    new = {name: entry for name, entry in found.items() if entry}
    # The init beside us, or us, may have written one meanwhile.
    latest = _load()
    old = {name: (*latest.index[name][:4], latest.code(name)) for name in latest.index}
    # Only when all came from the image is it known in which order they have to be made.
    learnt = {} if new or _command not in (*COMMANDS, INIT) else {_command: made}
    if new or learnt:
        used = {name: made for name, made in latest.used.items() if not new or name != _command}
        _write(_packed(old | new, used | learnt))


def _compiled(name: str) -> "tuple[Any, ...] | None":
    """What is kept of a module; None for what is neither ours nor an extension."""
    module = sys.modules.get(name)
    spec = module.__spec__ if module else None
    origin = (spec.origin if spec else None) or ""
    identity = _identity(origin)
    if spec is None or identity is None:
        return None
    if isinstance(spec.loader, ExtensionFileLoader):
        return origin, *identity, _EXTENSION, b""
    if name.partition(".")[0] not in _PACKAGES or not origin.endswith(".py"):
        return None
    with open(origin, "rb") as file:
        code = compile(file.read(), origin, "exec", dont_inherit=True, optimize=_NO_DOCSTRINGS)
    kind = _MODULE if spec.submodule_search_locations is None else _PACKAGE
    return origin, *identity, kind, marshal.dumps(code)


def _packed(modules: "Mapping[str, tuple[Any, ...]]", used: "Mapping[str, Sequence[str]]") -> bytes:
    """Head, index, code. The index is equally long whatever the offsets in it are."""

    def index(start: int) -> bytes:
        table, offset = {}, start
        for name, (*facts, code) in modules.items():
            table[name] = (*facts, offset, len(code))
            offset += len(code)
        # Version 2 has no references between equal objects, which would change its length.
        return marshal.dumps((table, dict(used)), 2)

    start = len(_MAGIC) + _SIZE_BYTES + len(index(0))
    table = index(start)
    size = len(table).to_bytes(_SIZE_BYTES, "little")
    return _MAGIC + size + table + b"".join(entry[-1] for entry in modules.values())


def _write(data: bytes) -> None:
    """Whole or not at all; a folder that cannot be written to has none."""
    temporary = f"{_PATH}.{os.getpid()}"
    try:
        fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            os.write(fd, data)
        finally:
            os.close(fd)
        os.rename(temporary, _PATH)
    except OSError:
        return
