"""docs/fields.md, made from the table of fields: `python -m stackpy.planning.field_table > docs/fields.md`."""

from __future__ import annotations

from stackpy.planning import fields

# what is written in the stack file → the field of the spec that it becomes
ALIASES = {"env_file": "environment", "label_file": "labels", "tmpfs": "volumes", "platform": "image"}

INTRODUCTION = """\
# What a change of each field does

Written by `python -m stackpy.planning.field_table` from the table by which `plan` decides.

| word | what happens |
|---|---|
| in place | the container goes on running: the kernel or the engine is told |
| restart | the same container is stopped and started: what it wrote into its own files stays |
| replace | a new container takes its place; its volumes stay |

Of several fields that change at once the one that needs most decides, and the plan's JSON names the policy of each.
A container that does not run is changed without being started for it, but what is set at a start is set at the next.
"""
_TITLES = {"container": "Containers and jobs", "network": "Networks", "volume": "Volumes", "secret": "Secrets"}
_TABLES = {
    "container": fields.CONTAINER,
    "network": fields.NETWORK,
    "volume": fields.VOLUME,
    "secret": fields.SECRET,
}


def rows(kind: str) -> dict[str, str]:
    """Each field of a kind and what its change does, in alphabetical order."""
    found = dict(fields.APART.get(kind, {}))
    for name, field in _TABLES.get(kind, {}).items():
        found[name] = field.policy + (f"; one that goes: {field.removed}" if field.removed else "")
    if kind == "container":
        found |= {name: f"as `{field}`" for name, field in ALIASES.items()}
    return dict(sorted(found.items()))


def page() -> str:
    """The whole page."""
    blocks = [INTRODUCTION]
    for kind, title in {**_TITLES, "image": "Images", "job": "Jobs besides"}.items():
        lines = [f"| {name if ' ' in name else f'`{name}`'} | {what} |" for name, what in rows(kind).items()]
        blocks.append("\n".join([f"## {title}\n", "| field | a change of it |", "|---|---|", *lines]) + "\n")
    return "\n".join(blocks)


if __name__ == "__main__":
    print(page(), end="")
