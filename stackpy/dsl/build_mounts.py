"""What a RUN step sees while it runs and no layer keeps: `RUN --mount=…` of a Dockerfile."""

from __future__ import annotations

from stackpy.dsl import quantities, values
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.references import reference
from stackpy.dsl.resources import Frozen
from stackpy.dsl.session import Place
from stackpy.dsl.values import one_of, text, wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Literal, Self

    from stackpy.dsl.images import Image

    Bits = int | str | None

_VARIABLE = pattern(r"[A-Za-z_][A-Za-z0-9_]*")


class BuildMount(Frozen):
    """One mount of a RUN step; made by `cache`, `bind`, `tmpfs`, `secret` or `ssh`.

    fields: stackpy_runtime.model.RunMount, and `from_`: an Image; None: not understood
    """

    __slots__ = ("fields",)
    fields: dict[str, Any] | None

    def __new__(cls, *_args: object, **_fields: object) -> Self:
        """One that says nothing, which is what stays of a call that cannot be understood."""
        self = object.__new__(cls)
        object.__setattr__(self, "fields", None)
        return self

    @classmethod
    @checked("cache mount", lambda cls, *_: _made(cls, None))
    def cache(
        cls,
        target: str,
        *,
        id: str | None = None,  # noqa: A002 — the option's name
        sharing: Literal["shared", "locked", "private"] = "shared",
        from_: Image | str | None = None,
        source: str | None = None,
        readonly: bool = False,
        mode: Bits = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> BuildMount:
        """A folder that outlives the step.

        id: the same folder for all steps that name it; without it the target
        sharing: "shared" by several steps at a time, "locked": one after the other, "private": each has its own
        from_, source: what it begins with: a folder of an image
        """
        given = {"target": target, "id": id, "sharing": sharing, "from_": from_, "source": source,
                 "readonly": readonly or None, "mode": mode, "uid": uid, "gid": gid}  # fmt: skip
        made = _parsed(cls, "cache", given)
        if made.fields is not None:
            made.fields.setdefault("id", made.fields["target"])
        return made

    @classmethod
    @checked("bind mount", lambda cls, *_: _made(cls, None))
    def bind(cls, source: str, target: str, *, from_: Image | str | None = None, readonly: bool = True) -> BuildMount:
        """A file or folder beside the stack file, or of an image; what is written there is thrown away.

        source: relative to the file that says it; with `from_` a path in that image
        """
        given = {"source": source, "target": target, "from_": from_, "readonly": None if readonly is True else readonly}
        return _parsed(cls, "bind", given)

    @classmethod
    @checked("tmpfs mount", lambda cls, *_: _made(cls, None))
    def tmpfs(cls, target: str, *, size: int | str | None = None) -> BuildMount:
        """An empty file system in memory. size: bytes, or "64m"."""
        return _parsed(cls, "tmpfs", {"target": target, "size": size})

    @classmethod
    @checked("secret mount", lambda cls, *_: _made(cls, None))
    def secret(
        cls,
        id: str,  # noqa: A002 — the option's name
        *,
        target: str | None = None,
        env: str | None = None,
        required: bool = False,
        mode: Bits = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> BuildMount:
        """A secret of the build, as a file (/run/secrets/ID without `target`) or as the variable `env`."""
        given = {"id": id, "target": target, "env": env, "required": required or None, "mode": mode, "uid": uid,
                 "gid": gid}  # fmt: skip
        made = _parsed(cls, "secret", given)
        if made.fields is not None and "env" not in made.fields:
            made.fields.setdefault("target", f"/run/secrets/{made.fields['id'].rpartition('/')[2]}")
        return made

    @classmethod
    @checked("ssh mount", lambda cls, *_: _made(cls, None))
    def ssh(
        cls,
        id: str = "default",  # noqa: A002 — the option's name
        *,
        target: str | None = None,
        required: bool = False,
        mode: Bits = None,
        uid: int | None = None,
        gid: int | None = None,
    ) -> BuildMount:
        """The socket of an ssh agent, which SSH_AUTH_SOCK names inside."""
        given = {"id": id, "target": target, "required": required or None, "mode": mode, "uid": uid, "gid": gid}
        return _parsed(cls, "ssh", given)

    @property
    def written(self) -> str:
        """As a Dockerfile has it."""
        fields = dict(self.fields or {})
        origin = "…" if "from_" in fields else fields.get("from_image", "")
        parts = [f"from={origin}"] if origin else []
        for name, value in fields.items():
            if name == "mode":
                parts.append(f"mode={value:04o}")
            elif name not in ("from_", "from_image"):
                parts.append(f"{name}={str(value).lower() if isinstance(value, bool) else value}")
        return f"--mount={','.join(parts)}"

    def __repr__(self) -> str:
        return f"BuildMount({(self.fields or {}).get('type', '?')})"


def _made(cls: type[BuildMount], fields: dict[str, Any] | None) -> BuildMount:
    mount = object.__new__(cls)
    object.__setattr__(mount, "fields", fields)
    return mount


def _parsed(cls: type[BuildMount], kind: str, given: dict[str, Any]) -> BuildMount:
    place = Place(caller(), f"this {kind} mount")
    fields: dict[str, Any] = {"type": kind}
    for name, value in given.items():
        if value is None:
            continue
        key = "from_image" if name == "from_" and isinstance(value, str) else name
        fields[key] = place.item(name).parse(_PARSERS[key], value)
    return _made(cls, None if None in fields.values() else fields)


def _image(value: object) -> object:
    from stackpy.dsl.images import Image  # which imports this module

    if not isinstance(value, Image):
        raise wrong("an Image or the name of one", value)
    return value


def _variable(value: object) -> str:
    if not isinstance(value, str) or not _VARIABLE.fullmatch(value):
        raise wrong("the name of a variable", value)
    return value


def _number(value: object) -> int:
    return quantities.whole(value, 0, 2**32 - 2)


_PARSERS: dict[str, Callable[[object], Any]] = {
    "target": values.below_root,
    "source": text,
    "id": text,
    "sharing": one_of("shared", "locked", "private"),
    "from_": _image,
    "from_image": reference,
    "readonly": values.flag,
    "required": values.flag,
    "mode": quantities.mode,
    "uid": _number,
    "gid": _number,
    "size": quantities.size,
    "env": _variable,
}


def mounts(value: object) -> list[BuildMount]:
    """One mount, or a list of them."""
    listed = [value] if isinstance(value, BuildMount) else value
    if not isinstance(listed, list | tuple) or not all(isinstance(each, BuildMount) for each in listed):
        raise wrong("a list of BuildMounts", value)
    return list(listed)
