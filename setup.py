# SPDX-License-Identifier: Apache-2.0
"""Builds the products of csrc/: the cffi bindings, the interpreter's shim, nsinit, and pyrunc."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from setuptools import Distribution, Extension, find_packages, setup
from setuptools._distutils.ccompiler import new_compiler
from setuptools._distutils.sysconfig import customize_compiler
from setuptools.command.build_ext import build_ext
from setuptools.command.install_scripts import install_scripts

if not sys.platform.startswith("linux"):
    raise SystemExit("nsenter needs Linux: namespaces are the Linux kernel's")

# From "a message on the init pipe" to "in the namespaces".
CODEC = "text err idmap namespaces wire bootstrap records launch".split()
# From there to the payload.
TAIL = (
    "network mountapi device mounts root session resources identity landlock filter reaper tail"
).split()
STAGES = CODEC + "clone sync report tool mapper settle pipe nsexec environment exec".split() + TAIL
HEADERS = [str(path) for path in sorted(Path("csrc").glob("*.h"))]
COMPILE = ["-std=gnu11", "-O2", "-Wall", "-Wextra", "-fvisibility=hidden"]
HARDEN = ["-fstack-protector-strong", "-Wl,-z,relro", "-Wl,-z,now", "-Wl,-z,noexecstack"]
# No libc, so no stack protector (its canary lives in libc's thread data), and a compiler that
# does not turn memcpy's own loop into a call of memcpy.
FREESTANDING = [
    *("-static", "-nostdlib", "-ffreestanding", "-fno-builtin", "-fno-stack-protector"),
    *("-fno-pie", "-no-pie", "-fno-tree-loop-distribute-patterns"),
    *("-fno-asynchronous-unwind-tables", "-Wl,-z,noexecstack", "-Wl,--build-id=none", "-s"),
]
# The architectures of which csrc/sys.h knows the system call instruction.
RAW_SYSCALLS = platform.machine() in ("x86_64", "aarch64") and sys.maxsize > 2**32


def sources(*names: str) -> list[str]:
    return [f"csrc/{name}.c" for name in names]


class Product(Extension):
    """A program or a plain shared library: its file is named without Python's suffix."""


# The file of each product, by its name as an extension.
PRODUCTS = {"_shim": "_shim.so", "nsinit": "nsinit"}


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


class InstallPrograms(install_scripts):
    """Puts pyrunc, which is compiled, among the environment's scripts."""

    def run(self) -> None:
        super().run()
        build = self.get_finalized_command("build_ext")
        site = f"lib/python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
        defines = [f'-DNSX_SITE="{site}"']
        if build.editable_mode:
            defines.append(f'-DNSX_SOURCE="{Path("pylib").resolve()}"')
        target = Path(self.install_dir, "pyrunc")
        target.parent.mkdir(parents=True, exist_ok=True)
        compiler = new_compiler()
        customize_compiler(compiler)
        flags = [*COMPILE, *(FREESTANDING if RAW_SYSCALLS else ["-static"]), "-D_GNU_SOURCE"]
        files = sources("text", "start", "pyrunc")
        self.spawn(
            [*compiler.compiler_so[:1], *flags, *defines, "-Icsrc", "-o", str(target), *files]
        )
        target.chmod(0o755)
        self.outfiles.append(str(target))


SHIM = Product(
    "nsenter._shim",
    sources(*STAGES, "libc", "bundle", "shim"),
    include_dirs=["csrc"],
    depends=HEADERS,
    extra_compile_args=[*COMPILE, *HARDEN, "-fPIC", "-shared"],
    extra_link_args=["-ldl"],
)
NSINIT = Product(
    "nsenter.nsinit",
    sources(*STAGES, "nsinit", "start"),
    include_dirs=["csrc"],
    depends=HEADERS,
    extra_compile_args=[*COMPILE, *(FREESTANDING if RAW_SYSCALLS else ["-static"])],
)

setup(
    distclass=WithPrograms,
    scripts=[],
    packages=["nsenter", "nsenter.commands", *find_packages("pylib")],
    package_dir={"nsenter": "nsenter", "": "pylib"},
    package_data={"nsenter": ["py.typed", "*.pyi"]},
    cffi_modules=["csrc/build_binding.py:ffi", "csrc/build_libseccomp.py:ffi"],
    ext_modules=[SHIM, NSINIT],
    # The binding keeps to the stable ABI, and the other two products to none.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    cmdclass={"build_ext": BuildProducts, "install_scripts": InstallPrograms},
    zip_safe=False,
)
