"""`--output` of `stackpy build`, in buildx's words: what becomes of the result besides a name in the store."""

from __future__ import annotations

import os
import sys

from stackpy.cli import archives
from stackpy.errors import StackpyError, UsageError
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from stackpy.engines.base_images import ImageEngine

_TYPES = ("local", "tar", "oci", "docker", "image", "registry", "cacheonly")
_NAMED = ("oci", "docker", "image", "registry")  # that can have a name of their own
_PLACED = ("local", "tar", "oci", "docker")  # that go somewhere on this host
# What else buildx's exporters take, where it says what is done anyway; other values are refused with the reason.
_FIXED = {
    "rewrite-timestamp": ("true", "times are clamped always, to SOURCE_DATE_EPOCH or the time of the base image"),
    "oci-mediatypes": ("true", "manifests are OCI's, which every engine reads"),
    "platform-split": ("false", "an image has one platform here"),
    "store": ("true", "what is built is in the store; leave the name away for one without"),
    "unpack": ("true", "what is built can be run at once"),
    "force-compression": ("false", "layers that were pulled leave as they came"),
}
_COMPRESSION = {"oci": "uncompressed", "docker": "uncompressed", "image": "gzip", "registry": "gzip"}


class Output(NamedTuple):
    """One output.

    kind: one of _TYPES, `registry` being an image that is pushed
    dest: a path, "-" for standard output, or "" where it has none
    names: of its own; () for those of `--tag`
    archive: False for an OCI layout that is a folder
    """

    kind: str
    dest: str = ""
    names: tuple[str, ...] = ()
    push: bool = False
    archive: bool = True

    @property
    def named_here(self) -> bool:
        """Whether the image gets its names in the store."""
        return self.kind == "image" or (self.kind == "docker" and not self.dest)


def parse(given: Iterable[str], *, push: bool = False, load: bool = False) -> list[Output]:
    """`--output DIR`, `-` or `type=…,dest=…`, several times; `--push` and `--load` stand for type=registry and docker.

    Raises UsageError for what cannot be meant, before anything is built.
    """
    outputs = [_output(text) for text in given]
    if push and not any(each.push for each in outputs):
        outputs = [each._replace(push=True) if each.kind == "image" else each for each in outputs]
        if not any(each.push for each in outputs):
            outputs.append(Output("image", push=True))
    if load and not any(each.named_here for each in outputs):
        outputs.append(Output("docker"))
    if sum(each.dest == "-" for each in outputs) > 1:
        raise UsageError("two outputs cannot both go to standard output", hint="give one of them `dest=FILE`")
    return outputs


def _output(text: str) -> Output:
    if not text:
        raise UsageError("`--output` names nothing", hint="as in `--output out` or `--output type=tar,dest=out.tar`")
    fields = _fields(text)
    if fields is None:
        return Output("tar", "-") if text == "-" else Output("local", _path(text))
    kind = fields.pop("type", "")
    if kind not in _TYPES:
        what = f"`{kind}` is no type of an output" if kind else "it has no type"
        raise UsageError(f"`--output {text}`: {what}", hint=f"one of {', '.join(_TYPES)}")
    dest, name = fields.pop("dest", ""), fields.pop("name", "")
    if dest and kind not in _PLACED:
        raise UsageError(f"`--output {text}`: type={kind} has no dest", hint="type=oci and type=docker write archives")
    if name and kind not in _NAMED:
        raise UsageError(f"`--output {text}`: type={kind} has no name", hint="leave `name` out")
    archive = _flag(text, "tar", fields.pop("tar", "true")) if kind in ("oci", "docker") else True
    if not archive and kind == "docker":
        raise UsageError(f"`--output {text}`: docker's archive is a tar", hint="type=oci,tar=false writes a folder")
    push = kind == "registry"
    if "push" in fields and kind in ("image", "registry"):
        push = _flag(text, "push", fields.pop("push"))
    for key, value in fields.items():
        _check_other(text, kind, key, value)
    if kind in ("tar", "oci") and archive and not dest:
        dest = "-"
    if not dest and (kind == "local" or not archive):
        raise UsageError(f"`--output {text}`: it has no dest", hint=f"as in `--output type={kind},dest=out`")
    if dest == "-" and (kind == "local" or not archive):
        raise UsageError(f"`--output {text}`: a folder cannot go to standard output", hint="name it: dest=out")
    names = tuple(dict.fromkeys(part.strip() for part in name.split(",") if part.strip()))
    _check_names(names)
    return Output("image" if kind == "registry" else kind, _path(dest), names, push, archive)


