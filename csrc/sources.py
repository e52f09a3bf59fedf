# SPDX-License-Identifier: Apache-2.0
"""The C files of each product: the one list, which setup.py, the binding and the C tests read.

The folders are floors. A file includes headers of its own folder and of those before it alone:
base, message, inside, interpreter, stages, products.

Usage: sources.py PRODUCT… prints the files of products, as tests/csrc/Makefile asks for them.
"""

from __future__ import annotations

import sys

FLOORS = ("base", "message", "inside", "interpreter", "stages", "products")


def _files(folder: str, names: str) -> list[str]:
    return [f"{folder}/{name}.c" for name in names.split()]


# What parses and writes messages: pure functions.
_CODEC = [
    *_files("base", "text err namespaces"),
    *_files("message", "idmap wire bootstrap launch_lists launch"),
]
# What takes effect in the namespaces, in the order of inside/confinement.c.
_INSIDE = _files(
    "inside",
    "network mount_api device mounts root session limits credentials landlock seccomp confinement",
)
# From a message on the init pipe to the payload.
_STAGES = [
    *_CODEC,
    *_files("base", "fallback clone exec signals proc"),
    *_INSIDE,
    *_files("stages", "sync report mapping_tool write_maps become_root init_pipe mount_sources"),
    *_files("stages", "nsexec environment pid1 payload"),
]
_RESTORE = _files("interpreter", "image restore")

PRODUCTS = {
    "codec": _CODEC,
    "nsinit": [
        *_STAGES,
        *_RESTORE,
        *_files("stages", "image_stages"),
        *_files("products", "detach nsinit"),
        *_files("base", "crt0"),
    ],
    "shim": [
        *_STAGES,
        *_files("base", "libc"),
        *_files("interpreter", "module_archive audit_steps"),
        *_files("products", "shim"),
    ],
    "dump": [
        *_files("base", "text err libc signals"),
        *_files("interpreter", "image module_archive audit_steps"),
        # In the process that the image is made of, and in those that resume it.
        *_files("interpreter", "refusal cpython large_pages stack_limits resume"),
        # What is written, and writing it.
        *_files("interpreter", "memory_map dump_tables dump_files dump_regions dump_words"),
        *_files("interpreter", "dump_process dump_write dump"),
    ],
    "pyrunc": [
        *_files("base", "text err exec fallback signals crt0"),
        *_RESTORE,
        *_files("interpreter", "command_image"),
        *_files("products", "pyrunc_errors installation executable early_init pyrunc"),
    ],
    # The codec, what a child does that shares the caller's memory, and the stages, which nothing
    # but a process started for them may run.
    "binding": [
        *_STAGES,
        *_files("base", "libc"),
        *_files("inside", "exec_steps"),
        *_files("stages", "prebooted"),
        *_files("products", "spawn direct"),
    ],
}


def of(product: str) -> list[str]:
    """The paths of a product's C files, from the top of the checkout."""
    return [f"csrc/{name}" for name in PRODUCTS[product]]


if __name__ == "__main__":
    print(*(path for product in sys.argv[1:] for path in of(product)))
