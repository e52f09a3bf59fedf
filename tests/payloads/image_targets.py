"""Targets for test_image.py: what they import can be imported in the namespaces."""

from __future__ import annotations

import os
import sys
import time
from typing import Any


def _print_later() -> None:
    time.sleep(0.1)
    print("thread")


def how() -> str:
    """Where this process is from."""
    exe = os.readlink("/proc/self/exe")  # noqa: PTH115
    return "image" if "nsinit" in exe else "boot"


def report(channel: int, path: str) -> int:
    with open(path, "w") as file:  # noqa: PTH123 - pathlib need not travel
        file.write(how())
    return 7


class Last:
    def __del__(self) -> None:
        os.write(1, b"freed\n")


def endings(channel: int, kind: str, path: str) -> Any:
    """As the target of a PythonInit: how it ends, after what an end has to do."""
    import atexit
    import threading

    atexit.register(print, "atexit")
    globals()["kept"] = Last()
    globals()["open"] = open(path, "w")  # noqa: SIM115, PTH123
    globals()["open"].write("flushed")
    started = threading.Thread(target=_print_later)
    started.start()
    print("no newline", end=" ")
    match kind:
        case "status":
            return 5
        case "none":
            return None
        case "exit":
            sys.exit("a message")
        case "error":
            raise ValueError("unhandled")
        case "interrupt":
            raise KeyboardInterrupt
        case "thread":
            import ctypes

            ctypes.CDLL(None).pthread_exit(0)
    raise AssertionError
