# SPDX-License-Identifier: Apache-2.0
"""An extension of griffe, which reads the docstrings: signatures of value classes.

A subclass of `Value` gets its `__init__` from its annotated fields, so griffe cannot find it.
"""

from __future__ import annotations

from typing import Any

import griffe

_BASES = {"Value", "Mount"}


class Signatures(griffe.Extension):
    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        if "__init__" in cls.members or not any(str(base) in _BASES for base in cls.bases):
            return
        fields = [
            griffe.Parameter(
                field.name,
                annotation=field.annotation,
                kind=griffe.ParameterKind.positional_or_keyword,
                default=field.value,
            )
            for field in cls.attributes.values()
            if field.annotation is not None and "instance-attribute" in field.labels
        ]
        self_ = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
        init = griffe.Function("__init__", parameters=griffe.Parameters(self_, *fields))
        init.parent = cls
        cls.members["__init__"] = init
