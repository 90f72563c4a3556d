"""Patterns that are compiled when they are first used; the engine, which is usable alone, has them."""

from __future__ import annotations

from stackpy_runtime.patterns import pattern

__all__ = ["pattern"]
