# SPDX-License-Identifier: Apache-2.0
"""Make the memory image from which pyrunc starts its own interpreter.

csrc/interpreter/command_image.c starts it.
"""

from __future__ import annotations

import marshal
import os
import subprocess
import sys

from libcontainer.init.image_contents import IMAGE
from libcontainer.pyrunc import image_contents, resume, start
from libcontainer.pyrunc.image_request import name_of
from nsenter._interpreter import image_maker, module_archive
from nsenter._interpreter.image_maker import ImageError
from nsenter._interpreter.sealed_memory import sealed_memfd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["detached", "make", "remove"]

_MODULE = "pyrunc_resume"  # resume.py, in the module archive
_SECONDS = 30.0


def make(script: str) -> str:
    """Make the image and replace the present one; return its path.

    Args:
        script: the path of pyrunc-start. The image is of the interpreter that runs this function.

    Raises:
        ImageError: no image can be made here; no file is left.
    """
    return image_maker.write(
        name_of(script),
        lambda out: _dump(script, out),
        lambda path, out: _try(script, path, out),
    )


def detached() -> None:
    """Make both images, unless another process does. `image_request.make_later` starts this."""
    script, runtime = sys.argv[1:3]

    def make_both() -> None:
        image_maker.make(IMAGE, {})
        make(script)

    image_maker.make_alone(name_of(script), runtime, make_both)


def remove(script: str) -> list[str]:
    """Remove the image; return its paths."""
    return image_maker.remove_file(name_of(script))


def _own_modules() -> Iterator[str]:
    """Yield the name of every module of the package."""
    import libcontainer

    top = libcontainer.__path__[0]
    for folder, folders, files in os.walk(top):
        folders[:] = sorted(name for name in folders if name.isidentifier() and name[:2] != "__")
        package = ".".join(["libcontainer", *os.path.relpath(folder, top).split("/")])
        package = package.removesuffix("..")
        for file in sorted(files):
            name, suffix = os.path.splitext(file)
            if suffix == ".py":
                yield package if name == "__init__" else f"{package}.{name}"


def _dump(script: str, out: int) -> None:
    archive = sealed_memfd(
        "modules", module_archive.pack_one(resume.__name__, _MODULE), executable=False
    )
    files = os.memfd_create("files", os.MFD_CLOEXEC)
    contents = marshal.dumps(
        {
            "script": script,
            "path": [*sys.path],
            "modules": [
                *sorted({*_own_modules()} - image_contents.LEFT_OUT),
                *image_contents.MODULES,
            ],
            "extensions": [*image_contents.EXTENSIONS],
            "files_fd": files,
            "files": [*_files(script)],
            "objects_until_collected": start.OBJECTS_UNTIL_COLLECTED,
        }
    )
    fds = [archive, sealed_memfd("contents", contents, executable=False), files]
    os.lseek(fds[1], 0, os.SEEK_SET)
    flags = b"-I", b"-S", b"-X", b"utf8=1", b"-X", b"frozen_modules=on"
    argv = [os.fsencode(sys.executable), *flags, os.fsencode(script)]
    try:
        image_maker.run((*fds, out), _MODULE, argv, sys.executable, {b"LC_ALL": b"C"})
    finally:
        for fd in fds:
            os.close(fd)


def _files(script: str) -> Iterator[str]:
    """Yield the files that decide which modules the interpreter finds."""
    yield from (script, sys.executable, os.path.abspath(str(resume.__file__)))
    folder = os.path.dirname(sys.executable)
    for path in (f"{folder}/pyvenv.cfg", f"{os.path.dirname(folder)}/pyvenv.cfg"):
        if os.path.isfile(path):
            yield path


def _try(script: str, path: str, out: int) -> None:
    """Start a command from the image, and record the pages that it has written to."""
    program = f"{os.path.dirname(script)}/pyrunc"
    environment = {resume.TRIAL_VARIABLE: os.fsencode(path)}
    pipe = subprocess.PIPE
    with subprocess.Popen(
        [program], env=environment, cwd="/", stdin=pipe, stdout=pipe, stderr=pipe
    ) as child:
        assert child.stdout
        try:
            if child.stdout.readline() == resume.READY:
                image_maker.write_hot_ranges(out, child.pid)
            _, said = child.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            raise ImageError("a command that was started from it does not end") from None
    if child.returncode:
        raise ImageError(
            f"a command that was started from it has ended with {child.returncode}: "
            f"{said.decode(errors='backslashreplace').strip()}"
        )
