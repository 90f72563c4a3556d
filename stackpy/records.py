"""NamedTuple without what `typing` costs; the engine, which is usable alone, has it."""

from __future__ import annotations

from stackpy_runtime.records import NamedTuple

__all__ = ["NamedTuple"]
