"""stackpy.lock: what tags meant, as digests, when the stack was first applied.

    [images."debian:bookworm"]
    "linux/amd64" = "sha256:…"

It lies beside the stack file and belongs into version control: whoever applies the stack gets the same images, whatever
the tags name by then. It is written by `apply` for what is not in it yet, and moved by `stackpy lock --update` alone.
"""

from __future__ import annotations

import os

from stackpy.errors import StackFileError, StackpyError
from stackpy.problems import Location, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from stackpy.dsl.specs import StackSpec

    Pins = Mapping[str, Mapping[str, str]]

FILE = "stackpy.lock"
_HEAD = "# Digests of the images that this stack stands on; `stackpy lock --update [NAME]` moves them.\n"


def read(folder: str) -> dict[str, dict[str, str]]:
    """The pins of a stack: reference → platform → digest; {} where there are none. Raises StackFileError."""
    path = os.path.join(folder, FILE)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise StackFileError([Problem(f"cannot read {path}: {(error.strerror or str(error)).lower()}")]) from None
    try:
        decoded = content.decode()
        document = _as_written(decoded)
        if document is None:
            import tomllib  # 6 ms, of every plan: what `write` wrote needs no parser of TOML

            document = tomllib.loads(decoded)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    images = document.pop("images", {})
    if document or not isinstance(images, dict):
        raise _damaged(path, 'it holds tables [images."NAME"] and nothing else')
    for name, platforms in images.items():
        if not isinstance(platforms, dict):
            raise _damaged(path, f"`{name}` must be a table of platforms")
        for platform, digest in platforms.items():
            if not isinstance(digest, str) or not _is_digest(digest):
                raise _damaged(path, f"`{name}`, {platform}: `{digest}` is not a digest")
    return images


def _is_digest(text: str) -> bool:
    return len(text) == 71 and text.startswith("sha256:") and not text[7:].strip("0123456789abcdef")


def _as_written(content: str) -> dict[str, Any] | None:
    """The document in a file that has the form of `text`; None for any other."""
    images: dict[str, dict[str, str]] = {}
    name = ""
    for line in content.split("\n"):
        parts = line.split('"')
        if not line or line.startswith("#"):
            continue
        if "\\" in line:
            return None
        if len(parts) == 3 and parts[0] == "[images." and parts[2] == "]" and parts[1] not in images:
            name = parts[1]
            images[name] = {}
        elif name and len(parts) == 5 and (parts[0], parts[2], parts[4]) == ("", " = ", "") and parts[1]:
            if parts[1] in images[name]:
                return None
            images[name][parts[1]] = parts[3]
        else:
            return None
    return {"images": images}


def write(folder: str, pins: Pins) -> None:
    """Replaces the pins of a stack, at once; removes the file where there are none."""
    path = os.path.join(folder, FILE)
    try:
        if not pins:
            if os.path.exists(path):
                os.unlink(path)
            return
        aside = f"{path}.{os.getpid()}.part"
        with open(aside, "w", encoding="utf-8") as file:
            file.write(text(pins))
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    except OSError as error:
        raise StackpyError(f"cannot write {path}: {(error.strerror or str(error)).lower()}") from None


def text(pins: Pins) -> str:
    """The file's content: the same pins always give the same bytes."""
    parts = [_HEAD]
    for name in sorted(pins):
        parts.append(f'\n[images."{name}"]\n')
        parts += [f'"{platform}" = "{digest}"\n' for platform, digest in sorted(pins[name].items())]
    return "".join(parts)


def policies(stack: StackSpec) -> dict[str, str]:
    """What containers and jobs say of their registries' images: `pull_policy` by reference; the strictest counts."""
    found: dict[str, str] = {}
    for spec in stack.resources.values():
        policy = spec.fields.get("pull_policy", "missing")
        image = stack.resources.get(str(spec.fields.get("image", "")))
        if policy not in ("missing", "build") and image is not None:
            reference = image.fields["source"]["base"]["reference"]
            if found.get(reference) != "always":
                found[reference] = policy
    return found


def merged(old: Pins, found: Pins) -> dict[str, dict[str, str]]:
    """The pins with those of `found` that they lack."""
    result = {name: dict(platforms) for name, platforms in old.items()}
    for name, platforms in found.items():
        result[name] = {**platforms, **result.get(name, {})}
    return result


def _damaged(path: str, why: str) -> StackFileError:
    hint = "mend it, or remove it: the next apply writes it anew"
    return StackFileError([Problem(f"{FILE} cannot be read: {why}", Location(path, 1), hint)])
