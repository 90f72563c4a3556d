"""A store on a root of its own, and rows for it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.errors import EngineError
from stackpy_runtime.store.store import Store


@pytest.fixture(name="store")
def store_fixture(tmp_path: Path) -> Iterator[Store]:
    """An empty store."""
    made = Store(str(tmp_path / "root"), create=True)
    yield made
    made.close()


def container(number: int, name: str, **config: Any) -> Any:
    """A container that was made."""
    return {
        "id": f"{number:064x}",
        "name": name,
        "created": "2026-01-01T00:00:00Z",
        "image_id": config.pop("image_id", "sha256:" + "0" * 64),
        "config": {"name": name, "image": "x", **config},
        "state": {"status": "created", "pid": 0, "exit_code": None},
        "networks": {},
    }


def image(digits: str, *references: str, layers: list[str] | None = None) -> Any:
    """An image whose ID begins with these digits."""
    return {
        "id": f"sha256:{digits.ljust(64, '0')}",
        "references": list(references),
        "layers": layers or [],
        "config": {},
        "history": [],
        "recipe": "",
        "architecture": "amd64",
        "size": 1,
        "created": "",
    }


def message(error: pytest.ExceptionInfo[EngineError]) -> tuple[str, str]:
    """What is said, and the hint."""
    return str(error.value), error.value.hint
