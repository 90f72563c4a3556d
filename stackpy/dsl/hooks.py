"""Lifecycle hooks of containers and jobs: Compose's `post_start` and `pre_stop`, and `pre_start` in the same form."""

from __future__ import annotations

from _collections_abc import Mapping

from stackpy.dsl import values
from stackpy.dsl.values import Invalid, meant, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

NAMES = ("pre_start", "post_start", "pre_stop")


def _variables(value: object) -> dict[str, str]:
    given = values.pairs(value, alone=None)
    for name, content in given.items():
        if content is None:
            raise Invalid(
                f"gives `{name}` no value", f'write "{name}=value"', (name,) if isinstance(value, Mapping) else ()
            )
    return given


_FIELDS: dict[str, Callable[[Any], Any]] = {
    "command": values.command,
    "user": values.user,
    "privileged": values.flag,
    "working_dir": values.absolute,
    "environment": _variables,
}


def hooks(value: object) -> list[dict[str, Any]]:
    """A list of hooks, run one after the other: mappings with `command`, or commands alone."""
    if isinstance(value, Mapping | str) or not isinstance(value, list | tuple):
        raise wrong('a list of hooks such as {"command": "./ready.sh"}', value)
    complaints = values.Complaints()
    result = []
    for index, item in enumerate(value):
        try:
            result.append(_hook(item))
        except Invalid as invalid:
            complaints.add(invalid, index)
    complaints.settle()
    return result


def _hook(item: object) -> dict[str, Any]:
    given = item if isinstance(item, Mapping) else {"command": item}
    complaints = values.Complaints()
    hook: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _FIELDS:
            complaints.add(Invalid(f"has an unknown key `{key}`", meant(str(key), _FIELDS), key=True), str(key))
        elif value is not None:
            try:
                hook[key] = _FIELDS[key](value)
            except Invalid as invalid:
                complaints.add(invalid, *([key] if isinstance(item, Mapping) else []))
    complaints.settle()
    if not hook.get("command"):
        raise Invalid("has no `command`", 'write {"command": "./ready.sh"}')
    if not hook.get("privileged"):
        hook.pop("privileged", None)
    return hook
