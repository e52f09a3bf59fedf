# SPDX-License-Identifier: Apache-2.0
"""Start, join and supervise processes in Linux namespaces.

The public names are imported when they are first used, so that a process that only joins a
namespace does not pay for the rest. `__init__.pyi` beside this file lists them with their types.
"""

import sys

if not sys.platform.startswith("linux"):
    raise ImportError("nsenter needs Linux: namespaces are the Linux kernel's")

_HOMES = {
    "BadAnswer": "nsenter.calling",
    "Bind": "nsenter.mounts",
    "MessageError": "nsenter.errors",
    "BootstrapData": "nsenter.bootstrap",
    "BootstrapError": "nsenter.errors",
    "BrokenInitializer": "nsenter.executor",
    "BrokenPreload": "nsenter.executor",
    "BrokenWorker": "nsenter.executor",
    "Caller": "nsenter.calling",
    "SerializationError": "nsenter._remote.call_bytes",
    "Change": "nsenter._sandbox.changes",
    "Child": "nsenter.launch",
    "CompletedProcess": "nsenter.popen",
    "Denial": "nsenter._sandbox.denials",
    "Dev": "nsenter.mounts",
    "Egress": "nsenter._sandbox.egress",
    "File": "nsenter.mounts",
    "Finding": "nsenter.doctor",
    "IDMap": "nsenter.idmap",
    "Limits": "nsenter._cgroups.limits",
    "Namespace": "nsenter.namespaces",
    "NamespaceExecutor": "nsenter.executor",
    "NamespaceInfo": "nsenter.inspect",
    "NamespaceType": "nsenter.namespaces",
    "Namespaces": "nsenter.namespaces",
    "NsenterError": "nsenter._host.base_error",
    "Options": "nsenter.options",
    "Pasta": "nsenter._sandbox.pasta",
    "Popen": "nsenter.popen",
    "Proc": "nsenter.mounts",
    "ProcessInfo": "nsenter.inspect",
    "Program": "nsenter.launch",
    "PythonInit": "nsenter.launch",
    "Refusal": "nsenter._sandbox.refusal",
    "RemoteError": "nsenter.calling",
    "RemoteTraceback": "nsenter.calling",
    "Result": "nsenter._sandbox.result",
    "RunFailed": "nsenter._sandbox.result",
    "Sandbox": "nsenter.sandbox",
    "Snapshot": "nsenter.inspect",
    "TimeOffset": "nsenter.bootstrap",
    "Tmpfs": "nsenter.mounts",
    "UnsafeFile": "nsenter._sandbox.safe_files",
    "Usage": "nsenter._launch.usage",
    "Verdict": "nsenter._sandbox.result",
    "WorkerDied": "nsenter.calling",
    "Workspace": "nsenter._sandbox.workspace",
    "bootstrap_data": "nsenter.bootstrap",
    "call": "nsenter.calling",
    "check_call": "nsenter.popen",
    "check_output": "nsenter.popen",
    "create_subprocess_exec": "nsenter.asyncio_process",
    "create_subprocess_shell": "nsenter.asyncio_process",
    "diagnose": "nsenter.doctor",
    "is_namespace_supported": "nsenter.namespaces",
    "namespace_types": "nsenter.namespaces",
    "namespaces_of": "nsenter.inspect",
    "run": "nsenter.popen",
    "snapshot": "nsenter.inspect",
}

# Modules that can be used as `nsenter.presets` without importing them.
_MODULES = ("idmap", "presets", "seccomp")

__all__ = sorted(_HOMES)
__version__ = "0.1.0"  # the version is only here: pyproject.toml reads this line
__distribution__ = "pynsenter"

# The versions of another distribution, called "nsenter", that installs a package of the same name.
_OTHERS = ("0.2", "0.1.7")
_looked_for_others = False


def _look_for_others() -> None:
    """Warn if the other distribution is installed: to uninstall it would remove our files, too."""
    global _looked_for_others
    _looked_for_others = True
    from posix import stat

    folder = __file__.rpartition("/nsenter/")[0]
    for version in _OTHERS:
        try:
            stat(f"{folder}/nsenter-{version}.dist-info")
        except OSError:
            continue
        import warnings

        from nsenter._host.distribution_check import CURE

        warnings.warn(
            f"the distribution 'nsenter' {version} is installed in {folder} too, and has a "
            f"nsenter/__init__.py like this one, so that uninstalling it breaks both; {CURE}",
            RuntimeWarning,
            stacklevel=3,
        )


def __getattr__(name: str) -> object:
    if name in _MODULES:
        __import__(f"{__name__}.{name}")
        return globals()[name]
    home = _HOMES.get(name)
    if not _looked_for_others:
        _look_for_others()
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(home, fromlist=[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
