# SPDX-License-Identifier: Apache-2.0
"""Builds the three products of csrc/: the cffi binding, the interpreter's shim, and nsinit."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

if not sys.platform.startswith("linux"):
    raise SystemExit("nsenter needs Linux: namespaces are the Linux kernel's")

# From "a message on the init pipe" to "in the namespaces".
CODEC = "text err idmap namespaces wire bootstrap launch".split()
STAGES = CODEC + "clone sync report tool mapper settle pipe nsexec environment tail exec".split()
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
    packages=["nsenter", "nsenter.commands", *find_packages("pylib")],
    package_dir={"nsenter": "nsenter", "": "pylib"},
    package_data={"nsenter": ["py.typed", "*.pyi"]},
    cffi_modules=["csrc/build_binding.py:ffi"],
    ext_modules=[SHIM, NSINIT],
    # The binding keeps to the stable ABI, and the other two products to none.
    options={"bdist_wheel": {"py_limited_api": "cp311"}},
    cmdclass={"build_ext": BuildProducts},
    zip_safe=False,
)
