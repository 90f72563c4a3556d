"""What of a stack no generation keeps: values that may be secrets. A rollback takes those of now for them. Pure."""

from __future__ import annotations

from stackpy.dsl.secrecy import holds
from stackpy.errors import StackpyError
from stackpy.planning.hiding import is_sensitive

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stackpy.dsl.specs import Spec

# What stands for a value: no field has a mapping of this form.
HIDDEN: dict[str, Any] = {"hidden": True}
_MAPPINGS = ("environment", "labels", "files")


def kept(spec: Spec, hidden: tuple[str, ...], paths: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of a resource as a generation keeps them.

    hidden: values that are not kept either, wherever they stand; paths: of others
    """
    if spec.kind == "image":
        return {**spec.fields, "source": _source(spec.fields["source"])}

    def lost(path: str, value: Any) -> bool:
        shown = _content(value) if path.startswith("files.") else value
        return is_sensitive(path, value) or holds(shown, hidden) or path in paths

    found: dict[str, Any] = {}
    for name, value in spec.fields.items():
        if name in _MAPPINGS:
            found[name] = {key: HIDDEN if lost(f"{name}.{key}", one) else one for key, one in value.items()}
        else:
            found[name] = HIDDEN if lost(name, value) else value
    return found


def _content(file: Mapping[str, Any]) -> str:
    """What is in a file, which specs have in base64."""
    import base64  # few containers have any

    return base64.b64decode(file.get("content", "")).decode(errors="replace")


def _source(source: Mapping[str, Any]) -> dict[str, Any]:
    """What is asked of the source of an image that is there: what it stands on, and whether anything was made."""
    base = {key: source["base"][key] for key in ("kind", "reference", "platform") if key in source["base"]}
    return {"base": base, "steps": [{} for _ in source["steps"]]}


def completed(
    spec: Spec, now: Callable[[str, str], Mapping[str, Any] | None], generation: int
) -> tuple[Spec, list[str]]:
    """A resource of a generation with the values of now for those that are not kept, and what they are of.

    now: the fields of the resource at an address as they are, where one of them has a value; None: none has
    Raises StackpyError for a value that nothing has any more.
    """
    fields: dict[str, Any] = {}
    paths: list[str] = []
    for name, value in spec.fields.items():
        if value == HIDDEN:
            fields[name] = _value(spec, name, "", now, generation)
            paths.append(name)
        elif name in _MAPPINGS and HIDDEN in value.values():
            fields[name] = {
                key: _value(spec, name, key, now, generation) if one == HIDDEN else one for key, one in value.items()
            }
            paths += [f"{name}.{key}" for key, one in value.items() if one == HIDDEN]
        else:
            fields[name] = value
    return spec._replace(fields=fields), paths


def _value(
    spec: Spec, name: str, key: str, now: Callable[[str, str], Mapping[str, Any] | None], generation: int
) -> Any:
    path = f"{name}.{key}" if key else name
    fields = now(spec.address, path)
    if fields is None:
        raise StackpyError(
            f"`{path}` of {spec.address} may be a secret, which no generation keeps, and nothing that runs has it: "
            f"generation {generation} cannot be brought back",
            hint="check out the revision that `stackpy history` names, and apply that; a `Secret` has its value of now",
        )
    return fields[name][key] if key else fields[name]
