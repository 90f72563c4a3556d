"""What a field says of another resource; assemble.py looks it up once everything is declared."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.resources import Resource
    from stackpy.dsl.session import Place


class Condition:
    """What must hold of a container or job: `db.healthy`."""

    __slots__ = ("condition", "kind", "name")

    def __init__(self, resource: Resource, condition: str) -> None:
        self.kind, self.name, self.condition = resource.kind, resource.name, condition

    def __repr__(self) -> str:
        return f"{self.name}.{self.condition}"


class Use:
    """A reference to another resource.

    kind: "" where a container or a job may be meant
    given: the object itself was passed, so it is declared
    fields: what the reference says beyond the name
    """

    __slots__ = ("fields", "given", "kind", "name", "place")

    def __init__(self, place: Place, kind: str, name: str, given: bool, fields: dict[str, Any]) -> None:
        self.place, self.kind, self.name, self.given, self.fields = place, kind, name, given, fields
