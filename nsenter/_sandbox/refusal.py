# SPDX-License-Identifier: Apache-2.0
"""What a sandbox asked its proxy for and did not get."""

from __future__ import annotations

import time

__all__ = ["Refusal"]


class Refusal(str):
    """One thing that a sandbox asked its proxy for and did not get: a sentence, and its parts.

    Attributes:
        when: the time in seconds since the epoch, as time.time() has it.
        client: the address and the port inside the sandbox that the request came from.
        target: the host and the port that were asked for. If the request could not be read, its
            first line; "" if there was none.
        reason: why it was refused.
    """

    when: float
    client: str
    target: str
    reason: str

    def __new__(cls, when: float, client: str, target: str, reason: str) -> Refusal:
        made = super().__new__(cls, _sentence(when, client, target, reason))
        made.when, made.client, made.target, made.reason = when, client, target, reason
        return made

    def __getnewargs__(self) -> tuple[float, str, str, str]:  # type: ignore[override]
        return self.when, self.client, self.target, self.reason


def _sentence(when: float, client: str, target: str, reason: str) -> str:
    clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when))
    return ": ".join(filter(None, (f"{clock} {client}".rstrip(), target, reason)))
