"""The part of the port that keeps what was applied: generations, what they ran, and how they come back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackpy.planning.plan import Desired
    from stackpy.planning.snapshots import Snapshot


class GenerationEngine(Protocol):
    """History of stacks, never read to decide what is."""

    generations_keep: int  # how many generations of each stack are kept

    def begin(self, stack: str, document: Mapping[str, Any]) -> None:
        """Notes what an apply is about to do. Should it be killed, whoever holds the stack next keeps it in history."""

    def record(self, stack: str, generation: int, document: Mapping[str, Any]) -> None:
        """Keeps a generation (stack, outcome, changes, outputs, time) for history."""

    def recorded(self, stack: str) -> Mapping[str, Any] | None:
        """The last generation's document."""

    def generation(self, stack: str, number: int) -> Mapping[str, Any] | None:
        """A generation's document; None where it is not kept any more."""

    def history(self, stack: str) -> list[Mapping[str, Any]]:
        """The documents of all generations that are kept, oldest first."""

    def took(self, stack: str) -> Callable[[str, str], float | None]:
        """Tells how many seconds an action on an address took when it was done last; None: not known any more."""

    def plan_key(self) -> bytes:
        """The key of fingerprints in saved plans, which the first `record` makes; b"" before."""

    def revive(self, desired: Desired, images: Mapping[str, str]) -> None:
        """Has the images of a generation be those that it ran: image address → ID, as `record` has kept them.

        Raises StackpyError where one of them is not in the store any more.
        """

    def snapshots(self, stack: str) -> list[Snapshot]:
        """What is kept of the stack's volumes, oldest first; each goes with the generation that holds it."""

    def stacks(self) -> list[dict[str, Any]]:
        """The rows of `ls`: name, engine, generation, resources, running."""

    def applied_from(self, folder: str) -> list[str]:
        """The stacks whose stack file lay in this folder when they were applied last."""

    def remove_images(self, stack: str) -> list[str]:
        """Removes the stack's images and history; returns the references that went."""
