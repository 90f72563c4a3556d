"""The form in which containers and other objects note what was applied, and how older forms are read.

Labels hold the spec of the last apply. Where a later version of stackpy gives a field another form, it raises VERSION
and adds a step here, so that what an earlier version has noted is read as if it had been noted now: an upgrade alone is
no change. What each form has noted is kept by a test (tests/unit/noted).
"""

from __future__ import annotations

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

VERSION = 1

# version → what makes its fields those of the next: (kind, fields) → fields
MIGRATIONS: dict[int, Callable[[str, dict[str, Any]], dict[str, Any]]] = {}


def read(kind: str, fields: Mapping[str, Any], version: int) -> dict[str, Any]:
    """Fields that were noted in an earlier form, in the present one.

    Raises StackpyError for a later form: what a newer stackpy has applied, an older one must not take for a change.
    """
    if version > VERSION:
        raise StackpyError(
            f"a newer version of stackpy has applied this stack (its specs have form {version}, ours {VERSION})",
            hint="use that version",
        )
    found = dict(fields)
    for step in range(version, VERSION):
        found = MIGRATIONS[step](kind, found)
    return found
