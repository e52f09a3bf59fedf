# SPDX-License-Identifier: Apache-2.0
"""What the pyrunc program (csrc/pyrunc.c) has the interpreter run, which was started without site.

It says where modules are, and goes on with libcontainer.pyrunc.main.
"""

import gc
import sys


def _find_modules() -> None:
    here = __file__.rsplit("/", 3)[0]
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    prefix = sys.executable.rsplit("/", 2)[0]
    site = f"{prefix}/lib/{version}/site-packages"
    # In a checkout, nsenter is beside pylib.
    sys.path[:0] = [here, site] if here == site else [here, here.rsplit("/", 1)[0], site]


def _start() -> None:
    # What is made while modules are imported stays; looking through it again and again takes as
    # long as a module or ten.
    gc.disable()
    _find_modules()
    from libcontainer.pyrunc import image

    image.install(sys.argv[1:])
    from libcontainer.pyrunc.main import main

    gc.enable()
    gc.freeze()
    main(image.save)


_start()
