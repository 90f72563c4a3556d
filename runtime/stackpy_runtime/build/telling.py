"""What a build tells while it goes on."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy_runtime.model import Progress, RecipeStep

    Report = Callable[[Progress], None]


def report(progress: Report, step: RecipeStep, stage: str, index: int, count: int, *, cached: bool) -> None:
    """Tells that a step is looked at, and whether it was cached."""
    text = f"[{stage}] {step['text']}" if stage else step["text"]
    progress({"kind": "step", "text": text, "step": index + 1, "steps": count, "cached": cached})
