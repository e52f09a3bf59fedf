# SPDX-License-Identifier: Apache-2.0
"""Read "hooks" (config.md, "POSIX-platform Hooks")."""

from __future__ import annotations

from libcontainer.configs import Hook, Hooks
from libcontainer.specconv.reader import INT32

TYPE_CHECKING = False
if TYPE_CHECKING:
    from libcontainer.specconv.reader import Reader

# OCI's name: the field of `Hooks`
HOOKS = {
    "prestart": "prestart",
    "createRuntime": "create_runtime",
    "createContainer": "create_container",
    "startContainer": "start_container",
    "poststart": "poststart",
    "poststop": "poststop",
}


def hooks_from_spec(spec: Reader) -> Hooks:
    """Return the hooks of all kinds."""
    kinds = {field: tuple(map(_hook, spec.objects(name))) for name, field in HOOKS.items()}
    return Hooks(**kinds)


def _hook(item: Reader) -> Hook:
    return Hook(
        path=item.absolute_path("path"),
        args=item.texts("args"),
        env=None if item.value.get("env") is None else item.texts("env"),
        timeout=item.optional_number("timeout", least=1, most=INT32),
    )
