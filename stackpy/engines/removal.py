"""Deletions of whole containers and jobs, as they were observed."""

from __future__ import annotations

from stackpy.engines.events import Event
from stackpy.engines.facade import Missing, at_once

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackpy.engines.events import Report
    from stackpy.engines.facade import Facade


def remove(engine: Facade, address: str, seen: Mapping[str, str], report: Report) -> None:
    """Ends and removes a resource's containers; raises StackpyError with what became of those that stay.

    They are not looked up again: a destroy would mostly wait for ten threads that each read what they do not need.

    seen: name by ID
    """
    at_once([remover(engine, address, identity, name, report) for identity, name in seen.items()])


def remover(engine: Facade, address: str, identity: str, name: str, report: Report) -> Callable[[], None]:
    """Ends and removes one container, and says so."""

    def act() -> None:
        try:
            engine.down(identity)
        except Missing:
            return  # somebody else removed it, which is what was wanted
        report(Event(address, "output", f"{name} removed"))

    return act
