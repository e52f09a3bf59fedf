# SPDX-License-Identifier: Apache-2.0
"""What a sandbox is put together from: a workspace, a network."""

from __future__ import annotations

from collections.abc import Mapping

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from nsenter._launch.child import Child
    from nsenter.options import Options
else:
    Any = Child = Options = object  # at run time: what typing.get_type_hints finds

__all__ = ["Part"]


class Part:
    """Something that a sandbox has besides its options: the base class of workspaces and networks.

    `nsenter.Sandbox` opens its parts when its `with` block begins, asks them before each run how
    the options change, and closes them in reverse order at the end of the block.

    Attributes:
        holds: call `attach` for each run, after the namespaces exist and before the program is
            executed. A run then takes longer to start.
    """

    holds = False

    def for_sandbox(self) -> Part:
        """Return the part for one sandbox.

        This is the part itself; or, if the part is a value that several sandboxes can share, an
        object with the state of one sandbox. The other methods are called on the result.
        """
        return self

    def open(self) -> None:
        """Prepare what all runs share. If this fails, nothing must be left of it."""

    def close(self) -> None:
        """Remove what `open` has made. No process of the sandbox is left. May be called twice."""

    def changes(self, options: Options) -> Mapping[str, Any]:
        """Return the fields of `options` that change for the next run, with their new values.

        Args:
            options: the options as the sandbox and the parts before this one have made them.
        """
        return {}

    def environment(self) -> Mapping[str, str]:
        """Return variables that are added to the environment of each run."""
        return {}

    def attach(self, process: Child) -> None:
        """Set up the namespaces of a run, whose program waits; see `holds`.

        Args:
            process: the process; `program_pid` is the pid of its program.
        """

    def refusals(self, process: Child) -> tuple[str, ...]:
        """Return a line for each thing that was refused to a run, for `Result.refused`.

        The sandbox calls this once for each run after it has ended, also if `attach` has failed.
        Nothing of the run is left in this part afterwards.

        Args:
            process: the process that `attach` got.
        """
        return ()
