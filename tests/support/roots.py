"""Roots to send a process into, each in a mount namespace of its own that can be joined.

A process that joins a mount namespace gets the root of that namespace, so a root is held by a
process that has pivoted into it: an empty tmpfs, one with a busybox alone, or one full of
poison, where every file that an interpreter or its C library might look for is there, and says
so in /poisoned when it is executed; or one where our own files are named pipes that nobody
writes to: who opens one never comes back.

As a script (under `unshare --mount`): roots.py KIND FOLDER LURES makes it in FOLDER, says
"ready" and stays until its stdin ends. Only the standard library is imported: a Python under
test runs this too.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

EMPTY, BUSYBOX, POISON, TRAP = "empty", "busybox", "poison", "trap"
KINDS = (EMPTY, BUSYBOX, POISON)
MARKS = "/poisoned"  # in the root: what was executed there, a line each

_ADMIN_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
_MNT_DETACH = 2


@dataclass(frozen=True)
class Lures:
    """What a poisoned root pretends to have.

    Args:
        binary: the real interpreter, which is there, so that the poison can be shown to work.
        stdlib: its folder of modules.
        prefix: its PYTHONHOME.
        library: a shared library that marks by its own path when it is loaded.
        files: paths of more modules and libraries to poison, as the host has them.
    """

    binary: str
    stdlib: str
    prefix: str
    library: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class Root:
    """A root, and the process that holds its mount namespace."""

    pid: int

    @property
    def path(self) -> Path:
        """Where the caller sees it."""
        return Path(f"/proc/{self.pid}/root")

    def marks(self) -> set[str]:
        """What of the poison was executed."""
        marks = self.path / MARKS.lstrip("/")
        return set(marks.read_text().split()) if marks.exists() else set()


@contextlib.contextmanager
def held(kind: str, lures: Lures | None = None, *, own_user: bool = False) -> Iterator[Root]:
    """A root of this kind; with `own_user` in a user namespace that the caller has made."""
    words = [_tool("unshare"), "--mount", "--propagation", "private"]
    words += ["--user", "--map-root-user"] if own_user else []
    lures_text = json.dumps(asdict(lures) if lures else None)
    with tempfile.TemporaryDirectory() as folder:
        process = subprocess.Popen(
            [*words, sys.executable, __file__, kind, folder, lures_text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        with process:
            assert process.stdout is not None
            if process.stdout.readline() != b"ready\n":
                raise AssertionError(f"the {kind} root could not be made")
            yield Root(process.pid)
            # Popen's end closes stdin, and waits.


def _tool(name: str) -> str:
    found = shutil.which(name, path=_ADMIN_PATH)
    if found is None:
        raise AssertionError(f"{name} is not installed")
    return found


# --- the holder ---------------------------------------------------------------------------------


def hold(kind: str, folder: Path, lures: Lures | None) -> None:
    _call("mount", b"tmpfs", bytes(folder), b"tmpfs", 0, b"mode=755")
    if kind == BUSYBOX:
        _fill_with_busybox(folder)
    elif kind == POISON:
        assert lures is not None
        _Poisoner(folder, lures).fill()
    elif kind == TRAP:
        assert lures is not None
        _lay_pipes(folder, lures.files)
    os.chdir(folder)
    _call("pivot_root", b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    os.chdir("/")
    os.write(1, b"ready\n")
    while os.read(0, 1):
        pass


def _call(name: str, *args: object) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[name](*args) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}{args}: {os.strerror(number)}")


def _fill_with_busybox(root: Path) -> None:
    (root / "bin").mkdir()
    shutil.copy2(_tool("busybox"), root / "bin/busybox")
    for applet in ("sh", "env"):
        (root / "bin" / applet).symlink_to("busybox")


def _lay_pipes(root: Path, paths: Iterable[str]) -> None:
    for path in paths:
        place = root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        os.mkfifo(place)


# --- poison -------------------------------------------------------------------------------------

# Appends a name to the marks; on one line, so that it can stand before anybody's code.
_MARK = (
    f"import posix as _p; _f = _p.open({MARKS!r}, _p.O_WRONLY | _p.O_APPEND); "
    "_p.write(_f, b'{name}\\n'); _p.close(_f); del _p, _f\n"
)

# As the mark above for what is loaded: the name is the library's own path.
LIBRARY_SOURCE = f"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>
__attribute__((constructor)) static void poison(void)
{{
	Dl_info info;
	int fd = open("{MARKS}", O_WRONLY | O_APPEND);
	if (fd >= 0 && dladdr((void *)poison, &info)) {{
		write(fd, info.dli_fname, strlen(info.dli_fname));
		write(fd, "\\n", 1);
	}}
	close(fd);
}}
"""

# Where a boot can look, if it looks: beside its argv[0], in the working directory, in the
# prefixes that are compiled in.
_FOLDERS = ("/", "/bin", "/usr/bin", "/usr/local/bin")
_LIBRARY_FOLDERS = ("/lib", "/usr/lib", "/usr/local/lib", "/lib64", "/usr/lib64")
_MODULES_IN_CWD = ("encodings", "runpy", "site", "sitecustomize", "usercustomize", "codecs", "io")
_LOCALE_FILES = (
    "locale-archive",
    *(f"{name}/LC_CTYPE" for name in ("C.utf8", "C.UTF-8", "en_US.utf8", "C")),
)
# What glibc itself loads by name when it first needs it: for pthread_exit(3) the one, for the
# databases of nsswitch.conf(5) the other.
_LOADED_LATER = ("libgcc_s.so.1", "libnss_poison.so.2")
_ZONES = ("UTC", "UTC0", "Etc/UTC", "posixrules", "localtime", "Europe/Berlin")


