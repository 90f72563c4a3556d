"""What a plan was made from, in fingerprints: enough to see later what has moved, and nothing of what it was.

A value may be a password, however it is called, so none is kept: each is a keyed HMAC. The key is the engine's; the
first plan on it is made before there is one, and then the key is derived from all that was read, slowly, so that nobody
who lacks but a password finds it by trying.
"""

from __future__ import annotations

import hashlib
import hmac
import json

from stackpy.planning.hiding import is_sensitive
from stackpy.planning.quantities import human
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stackpy.planning.plan import Desired, Observation

    Values = Mapping[str, Mapping[str, Any]]  # address → field → JSON value
    Marks = Mapping[str, Mapping[str, str]]  # the same with fingerprints

_LENGTH = 16  # hexadecimal digits: 64 bits are enough to see a change
# Words that are no secret and say more than a fingerprint.
_PLAIN = ("status", "exit code")


class Moved(NamedTuple):
    """One thing that is otherwise than when the plan was made."""

    address: str
    text: str


def desired_values(desired: Desired, secret: Callable[[str], bytes | None]) -> dict[str, dict[str, Any]]:
    """All that a stack declares and a plan depends on; of what images copy the content counts, not the paths.

    secret: the value of a secret, None where its source has none now. An engine's own fingerprints do not serve: it has
        none before it holds a secret
    """
    found: dict[str, dict[str, Any]] = {}
    for address, spec in desired.stack.resources.items():
        values = {key: value for key, value in spec.fields.items() if key != "source"}
        if spec.dependencies:
            values["depends_on"] = [list(each) for each in spec.dependencies]
        if address in desired.recipes:
            values["recipe"] = desired.recipes[address].id
        if spec.kind == "secret":
            value = secret(spec.name)
            values["value"] = None if value is None else value.hex()
        found[address] = values
    for name, value in desired.stack.outputs.items():
        found[f"output.{name}"] = {"value": value}
    return found


def actual_values(observation: Observation) -> dict[str, dict[str, Any]]:
    """All that an engine shows of a stack and a plan depends on, without what changes by itself, as health does."""
    found: dict[str, dict[str, Any]] = {}
    for address, observed in observation.resources.items():
        if observed.kind not in ("container", "job"):
            found[address] = {**observed.live, "applied": observed.applied}
            continue
        values: dict[str, Any] = {}
        for replica in observed.replicas:
            own = {
                "status": "running" if replica.status == "restarting" else replica.status,
                "exit code": replica.exit_code,
                "container": replica.id,
                "name": replica.name,
                "image": replica.image,
                "applied": replica.applied,
                **replica.live,
            }
            values |= {f"{replica.index}/{key}": value for key, value in own.items()}
        found[address] = values
    for address, recipe in observation.images.items():
        found[address] = {"recipe": recipe.id}
    return found


def marks(values: Values, key: bytes) -> dict[str, dict[str, str]]:
    """The fingerprints of values; those of _PLAIN as they are."""
    return {
        address: {
            name: str(value) if name.rpartition("/")[2] in _PLAIN else mark(value, key)
            for name, value in fields.items()
        }
        for address, fields in values.items()
    }


def mark(value: Any, key: bytes) -> str:
    """The fingerprint of a JSON value."""
    return hmac.new(key, _canonical(value), hashlib.sha256).hexdigest()[:_LENGTH]


def derived_key(declared: Values, actual: Values, salt: bytes) -> bytes:
    """A key for where the engine has none, of all that there is: 50 ms for whoever has it, and for each who guesses."""
    return hashlib.scrypt(_canonical([declared, actual]), salt=salt, n=1 << 14, r=8, p=1, dklen=32)


def without_values(marks: Marks) -> dict[str, dict[str, str]]:
    """What can be compared though the keys differ: what there is, and which fields of it, but not their values."""
    return {
        address: {name: value if name.rpartition("/")[2] in _PLAIN else "" for name, value in fields.items()}
        for address, fields in marks.items()
    }


def moved(before: Marks, now: Marks, values: Values, *, declared: bool) -> list[Moved]:
    """What differs between two sets of fingerprints, by address.

    values: those of now, of which messages tell; declared: it is what the stack file says, not what the engine shows
    """
    found: list[Moved] = []
    for address in dict.fromkeys([*before, *now]):
        old, new = before.get(address), now.get(address)
        if old == new:
            continue
        if old is None or new is None:
            if declared:
                text = "the stack file declares it now" if old is None else "the stack file declares it no more"
            else:
                text = "it exists now" if old is None else "it is gone"
            found.append(Moved(address, text))
            continue
        names = [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]
        found.append(Moved(address, _texts(names, old, new, values[address], declared)))
    return found


def _texts(
    names: list[str], old: Mapping[str, str], new: Mapping[str, str], values: Mapping[str, Any], declared: bool
) -> str:
    texts: dict[str, None] = {}
    replicas = {name.partition("/")[0] for each in (old, new) for name in each if "/" in name}
    for name in names:
        number, slash, field = name.partition("/")
        subject = f"replica {number}" if slash and len(replicas) > 1 else "it"
        if slash and f"{number}/container" not in new:
            texts[f"{subject} is gone"] = None
        elif slash and f"{number}/container" not in old:
            texts[f"{subject} exists now"] = None
        elif slash and old[f"{number}/container"] != new[f"{number}/container"]:
            texts[f"{subject} was made anew"] = None
        elif field == "status":
            texts[f"{subject} is {new.get(name)}, and was {old.get(name)}"] = None
        elif field == "applied":
            texts[f"{subject} was applied by another plan"] = None
        elif field == "exit code":
            if f"{number}/status" in names:
                continue
            texts[f"{subject} exited with {new.get(name)}"] = None
        else:
            texts[_field(field or number, name, new, values, subject, declared)] = None
    return ", ".join(texts)


def _field(
    field: str, name: str, new: Mapping[str, str], values: Mapping[str, Any], subject: str, declared: bool
) -> str:
    where = "the stack file's" if declared else "its" if subject == "it" else f"{subject}'s"
    if field == "recipe":
        return "what it is built from differs" if declared else "it was built from something else meanwhile"
    if field == "value":
        return "its value differs"  # of an output or a secret
    if name not in new:
        return f"{where} `{field}` is not set any more"
    value = values.get(name)
    if isinstance(value, (dict, list)) or is_sensitive(field, value) or field == "fingerprint":
        return f"{where} `{field}` differs"
    return f"{where} `{field}` is {human(field, value)} now"


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=_plain).encode()


def _plain(value: Any) -> Any:
    """Mappings and sequences of other classes, as a stack file may give them."""
    return dict(value) if hasattr(value, "keys") else list(value)
