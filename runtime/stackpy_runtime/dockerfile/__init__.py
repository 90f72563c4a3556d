"""Dockerfiles: from their text to the recipe of an image. Pure; nothing is read, built or asked for here."""

from __future__ import annotations

from stackpy_runtime.dockerfile.compiling import Compiled, compile  # noqa: A004 — the word for it
from stackpy_runtime.dockerfile.problems import Problem

__all__ = ["Compiled", "Problem", "compile"]
