"""The history of a stack: one JSON file per generation under ROOT/stacks/NAME. Never read to decide what is."""

from __future__ import annotations

import errno
import os

from stackpy.engines import labels
from stackpy.errors import StackpyError
from stackpy_runtime import json_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any


BEGUN = "begun.json"  # what the apply that goes on is about to do, or one that was killed was


def folder(root: str, stack: str) -> str:
    """Where the history of a stack lies."""
    return os.path.join(root, "stacks", stack)


def ensure_folder(root: str, stack: str) -> str:
    """Makes that folder; only its owner may look inside, since documents hold environments.

    Raises StackpyError where it cannot be made.
    """
    path = folder(root, stack)
    if not os.path.isdir(path):
        try:
            # 0711 as the engine makes it: what containers mount below must be reachable for their users
            os.makedirs(root, 0o711, exist_ok=True)
            for level in (os.path.dirname(path), path):
                try:
                    os.mkdir(level, 0o700)
                except FileExistsError:
                    pass  # another command was quicker
        except OSError as error:
            raise cannot_make(error.filename, error) from None
    return path


def cannot_make(path: str, error: OSError) -> StackpyError:
    """The error for a file or folder in the engine root that could not be made."""
    reason = (error.strerror or str(error)).lower()
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    hint = "free some space and try again" if full else "give --root DIR, or STACKPY_ROOT, another folder"
    return StackpyError(f"cannot create `{path}`: {reason}", hint=hint)


def numbers(root: str, stack: str) -> list[int]:
    """The generations that are kept, oldest first."""
    try:
        names = os.listdir(folder(root, stack))
    except (FileNotFoundError, NotADirectoryError):
        return []
    stems = (name.removesuffix(".json") for name in names if name.endswith(".json"))
    return sorted(int(stem) for stem in stems if stem.isascii() and stem.isdigit())


def read(root: str, stack: str, number: int) -> dict[str, Any] | None:
    """A generation's document; None when it is not kept or was damaged."""
    try:
        with open(os.path.join(folder(root, stack), f"{number}.json"), encoding="utf-8") as file:
            document = json_text.loads(file.read())
    except FileNotFoundError:
        return None
    except ValueError:
        return None  # a disk that lost it: history is told, never relied on
    return document if isinstance(document, dict) else None


def last(root: str, stack: str) -> dict[str, Any] | None:
    """The newest document that can be read."""
    for number in reversed(numbers(root, stack)):
        document = read(root, stack, number)
        if document is not None:
            return document
    return None


def begin(root: str, stack: str, document: Mapping[str, Any]) -> None:
    """Notes an apply that begins; `write` takes the note away. A power cut may lose it: nobody waits for the disk."""
    path = ensure_folder(root, stack)
    aside = os.path.join(path, ".begun.new")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(json_text.dumps(document))
        os.rename(aside, os.path.join(path, BEGUN))
    except OSError:
        pass  # a full disk keeps nobody from applying what may free it


def begun(root: str, stack: str) -> dict[str, Any] | None:
    """The document of an apply that has begun and not ended; None where there is none.

    Of one that cannot be read, since the power was cut, it is told that there was one.
    """
    path = os.path.join(folder(root, stack), BEGUN)
    try:
        with open(path, encoding="utf-8") as file:
            text, when = file.read(), os.fstat(file.fileno()).st_mtime
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        document = json_text.loads(text)
        if isinstance(document, dict) and isinstance(document.get("generation"), int):
            return document
    except ValueError:
        pass
    import time

    known = numbers(root, stack)
    return {
        "format": 1,
        "stack": stack,
        "generation": known[-1] + 1 if known else 1,
        "outcome": "killed",
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(when)),
        "seconds": 0.0,
        "changes": [],
        "failures": {},
    }


def forget_begun(root: str, stack: str) -> None:
    """Takes the note of an apply away."""
    _discard(os.path.join(folder(root, stack), BEGUN))


def write(root: str, stack: str, number: int, document: Mapping[str, Any], keep: int) -> None:
    """Keeps a document, whole or not at all, and the last `keep` ones."""
    path = ensure_folder(root, stack)
    aside, target = os.path.join(path, f".{number}.new"), os.path.join(path, f"{number}.json")
    try:
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(json_text.dumps(document))
            file.flush()
            os.fsync(file.fileno())
        os.rename(aside, target)
    except OSError as error:
        _discard(aside)
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise StackpyError(
            f"generation {number} of `{stack}` cannot be kept: {(error.strerror or '').lower()}",
            hint=f"free some space on the disk of {root} and apply again: that does what is left" if full else "",
        ) from None
    except BaseException:
        _discard(aside)
        raise
    forget_begun(root, stack)
    for old in numbers(root, stack)[:-keep]:
        _discard(os.path.join(path, f"{old}.json"))
    for name in os.listdir(path):
        if name.startswith(".") and name.endswith(".new"):
            _discard(os.path.join(path, name))  # of an apply that was killed here


def image_ids(document: Mapping[str, Any], containers: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Image address → image ID of what runs as a generation wants it."""
    recipes = document.get("desired", {}).get("recipes", {})
    found = {}
    for container in containers:
        own = container["config"].get("labels", {})
        address = labels.load(own, labels.SPEC, {}).get("image", "")
        if address in recipes and own.get(labels.RECIPE) == recipes[address]:
            found[address] = container["image_id"]
    return found


def images(documents: Iterable[Mapping[str, Any]]) -> set[str]:
    """IDs of the images and of the recipes that generations ran or wanted."""
    found: set[str] = set()
    for document in documents:
        found.update(document.get("images", ()), document.get("desired", {}).get("recipes", {}).values())
    return found


def forget(root: str, stack: str) -> None:
    """Removes the whole history of a stack."""
    # 8 ms to import, and only for this
    import shutil

    shutil.rmtree(folder(root, stack), ignore_errors=True)


def stacks(root: str) -> list[str]:
    """The stacks that have a history."""
    try:
        return sorted(entry.name for entry in os.scandir(os.path.join(root, "stacks")) if entry.is_dir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def applied_from(root: str, place: str) -> list[str]:
    """The stacks whose stack file lay in the folder `place` when they were applied last."""
    found = []
    for stack in stacks(root):
        for number in reversed(numbers(root, stack)):
            wanted = (read(root, stack, number) or {}).get("desired")
            if isinstance(wanted, dict) and "folder" in wanted:
                found += [stack] if wanted["folder"] == place else []
                break
    return found


def _discard(path: str) -> None:
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass  # gone already, which is what was wanted
