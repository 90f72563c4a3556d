"""The port through which a load reads what its stack file names outside itself."""

from __future__ import annotations

from typing import Any, Protocol


class Reader(Protocol):
    """The outside world of one load; project/reading.py is the real one. Everything asked for becomes an input."""

    def absolute(self, folder: str, path: str) -> str:
        """`path` relative to `folder`, with ~ expanded and `..` resolved."""

    def read(self, path: str) -> tuple[bytes, int]:
        """A file's content and permission bits; raises OSError."""

    def exists(self, path: str) -> bool:
        """Whether there is a file, folder or anything else; what is missing is watched."""

    def watch(self, path: str) -> None:
        """Takes a file as an input that is not read now."""

    def matches(self, folder: str, pattern: str) -> bool:
        """Whether a COPY source, which may be a glob, names anything; watches it."""

    def neighbours(self, path: str) -> list[str]:
        """Names beside `path`, for hints."""

    def render(self, folder: str, path: str, variables: dict[str, Any]) -> str | None:
        """A template's text; None after reporting what is wrong inside it; raises OSError when there is none."""

    def variable(self, name: str) -> str | None:
        """A variable of the host's environment."""
