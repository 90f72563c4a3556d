"""The file of a saved plan: JSON with the digest of all the rest in it.

It holds the plan as people have read it, the options that it was made with, and fingerprints of what it was made from.
It does not hold what to do: that is computed again when it is applied, from the stack file and the engine, and must
come out the same. So a file that somebody has changed can say nothing that is not true, and needs no secret.
"""

from __future__ import annotations

import hashlib
import json

from stackpy.errors import StackpyError
from stackpy.records import NamedTuple
from stackpy.render.plan_json import change_document, plan_document
from stackpy.render.plan_reading import plan_from

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy.planning.plan import Change, Plan

FORMAT = 1
_BEGINNING = '{"stackpy_plan":'
AGAIN = "make it again: `stackpy plan --out {path}`"


class Options(NamedTuple):
    """With what a plan was made.

    environment: of stackpy.toml; sets: `--set` values that are no secrets; hidden: names of those that may be
    """

    environment: str = ""
    sets: Mapping[str, str] = {}
    hidden: tuple[str, ...] = ()
    targets: tuple[str, ...] = ()
    excludes: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()
    destroy: bool = False


class Reading(NamedTuple):
    """Fingerprints of what a plan was made from.

    key: of the engine that it was made on; "": it had none yet
    salt: of a key that is derived; check: tells whether a derived key is the same
    declared, actual: address → field → fingerprint; sources: name of a Python file → digest
    """

    engine: str
    root: str
    key: str
    salt: str
    check: str
    declared: Mapping[str, Mapping[str, str]]
    actual: Mapping[str, Mapping[str, str]]
    sources: Mapping[str, str]


class Saved(NamedTuple):
    """What a file holds. digest: of it; time: when it was made, RFC 3339"""

    plan: Plan
    options: Options
    reading: Reading
    version: str
    time: str
    digest: str = ""


def text(saved: Saved) -> str:
    """The file's content, with the digest of the rest in it."""
    document = plan_document(saved.plan)
    notes = [change.note for change in saved.plan.changes]
    body = {
        "version": saved.version,
        "time": saved.time,
        "options": saved.options._asdict(),
        "read": saved.reading._asdict(),
        "plan": document,
        "notes": notes,
    }
    return f'{_BEGINNING}{FORMAT},"digest":"{_digest(body)}",{_compact(body)[1:]}\n'


def read(content: bytes, path: str) -> Saved:
    """What a file holds; raises StackpyError that says what is wrong with it.

    path: for messages
    """
    again = AGAIN.format(path=path)
    if not content.strip():
        raise StackpyError(f"`{path}` is empty", hint=again)
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        if content.startswith(_BEGINNING.encode()):
            raise StackpyError(f"`{path}` is cut off or damaged: its end is missing", hint=again) from None
        raise StackpyError(f"`{path}` is no saved plan", hint="`stackpy plan --out FILE` makes one") from None
    if not isinstance(document, dict) or "stackpy_plan" not in document:
        hint = "`stackpy plan --out FILE` makes one"
        if isinstance(document, dict) and {"format", "changes"} <= document.keys():
            raise StackpyError(f"`{path}` is the JSON form of a plan, which is for programs to read", hint=hint)
        raise StackpyError(f"`{path}` is no saved plan", hint=hint)
    form = document.pop("stackpy_plan")
    if isinstance(form, int) and form > FORMAT:
        version = str(document.get("version", ""))[:20]
        raise StackpyError(
            f"`{path}` was made by a newer stackpy ({version}): its format is {form}, this one reads {FORMAT}",
            hint="apply it with the stackpy that made it, or make it again with this one",
        )
    digest = document.pop("digest", "")
    if form != FORMAT or digest != _digest(document):
        raise StackpyError(f"`{path}` was changed after it was made: its digest is not that of its content", hint=again)
    try:
        plan = plan_from(document["plan"])
        changes = [change._replace(note=note) for change, note in zip(plan.changes, document["notes"], strict=True)]
        return Saved(
            plan._replace(changes=tuple(changes), saved=digest),
            _options(document["options"]),
            Reading(**document["read"]),
            document["version"],
            document["time"],
            digest,
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StackpyError(f"`{path}` is damaged: parts of it are missing", hint=again) from None


def _options(document: Mapping[str, Any]) -> Options:
    values: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in document.items()}
    return Options(**values)


def difference(saved: Plan, now: Plan) -> str:
    """In which change two plans differ, in words; "" where they do the same.

    Texts are not compared: they tell how long ago something was.
    """
    before, after = [_essence(change) for change in saved.changes], [_essence(change) for change in now.changes]
    for place, change in enumerate(now.changes):
        if place >= len(before) or before[place] != after[place]:
            return f"{change.address} would be another change now: {change.action.word}"
    if len(before) > len(after):
        left = saved.changes[len(after)]
        return f"{left.address} needs no {left.action.word} any more"
    return ""


def _essence(change: Change) -> str:
    document = change_document(change)
    document.pop("steps", None)
    if "deletes_data" in document:
        document["deletes_data"] = True  # a service goes on writing while its plan is read
    for reason in document["reasons"]:
        del reason["text"]
        reason.pop("place", None)  # what does the same may stand on another line by now
    return _compact({**document, "note": change.note})


def _digest(document: Mapping[str, Any]) -> str:
    return f"sha256:{hashlib.sha256(_compact(document).encode()).hexdigest()}"


def _compact(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
