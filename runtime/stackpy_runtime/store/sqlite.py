"""sqlite3 without its adapters for datetime, and without functools: an import of 1 ms in place of 6.

The extension asks functools for `lru_cache` when it is loaded, and for nothing else; with functools come collections
and types. Where nobody has imported functools yet, it is given that one function. No other thread can meet what stands
in: `threading` imports functools, and the commands' own threads begin when the index has been read.
"""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3 as sqlite3
    from collections.abc import Callable
    from types import ModuleType
    from typing import Any


def _loaded() -> ModuleType:
    if "functools" not in sys.modules:
        stand_in = type(sys)("functools")
        stand_in.lru_cache = _lru_cache  # type: ignore[attr-defined]
        sys.modules["functools"] = stand_in
        try:
            import _sqlite3
        except (AttributeError, ImportError, TypeError):
            pass  # a Python whose sqlite3 needs more of it
        finally:
            if sys.modules.get("functools") is stand_in:
                del sys.modules["functools"]
    import _sqlite3

    return _sqlite3


def _lru_cache(size: int) -> Callable[[Callable[..., Any]], Any]:
    from _functools import _lru_cache_wrapper  # type: ignore[import-not-found]

    return lambda function: _lru_cache_wrapper(function, size, False, tuple)


if not TYPE_CHECKING:
    sqlite3 = _loaded()
