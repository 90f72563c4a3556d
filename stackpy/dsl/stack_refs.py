"""Outputs of other stacks: `StackRef("db").output("url")`, the value that their last apply has put out."""

from __future__ import annotations

from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.session import UNKNOWN_TEXT, Place, current
from stackpy.dsl.values import meant, stack_name, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_MISSING: Any = object()


class StackRef:
    """Another stack of the same engine."""

    __slots__ = ("name",)

    @checked("`StackRef`")
    def __init__(self, name: str) -> None:
        """Names the stack; its outputs are read where they are asked for."""
        self.name = Place(caller(("name",)), "this `StackRef`").item("name").parse(stack_name, name, "") or ""

    def output(self, name: str, default: Any = _MISSING) -> Any:
        """The value of an output at the stack's last apply: text, a number, a list or a mapping.

        default: where the stack was not applied or has no such output; without it, that is an error
        """
        place = Place(caller(("name", "default")), f"`output` of stack `{self.name}`")
        valid = place.item("name").parse(text, name)
        session = current()
        if session is None or not valid or not self.name:
            return UNKNOWN_TEXT if default is _MISSING else default
        found = session.outputs_of(self.name)
        if found is not None and valid in found[1] and found[1][valid] is not None:
            session.references[self.name, valid] = found[0]
            return found[1][valid]
        if default is not _MISSING:
            session.references[self.name, valid] = 0
            return default
        if found is None:
            place.report(
                f"stack `{self.name}` has not been applied on this engine", f"apply it before, or give a default: "
                f'output("{valid}", default=…)',
            )  # fmt: skip
        else:
            known = ", ".join(f"`{one}`" for one in found[1])
            otherwise = f"it has {known}" if known else "it puts nothing out"
            place.item("name").report(
                f"stack `{self.name}` has no output `{valid}`, as of its generation {found[0]}",
                meant(valid, found[1], otherwise),
            )
        return UNKNOWN_TEXT

    def __repr__(self) -> str:
        return f'StackRef("{self.name}")'
