"""What is kept of the last crash of each replica of a stack's resource, when its container has long been replaced.

ROOT/crashes/STACK/ADDRESS.REPLICA, a JSON document; removed with the stack's history. Containers of no stack keep what
their own state says, since nobody would look for them under another ID.
"""

from __future__ import annotations

import os

from stackpy_runtime import json_text, labels

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy_runtime.model import Crash


def _folder(root: str, stack: str) -> str:
    return f"{root}/crashes/{_name(stack)}"


def _name(text: str) -> str:
    """A label's value as a file name; labels may hold anything."""
    return text.replace("/", "_").lstrip(".")[:200] or "_"


def _file(own: Mapping[str, str]) -> str:
    return _name(f"{own.get(labels.RESOURCE, '')}.{own.get(labels.REPLICA, '1')}")


def keep(root: str, own: Mapping[str, str], crash: Crash) -> None:
    """Keeps a crash in the place of the one before; nothing for a container that carries no stack's labels.

    own: the container's labels
    """
    if not own.get(labels.STACK) or not own.get(labels.RESOURCE):
        return
    folder = _folder(root, own[labels.STACK])
    os.makedirs(folder, mode=0o700, exist_ok=True)
    path = f"{folder}/{_file(own)}"
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        file.write(json_text.dumps(crash))
    os.rename(f"{path}.new", path)


def last(root: str, own: Mapping[str, str]) -> Crash | None:
    """The last crash of the replica that a container with these labels is; None when there was none."""
    if not own.get(labels.STACK) or not own.get(labels.RESOURCE):
        return None
    return _read(f"{_folder(root, own[labels.STACK])}/{_file(own)}")


def of_stack(root: str, stack: str) -> list[Crash]:
    """The last crash of each replica of a stack that had one."""
    folder = _folder(root, stack)
    try:
        names = os.listdir(folder)
    except FileNotFoundError:
        return []
    found = (_read(f"{folder}/{name}") for name in sorted(names) if not name.endswith(".new"))
    return [crash for crash in found if crash is not None]


def forget(root: str, stack: str) -> None:
    """Removes what is kept of a stack."""
    import shutil  # a plan reads, and has no need of it

    shutil.rmtree(_folder(root, stack), ignore_errors=True)


def _read(path: str) -> Crash | None:
    try:
        with open(path, encoding="utf-8") as file:
            document = json_text.loads(file.read())
    except (OSError, ValueError):
        return None
    if not isinstance(document, dict) or "ending" not in document:
        return None
    crash: Any = document
    found: Crash = crash
    return found
