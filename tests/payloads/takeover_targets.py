"""What runs as the init in the tests of the takeover, and tells what it finds there.

It travels in the module archive, so only what is built into the interpreter is imported.
"""

from __future__ import annotations

import posix
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

STATUS = 7  # what `look` returns
C_ENVIRON_FD = 9
ABSENT = "no_such_module_anywhere"


def look(channel: int, extensions: Sequence[str] = (), closed: str = "") -> int:
    """Send what is to be seen through the channel, wait for a byte, and return STATUS.

    Args:
        extensions: C extension modules to import.
        closed: a folder that this process should not be able to read.
    """
    facts = {
        "pid": posix.getpid(),
        "uids": posix.getresuid(),
        "cwd": posix.getcwd(),
        "hostname": posix.uname().nodename,
        "root": _told(lambda: sorted(posix.listdir("/"))),
        "namespaces": _told(_namespaces),
        "environment": dict(posix.environ),
        "c environment": _c_environment(),
        "argv": list(sys.argv),
        "orig_argv": list(sys.orig_argv),
        "executable": sys.executable,
        "path": list(sys.path),
        "finders": [getattr(f, "__name__", type(f).__name__) for f in sys.meta_path],
        "hooks": len(sys.path_hooks) + len(sys.path_importer_cache),
        "absent": _told(lambda: __import__(ABSENT)),
        "extensions": {name: _told(lambda n=name: __import__(n).__name__) for name in extensions},
        "closed": _told(lambda: sorted(posix.listdir(closed))) if closed else None,
        "version": sys.version_info[:3],
    }
    _send(channel, facts)
    posix.read(channel, 1)
    return STATUS


def echo(channel: int, *args: object) -> None:
    """Send the arguments back."""
    _send(channel, args)


def import_extension(channel: int, name: str) -> None:
    """Import it and send its name; what follows is not of interest."""
    module = __import__(name)
    _send(channel, module.__name__)


def fail(channel: int) -> None:
    raise RuntimeError("the target's own")


def fail_unseen(channel: int) -> int:
    """Raise where nobody can catch it: it is only printed."""

    class Failing:
        def __del__(self) -> None:
            raise RuntimeError("the target's own")

    Failing()
    return STATUS


def look_up(channel: int, extensions: Sequence[str] = ()) -> int:
    """Ask the C library for a user, and with "_socket" for a host."""
    import pwd

    _told(lambda: pwd.getpwnam("nobody-of-this-name"))
    for name in extensions:
        module = __import__(name)
        # Bytes: a string would have to be encoded by a module that does not travel.
        _told(lambda module=module: module.getaddrinfo(b"no-host", 1))
    return STATUS


def leave_a_thread(channel: int) -> int:
    """Return while a thread runs: it is cut off where it next wants the interpreter."""
    import time

    class Slow:
        def __del__(self) -> None:
            time.sleep(0.3)

    def wait() -> None:
        while True:
            time.sleep(0.01)

    import _thread

    _thread.start_new_thread(wait, ())
    time.sleep(0.05)
    sys.modules["slow"] = Slow()  # type: ignore[assignment] # goes when the interpreter does
    return STATUS


def _send(channel: int, value: object) -> None:
    data = repr(value).encode("ascii", "backslashreplace") + b"\n"
    while data:
        data = data[posix.write(channel, data) :]


def _told(get: Callable[..., object]) -> object:
    try:
        return get()
    except (OSError, ImportError, KeyError) as error:
        return f"{type(error).__name__}: {error}"


def _namespaces() -> dict[str, str]:
    """Empty without a /proc."""
    return {
        kind: posix.readlink(f"/proc/self/ns/{kind}") for kind in posix.listdir("/proc/self/ns")
    }


def _c_environment() -> list[bytes] | None:
    """As a program sees it that C code starts with its own; None where there is no shell."""
    try:
        posix.stat("/bin/env")
    except OSError:
        return None
    reader, writer = posix.pipe()
    posix.dup2(writer, C_ENVIRON_FD)
    posix.close(writer)
    posix.system(f"/bin/env >&{C_ENVIRON_FD}")
    posix.close(C_ENVIRON_FD)
    found = posix.read(reader, 1 << 16)
    posix.close(reader)
    return found.splitlines()


def ask_for(channel: int, path: str) -> int:
    """Ask for a path that is not there, and say so with the working directory."""
    try:
        posix.stat(path)
    except FileNotFoundError:
        posix.write(channel, f"not there, in {posix.getcwd()}".encode())
    return 0
