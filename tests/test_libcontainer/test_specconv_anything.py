"""Any JSON document leads to a Config or to a ConfigError, and to no other exception."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from full_spec import FULL, SHORT
from libcontainer.configs import Config
from libcontainer.configs.validate import validate
from libcontainer.errors import ConfigError
from libcontainer.specconv import config_from_spec, process_from_spec, resources_from_spec

Step = str | int

_ODD_TEXTS = ["", "/", "..", "\0", "\ud800", "/\udc80", "a:b:c", "-1", "/a,b", "1.0.0", "rro", "é"]
_ODD_NUMBERS = [-(2**64), -1, 0, 1, 2**31, 2**32 - 1, 2**32, 2**63, 2**64 - 1, 2**64, 10**400]
_scalars = (
    st.none()
    | st.booleans()
    | st.sampled_from(_ODD_NUMBERS)
    | st.sampled_from(_ODD_TEXTS)
    | st.floats()
    | st.text(max_size=5)
)
_anything = st.recursive(
    _scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_ODD_TEXTS) | st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def _places(value: Any, path: tuple[Step, ...] = ()) -> list[tuple[Step, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        items: Any = value.items()
    else:
        items = enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        found += _places(item, (*path, key))
    return found


def _put(spec: Any, path: tuple[Step, ...], value: Any, *, away: bool) -> Any:
    made = copy.deepcopy(spec)
    at = made
    for step in path[:-1]:
        at = at[step]
    if away:
        del at[path[-1]]
    else:
        at[path[-1]] = value
    return made


def _taken(spec: Any, **options: Any) -> Config | None:
    try:
        config = config_from_spec(spec, id="x", bundle="/bundle", **options)
    except ConfigError as refused:
        str(refused)
        return None
    return config


_EVERY_PLACE = _places(FULL)


@settings(max_examples=6 * settings.default.max_examples)
@given(st.sampled_from(_EVERY_PLACE), _anything, st.booleans(), st.booleans())
def test_any_value_at_any_place_is_taken_or_refused(
    path: tuple[Step, ...], value: Any, away: bool, systemd: bool
) -> None:
    spec = _put(FULL, path, value, away=away)
    config = _taken(spec, systemd_cgroup=systemd)

    if config is not None:
        assert Config.from_data(config.to_data()) == config


@settings(max_examples=2 * settings.default.max_examples)
@given(_anything)
def test_any_file_is_taken_or_refused(value: Any) -> None:
    _taken(value)
    for convert in (process_from_spec, resources_from_spec):
        try:
            convert(value)
        except ConfigError as refused:
            str(refused)


@settings(max_examples=2 * settings.default.max_examples)
@given(st.sampled_from(_EVERY_PLACE), _anything, st.booleans())
def test_whatever_is_taken_is_valid_or_refused(
    path: tuple[Step, ...], value: Any, rootless: bool
) -> None:
    # Of the parts of the full one, those that this machine would refuse are left out.
    spec = copy.deepcopy(FULL)
    del spec["process"]["apparmorProfile"], spec["process"]["selinuxLabel"]
    del spec["linux"]["mountLabel"], spec["linux"]["resources"]["unified"]
    spec["root"]["path"] = "/"
    if path not in _places(spec):
        return
    config = _taken(_put(spec, path, value, away=False), rootless_euid=rootless)

    if config is not None:
        try:
            validate(config)
        except ConfigError as refused:
            str(refused)


def test_every_place_can_be_left_out_of_the_short_one() -> None:
    for path in _places(SHORT):
        _taken(_put(SHORT, path, None, away=True))
