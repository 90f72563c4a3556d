"""A file from the web, for as long as it is needed."""

from __future__ import annotations

import shutil
import tempfile
import urllib.error
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from stackpy.errors import StackpyError

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUT = 60.0  # seconds without a byte


@contextmanager
def downloaded(url: str) -> Iterator[str]:
    """The path of a copy of what an http or https URL gives; raises StackpyError where it gives nothing."""
    with tempfile.NamedTemporaryFile(prefix="stackpy-") as file:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 - the caller has seen the scheme
                shutil.copyfileobj(answer, file, 1 << 20)
        except (urllib.error.URLError, OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise StackpyError(f"cannot get `{url}`: {str(reason).lower()}") from None
        file.flush()
        yield file.name
