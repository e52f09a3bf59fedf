# SPDX-License-Identifier: Apache-2.0
"""Builds the products of csrc/: the cffi bindings, the interpreter's shim, nsinit, and pyrunc."""

from __future__ import annotations

import os
import platform
import re
import sys
import sysconfig
from pathlib import Path

from setuptools import Distribution, Extension, find_packages, setup
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler
from setuptools.command.build_ext import build_ext
from setuptools.command.install_scripts import install_scripts

sys.path.insert(0, "csrc")
import sources

if not sys.platform.startswith("linux"):
    raise SystemExit("nsenter needs Linux: namespaces are the Linux kernel's")

HEADERS = [str(path) for path in sorted(Path("csrc").rglob("*.h"))]
COMPILE = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"]
HARDEN = ["-fstack-protector-strong", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
# No libc, so no stack protector (its canary lives in libc's thread data), and a compiler that
# does not turn memcpy's own loop into a call of memcpy.
FREESTANDING = [
    *("-static", "-nostdlib", "-ffreestanding", "-fno-builtin", "-fno-stack-protector"),
    *("-fno-pie", "-no-pie", "-fno-tree-loop-distribute-patterns"),
    *("-fno-asynchronous-unwind-tables", "-Wl,-z,noexecstack", "-Wl,--build-id=none", "-s"),
]
# The architectures of which csrc/base/sys.h knows the system call instruction.
RAW_SYSCALLS = platform.machine() in ("x86_64", "aarch64") and sys.maxsize > 2**32


# What restores a memory image must not be where an interpreter that is no PIE has its code or its
# heap, up to 1 GiB above that.
LOADER = [*FREESTANDING, "-Wl,-Ttext-segment=0x70000000"]


class Product(Extension):
    """A program or a plain shared library: its file is named without Python's suffix."""


# The file of each product, by its name as an extension.
PRODUCTS = {"_shim": "_shim.so", "_dump": "_dump.so", "nsinit": "nsinit"}


class BuildProducts(build_ext):
    def get_ext_filename(self, fullname: str) -> str:
        package, _, name = fullname.rpartition(".")
        if name in PRODUCTS:
            return str(Path(*package.split("."), PRODUCTS[name]))
        return str(super().get_ext_filename(fullname))

    def build_extension(self, ext: Extension) -> None:
        if not isinstance(ext, Product):
            super().build_extension(ext)
            return
        target = Path(self.get_ext_fullpath(ext.name))
        target.parent.mkdir(parents=True, exist_ok=True)
        self.spawn(
            [
                *self.compiler.compiler_so[:1],
                *ext.extra_compile_args,
                "-D_GNU_SOURCE",
                *(f"-I{folder}" for folder in ext.include_dirs),
                *("-o", str(target)),
                *ext.sources,
                *ext.extra_link_args,
            ]
        )


class WithPrograms(Distribution):
    """One that has something to install among the scripts."""

    def has_scripts(self) -> bool:
        return True


def _is_installed_here() -> bool:
    """Return whether pip builds this for the environment of the Python that runs this script.

    A build for others, or one that must be reproducible, must not have a path of this machine.
    """
    return "PIP_BUILD_TRACKER" in os.environ and "SOURCE_DATE_EPOCH" not in os.environ


class InstallPrograms(install_scripts):
    """Install the compiled pyrunc among the scripts, and pyrunc-start beside it.

    pyrunc-start says where Python and the package are.
    """

    def run(self) -> None:
        super().run()
        Path(self.install_dir).mkdir(parents=True, exist_ok=True)
        self._write_start()
        self._compile()

    def _is_editable(self) -> bool:
        return bool(self.get_finalized_command("build_ext").editable_mode)

    def _target(self, name: str) -> Path:
        self.outfiles.append(str(Path(self.install_dir, name)))
        return Path(self.install_dir, name)

    def _write_start(self) -> None:
        """The installer puts the path of its Python in place of "python" in the first line."""
        text = Path("pylib/libcontainer/pyrunc/find.py").read_text(encoding="utf-8")
        if self._is_editable():
            place = f"_RECORDED = {str(Path('pylib').resolve())!r}"
            text, count = re.subn("^_RECORDED = .*$", lambda _: place, text, flags=re.MULTILINE)
            assert count == 1, "find.py has one line for what is recorded"
        target = self._target("pyrunc-start")
        target.write_text(f"#!python\n{text}", encoding="utf-8")
        target.chmod(0o755)

    def _compile(self) -> None:
        compiler = new_compiler()
        customize_compiler(compiler)
        flags = [*COMPILE, *(LOADER if RAW_SYSCALLS else ["-static"]), "-D_GNU_SOURCE"]
        if self._is_editable() or _is_installed_here():
            scripts = sysconfig.get_path("scripts")
            flags.append(f'-DNSX_RECORDED="{scripts}/pyrunc-start"')
        target = self._target("pyrunc")
        files = sources.of("pyrunc")
        self.spawn([*compiler.compiler_so[:1], *flags, "-Icsrc", "-o", str(target), *files])
        target.chmod(0o755)


SHIM = Product(
    "nsenter._shim",
    sources.of("shim"),
    include_dirs=["csrc"],
    depends=HEADERS,
    extra_compile_args=[*COMPILE, *HARDEN, "-fPIC", "-shared"],
    extra_link_args=["-ldl"],
)
DUMP = Product(
    "nsenter._dump",
    sources.of("dump"),
    include_dirs=["csrc"],
    depends=HEADERS,
    extra_compile_args=[*COMPILE, *HARDEN, "-fPIC", "-shared"],
    extra_link_args=["-ldl"],
)
NSINIT = Product(
    "nsenter.nsinit",
    sources.of("nsinit"),
    include_dirs=["csrc"],
    depends=HEADERS,
    extra_compile_args=[*COMPILE, *(LOADER if RAW_SYSCALLS else ["-static"])],
)

setup(
    distclass=WithPrograms,
    scripts=[],
    packages=[*find_packages(include=["nsenter", "nsenter.*"]), *find_packages("pylib")],
    package_dir={"nsenter": "nsenter", "": "pylib"},
    package_data={"nsenter": ["py.typed", "*.pyi"]},
    # docs/man/generate.py writes them; a build has no parser of the commands to make them from.
    data_files=[
        ("share/man/man1", ["docs/man/pynsenter.1"]),
        ("share/man/man8", ["docs/man/pyrunc.8"]),
    ],
    cffi_modules=["csrc/build_binding.py:ffi", "csrc/build_libseccomp.py:ffi"],
    ext_modules=[SHIM, DUMP, NSINIT],
    # The binding keeps to the stable ABI, and the other two products to none.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    cmdclass={"build_ext": BuildProducts, "install_scripts": InstallPrograms},
    zip_safe=False,
)
