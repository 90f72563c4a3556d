"""The wording of reasons."""

from __future__ import annotations

from stackpy.planning import hiding
from stackpy.planning.hiding import is_sensitive
from stackpy.planning.plan import Reason
from stackpy.planning.quantities import SENSITIVE, ago, human, number

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.planning.fields import Difference
    from stackpy.planning.plan import Recipe, RecipeStep, Replica

VALUE_CHANGES = "its value changes"
VALUE_LOST = "its value was lost when the host restarted"


def of_difference(difference: Difference) -> Reason:
    """Why a field that differs is in the plan."""
    return _of_values(difference)._replace(policy=difference.policy)


def _of_values(difference: Difference) -> Reason:
    path, old, new = difference[:3]
    if path.startswith("files.") and not path.endswith(".mode"):
        return _of_content(path, old, new)
    if is_sensitive(path, old, new):
        return Reason(path, None, None, f"{path} {SENSITIVE}: {VALUE_CHANGES}", sensitive=True)
    if "." in path and (old, new) in ((True, None), (None, True)):
        return Reason(path, old, new, f"{path}: {'removed' if new is None else 'added'}")
    return Reason(path, old, new, f"{path} {human(path, old)} → {human(path, new)}")


def _of_content(path: str, old: str | None, new: str | None) -> Reason:
    """A file's content is summarised: it may be long, and a template may have put anything into it."""
    before, after = (None if value is None else _decoded(value) for value in (old, new))
    summaries = [None if content is None else _digest(content) for content in (before, after)]
    if before is None or after is None:
        text = "is new" if before is None else "is gone"
    else:
        text = _first_line(before, after)
    return Reason(path, summaries[0], summaries[1], f"{path}: {text}")


def _decoded(content: str) -> bytes:
    import binascii  # only where a file differs

    try:
        return binascii.a2b_base64(content)
    except binascii.Error:
        return content.encode()


def _digest(content: bytes) -> str:
    import hashlib  # likewise

    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _first_line(old: bytes, new: bytes) -> str:
    before, after = old.splitlines(), new.splitlines()
    for line, pair in enumerate(zip(before, after, strict=False), 1):
        if pair[0] != pair[1]:
            return f"line {line} differs"
    if len(before) == len(after):
        return "its line ends differ"
    return f"line {min(len(before), len(after)) + 1} is {'new' if len(after) > len(before) else 'gone'}"


# --- state ----------------------------------------------------------------------------------------------------------


def absent(text: str = "it does not exist") -> Reason:
    """Why something is created."""
    return Reason("state", "absent", "present", text)


def asked() -> Reason:
    """Why something is made anew of which nothing differs."""
    return Reason("state", "present", "present", "--replace asks for it")


def gone() -> Reason:
    """Why something is deleted."""
    return Reason("state", "present", "absent", "no longer in stack.py")


def not_running(replica: Replica, new: str, several: bool) -> Reason:
    """Why a container is started or a job run again."""
    subject = f"replica {replica.index}" if several else "it"
    if replica.status == "created":
        text = f"{subject} was created but never started"
    elif replica.status == "paused":
        text = f"{subject} is paused"
    elif replica.exit_code is None:
        text = f"{subject} ended{_when(replica)}, its exit code is unknown"
    else:
        text = f"{subject} exited with {replica.exit_code}{_when(replica)}"
    if replica.why:
        text += f": {replica.why}"
    return Reason("state", replica.status, new, text)


def _when(replica: Replica) -> str:
    return f" {ago(replica.ended)}" if replica.ended > 0 else ""


def of_value(path: str, text: str) -> Reason:
    """Why a secret, or something that uses it, is in the plan."""
    return Reason(path, None, None, text, sensitive=True)


# --- images ---------------------------------------------------------------------------------------------------------


def of_recipes(old: Recipe | None, new: Recipe, missing: list[int]) -> Reason:
    """The first step of an image that differs from what it was last built from, and the input of it that does.

    missing: indices of steps whose result is not in the store
    """
    if old is None:
        return Reason("steps[0]", None, new.id, "it was never built" if missing else "it is not in the store")
    for index, step in enumerate(new.steps):
        before = old.steps[index] if index < len(old.steps) else None
        if before is None or before.id != step.id:
            return _of_step(index, before, new)
    if len(old.steps) > len(new.steps):
        index, count = len(new.steps), len(old.steps) - len(new.steps)
        what = "its last step is gone" if count == 1 else f"its last {number(count)} steps are gone"
        return Reason(f"steps[{index}]", hiding.step(old.steps[index].text), None, what)
    if missing:
        index = missing[0]
        step = new.steps[index]
        text = f"{_title(index, len(new.steps), step)}: its layer is not in the store"
        return Reason(f"steps[{index}]", step.id, step.id, text)
    return Reason("state", old.id, new.id, "it is not in the store")


def _title(index: int, count: int, step: RecipeStep) -> str:
    return f"step {index + 1}/{count} {hiding.step(step.text)}"


def _of_step(index: int, old: RecipeStep | None, recipe: Recipe) -> Reason:
    new = recipe.steps[index]
    path, title = f"steps[{index}]", _title(index, len(recipe.steps), new)
    if old is None:
        return Reason(path, None, hiding.step(new.text), f"{title}: it is new")
    if old.text != new.text:
        before, now = hiding.step(old.text), hiding.step(new.text)
        if before == now:
            return Reason(path, None, None, f"{title}: {VALUE_CHANGES}")
        return Reason(path, before, now, f"{title}: it was {before}")
    from stackpy.planning.steps import difference, stages_of  # only where an image is built

    what = difference(old.inputs, new.inputs, stages_of(recipe))
    if not what:
        return Reason(path, old.id, new.id, f"{title}: it is made differently by this version of stackpy")
    name = next(name for name in {**new.inputs, **old.inputs} if old.inputs.get(name) != new.inputs.get(name))
    return Reason(path, old.inputs.get(name), new.inputs.get(name), f"{title}: {what}")