def _fields(text: str) -> dict[str, str] | None:
    """What `key=value,…` says, as a line of CSV; None for a path alone."""
    if "," not in text and not text.startswith("type="):
        return None
    import csv

    result: dict[str, str] = {}
    for part in next(csv.reader([text])):
        key, equals, value = part.partition("=")
        key = key.strip().lower()
        if not equals:
            raise UsageError(f"`--output {text}`: `{part}` is not understood", hint="expected type=TYPE,dest=PATH")
        if key in result:
            raise UsageError(f"`--output {text}`: `{key}` stands twice", hint='several names: `"name=a,b"`')
        result[key] = value
    return result


def _check_other(text: str, kind: str, key: str, value: str) -> None:
    """Refuses what this output cannot have."""
    if key in _FIXED:
        only, why = _FIXED[key]
        if value.lower() == only:
            return
        raise UsageError(f"`--output {text}`: {key}={value}: {why}", hint=f"leave `{key}` out")
    if key == "compression" and kind in _COMPRESSION:
        if value == _COMPRESSION[kind]:
            return
        why = f"layers of type={kind} are written {'plain' if kind in ('oci', 'docker') else 'by gzip'}"
        raise UsageError(f"`--output {text}`: {key}={value}: {why}", hint="leave `compression` out")
    known = ["type", *(["dest"] if kind in _PLACED else []), *(["name"] if kind in _NAMED else [])]
    known += {"oci": ["tar"], "docker": [], "image": ["push"], "registry": ["push"]}.get(kind, [])
    from stackpy.dsl.values import meant

    hint = meant(key, known, f"expected {', '.join(f'{each}=…' for each in known)}")
    raise UsageError(f"`--output {text}`: type={kind} knows no `{key}` here", hint=hint)


def _flag(text: str, key: str, value: str) -> bool:
    if value.lower() not in ("true", "false", "1", "0"):
        raise UsageError(f"`--output {text}`: {key}={value}", hint="it is true or false")
    return value.lower() in ("true", "1")


def _path(dest: str) -> str:
    return dest if dest in ("", "-") else os.path.abspath(os.path.expanduser(dest))


def _check_names(names: Iterable[str]) -> None:
    from stackpy.cli.build_options import check_tag

    for name in names:
        check_tag(name, "--output name=")


def tags(outputs: list[Output], given: list[str]) -> list[str]:
    """The names that the image gets in the store: docker leaves none where the result only goes elsewhere."""
    if not outputs:
        return given
    here = [each for each in outputs if each.named_here]
    return list(dict.fromkeys(name for each in here for name in (given or each.names)))


def check(outputs: list[Output], given: list[str]) -> None:
    """Raises UsageError for outputs that could not be written once all is built.

    given: the names of the image
    """
    for each in outputs:
        if each.push and not (given or each.names):
            raise UsageError("an image needs a name to be pushed", hint="add `--tag registry.example/shop/web`")
        if each.dest == "-" and sys.stdout.isatty():
            raise UsageError("an archive is not written to a terminal", hint="add `dest=FILE`, or redirect the output")
        if each.dest in ("", "-"):
            continue
        folder = each.kind == "local" or not each.archive
        if folder and os.path.lexists(each.dest) and not os.path.isdir(each.dest):
            raise UsageError(f"the output `{each.dest}` is no folder", hint="remove it, or name another")
        if not folder and os.path.isdir(each.dest):
            hint = f"name the file, as in `dest={os.path.join(each.dest, 'image.tar')}`"
            raise UsageError(f"the output `{each.dest}` is a folder", hint=hint)
        if not folder and not os.path.isdir(os.path.dirname(each.dest)):
            raise UsageError(f"there is no folder `{os.path.dirname(each.dest)}`", hint="make it, or name another")


def write(engine: ImageEngine, image: str, outputs: list[Output], given: list[str], report: Any) -> list[str]:
    """Writes and pushes an image that was built; returns what is to be said of it, a line each.

    image: its ID; given: the names of `--tag`
    """
    said: list[str] = []
    for each in outputs:
        names = given or list(each.names)
        if each.kind == "local":
            said += engine.image_write_tree(image, each.dest)
        elif each.kind == "tar":
            with archives.output(each.dest) as out:
                engine.image_save_tree(image, out)
        elif not each.archive:
            engine.image_save_layout([image], each.dest, names)
        elif each.dest:
            with archives.output(each.dest) as out:
                engine.image_save([image], out, each.kind, names)
        if each.push:
            said += [f"pushed {name}@{engine.image_push(name, report)}" for name in names]
    return said


def metadata(engine: ImageEngine, image: str, outputs: list[Output], names: list[str]) -> str:
    """The text of `--metadata-file`: JSON with buildx's keys."""
    import json

    pushed = any(each.push for each in outputs)
    document = {**engine.image_metadata(image, pushed), **({"image.name": ",".join(names)} if names else {})}
    return json.dumps(document, indent=2, sort_keys=True) + "\n"


def write_file(path: str, text: str) -> None:
    """Writes a file beside the result; raises StackpyError."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise StackpyError(f"the image is built, and `{path}` cannot be written: {reason}") from None
