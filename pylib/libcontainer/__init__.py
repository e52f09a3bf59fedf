# SPDX-License-Identifier: Apache-2.0
"""Create, start and manage containers, with the names of runc's libcontainer.

The public names are imported when they are first used.
"""

try:
    from nsenter._host import distribution_check
except ImportError as error:
    import nsenter

    raise ImportError(
        f"{nsenter.__path__[0]} has not the nsenter of the distribution 'pynsenter': if pip list "
        f"shows one that is called 'nsenter', pip uninstall nsenter; then "
        f"pip install --force-reinstall --no-deps pynsenter"
    ) from error

distribution_check.check()

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.configs import Config
    from libcontainer.container import Container
    from libcontainer.errors import ConfigError, ContainerError, ContainerNotFoundError
    from libcontainer.process import Process
    from libcontainer.process_start import prebooted_init
    from libcontainer.record import list_containers
    from libcontainer.state import State

_HOMES = {
    "Config": "libcontainer.configs",
    "ConfigError": "libcontainer.errors",
    "Container": "libcontainer.container",
    "ContainerError": "libcontainer.errors",
    "ContainerNotFoundError": "libcontainer.errors",
    "Process": "libcontainer.process",
    "State": "libcontainer.state",
    "list_containers": "libcontainer.record",
    "prebooted_init": "libcontainer.process_start",
}

__all__ = [
    "Config",
    "ConfigError",
    "Container",
    "ContainerError",
    "ContainerNotFoundError",
    "Process",
    "State",
    "list_containers",
    "prebooted_init",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(__import__(home, fromlist=[name]), name)
    globals()[name] = value
    return value