class _Poisoner:
    """Fills a folder with what `Lures` says."""

    def __init__(self, root: Path, lures: Lures) -> None:
        self._root = root
        self._lures = lures
        self._bin = str(Path(lures.binary).parent)
        self._version = Path(lures.stdlib).name.removeprefix("python")

        listed = subprocess.run(
            [_tool("ldd"), lures.binary], capture_output=True, text=True, check=True
        ).stdout
        self._libraries = re.findall(r"(/\S+) \(0x", listed)

    def fill(self) -> None:
        self._write(MARKS, "")
        (self._root / MARKS.lstrip("/")).chmod(0o666)
        self._interpreter()
        self._stdlib()
        self._settings_beside_the_interpreter()
        self._c_library()
        self._proc()
        for path in self._lures.files:
            self._poison(path)

    def _at(self, path: str) -> Path:
        place = self._root / path.lstrip("/")
        place.parent.mkdir(parents=True, exist_ok=True)
        return place

    def _write(self, path: str, text: str) -> None:
        self._at(path).write_text(text)

    def _copy(self, source: str, path: str) -> None:
        shutil.copy(source, self._at(path))

    def _poison(self, path: str) -> None:
        """A library that marks, or the host's own module with a mark before its code."""
        if ".so" in Path(path).suffixes:
            self._copy(self._lures.library, path)
        elif path.endswith(".py"):
            self._write(path, _marked(path, Path(path).read_text()))
        else:
            self._write(path, "poison\n")

    def _interpreter(self) -> None:
        for path in (self._lures.binary, *self._libraries):
            self._copy(path, path)
        self._copy(self._lures.binary, "/plain/bin/python")  # nothing lies beside this one

    def _stdlib(self) -> None:
        stdlib = Path(self._lures.stdlib)
        packages = ("encodings", "importlib", "collections", "re", "json", "zipfile")
        modules = [*stdlib.glob("*.py")]
        modules += [file for name in packages for file in (stdlib / name).rglob("*.py")]
        for file in modules:
            self._poison(str(file))
        for name in ("sitecustomize", "usercustomize"):
            self._write(f"{stdlib}/{name}.py", _marked(f"{name}.py", ""))
        for file in (stdlib / "lib-dynload").glob("*.so"):
            self._poison(str(file))
        self._write(f"{stdlib}/site-packages/x.pth", _marked("x.pth", "").strip() + "\n")
        self._write(f"{stdlib}/dist-packages/x.pth", _marked("x.pth", "").strip() + "\n")
        for folder in _LIBRARY_FOLDERS:
            if not (link := self._at(f"{folder}/{stdlib.name}")).exists():
                link.symlink_to(stdlib)
        self._zip(f"{stdlib.parent}/python{self._version.replace('.', '')}.zip")

    def _zip(self, path: str) -> None:
        with zipfile.ZipFile(self._at(path), "w") as archive:
            archive.writestr("zipped.py", _marked("python.zip", ""))

    def _settings_beside_the_interpreter(self) -> None:
        names = ("python", "python3", f"python{self._version}", Path(self._lures.binary).name)
        paths = f"/pth\n{self._lures.stdlib}\nimport site\n"
        self._write("/pth/sitecustomize.py", _marked("._pth", ""))
        for folder in {*_FOLDERS, self._bin}:
            for name in names:
                self._write(f"{folder}/{name}._pth", paths)
            self._write(f"{folder}/pyvenv.cfg", "home = /pth\n")
            self._write(f"{Path(folder).parent}/pyvenv.cfg", "home = /pth\n")
            self._write(f"{folder}/pybuilddir.txt", "../../pth")
            self._write(f"{folder}/Modules/Setup.local", "")
        for module in _MODULES_IN_CWD:
            self._write(f"/{module}.py", _marked(f"/{module}.py", ""))

    def _c_library(self) -> None:
        self._copy(self._lures.library, "/preloaded.so")
        self._write("/etc/ld.so.preload", "/preloaded.so\n")
        self._write("/etc/ld.so.cache", "poison\n")
        for name in _LOCALE_FILES:
            self._write(f"/usr/lib/locale/{name}", "poison\n")
        for name in ("gconv-modules", "gconv-modules.cache"):
            self._write(f"/usr/lib/gconv/{name}", "module ASCII// UTF-8// /preloaded 1\n")
        for folder in {str(Path(lib).parent) for lib in self._libraries} | {*_LIBRARY_FOLDERS}:
            for name in _LOADED_LATER:
                self._copy(self._lures.library, f"{folder}/{name}")
        for zone in _ZONES:
            self._write(f"/usr/share/zoneinfo/{zone}", "poison\n")
        self._write("/etc/localtime", "poison\n")
        for name in ("passwd", "group", "hosts", "host.conf", "resolv.conf"):
            self._write(f"/etc/{name}", "poison\n")
        databases = ("passwd", "group", "hosts", "services", "protocols", "networks")
        self._write("/etc/nsswitch.conf", "".join(f"{name}: poison\n" for name in databases))

    def _proc(self) -> None:
        """One that lies: no process has mounted it."""
        self._write("/proc/self/maps", "poison\n")
        self._at("/proc/self/exe").symlink_to("/bin/python")
        for number in range(10):
            self._copy(self._lures.library, f"/proc/self/fd/{number}")


def _marked(name: str, source: str) -> str:
    mark = _MARK.replace("{name}", name)
    # What must stay first stays first: then the mark comes last.
    return source + "\n" + mark if "from __future__" in source else mark + source


if __name__ == "__main__":
    text = json.loads(sys.argv[3])
    hold(sys.argv[1], Path(sys.argv[2]), Lures(**text) if text else None)
