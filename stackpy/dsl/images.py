"""Images as recipes: a base and a chain of steps. Each method returns a new object; nothing is built or read here."""

from __future__ import annotations

from stackpy.dsl import instructions, references
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.image_files import Files
from stackpy.dsl.image_settings import Scalar, Settings
from stackpy.dsl.references import reference, tag
from stackpy.dsl.resources import Frozen
from stackpy.dsl.session import Place, current
from stackpy.dsl.values import one_of, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any, Literal, Self

    from stackpy.dsl.build_mounts import BuildMount
    from stackpy.dsl.calls import Call
    from stackpy.dsl.files import Content


class Step:
    """One instruction as it was written.

    fields: stackpy_runtime.model.Step's keys besides instruction, text and line
    content: for `file`, what assemble.py reads or renders
    """

    __slots__ = ("call", "content", "fields", "instruction", "text")

    def __init__(
        self, instruction: str, written: str, call: Call, fields: dict[str, Any], content: Content | None = None
    ) -> None:
        self.instruction, self.text, self.call, self.fields, self.content = instruction, written, call, fields, content


class Image(Files, Settings, Frozen):
    """What containers are made of: an image in the store, or one built from a base by steps."""

    __slots__ = ("_base", "_call", "_published", "_steps", "_tags")
    _base: dict[str, Any] | None  # stackpy_runtime.model.Base; None: not understood
    _call: Call
    _steps: tuple[Step, ...]
    _tags: tuple[str, ...]
    _published: tuple[str, ...]  # those of the tags under which it is pushed

    def __new__(cls, *_args: object, **_fields: object) -> Self:
        """One without a base, which is what stays of a call that cannot be understood."""
        self = object.__new__(cls)
        _fill(self, None, caller(), (), ())
        return self

    @checked("image")
    def __init__(self, ref: str, *, platform: str | None = None) -> None:
        """An image by its name in the store or a registry: "debian:bookworm".

        platform: what it is for, where that is not this machine: "linux/arm64"
        """
        call = caller(("ref",))
        base: dict[str, Any] = {"kind": "image", "reference": Place(call, "this image", ("ref",)).parse(reference, ref)}
        if platform is not None:
            base["platform"] = Place(call, "this image", ("platform",)).parse(references.platform, platform)
        if None not in base.values():
            object.__setattr__(self, "_base", base)

    @classmethod
    @checked("image", lambda cls, *_: _make(cls, None, caller()))
    def scratch(cls) -> Image:
        """An image with nothing in it."""
        return _make(cls, {"kind": "scratch"}, caller())

    @classmethod
    def host(cls, *programs: str) -> Image:
        """Programs of this host with the libraries that they load: no network is needed.

        programs: names on PATH or absolute paths
        """
        call = caller()
        place = Place(call, "this host image")
        names = [place.item(index).parse(instructions.program, program) for index, program in enumerate(programs)]
        if not names:
            place.report("this host image names no program", 'name what it is to run: Image.host("sh")')
        return _make(cls, {"kind": "host", "programs": names} if names and None not in names else None, call)

    @classmethod
    @checked("image", lambda cls, *_: _make(cls, None, caller()))
    def bootstrap(cls, suite: str, *, packages: Sequence[str] = ()) -> Image:
        """A fresh Debian or Ubuntu: "debian:bookworm", with packages from its archive."""
        call = caller(("suite",))
        place = Place(call, "this bootstrap image")
        valid = place.item("suite").parse(instructions.suite, suite)
        names = place.item("packages").parse(instructions.packages, packages)
        if valid is None or names is None:
            return _make(cls, None, call)
        return _make(cls, {"kind": "bootstrap", "suite": valid, "packages": names}, call)

    @classmethod
    @checked("image", lambda cls, *_: _make(cls, None, caller()))
    def archive(cls, path: str) -> Image:
        """An image that `docker save` or an OCI tool wrote; the path is relative to the file that says it."""
        call = caller(("path",))
        valid = Place(call, "this image archive", ("path",)).parse(text, path)
        return _make(cls, None if valid is None else {"kind": "archive", "path": valid}, call)

    @classmethod
    @checked("image", lambda cls, *_: _make(cls, None, caller()))
    def dockerfile(
        cls,
        context: str = ".",
        *,
        file: str | None = None,
        target: str | None = None,
        args: Mapping[str, Scalar] | None = None,
        allow: Sequence[Literal["security.insecure", "network.host"]] | None = None,
    ) -> Image:
        """An image that a Dockerfile describes.

        context: the folder that it copies from, relative to the file that says it
        file: the Dockerfile, relative likewise; without it the `Dockerfile` in the context
        target: the name or number of the stage to build; without it the last
        args: values of its ARGs
        allow: what its RUN steps may ask for: "security.insecure" (all rights), "network.host"
        """
        call = caller(("context",))
        place = Place(call, "this Dockerfile", ("context",))
        base: dict[str, Any] = {"kind": "dockerfile", "context": place.parse(text, context)}
        given = {
            "file": (text, file),
            "target": (text, target),
            "args": (instructions.arguments, args),
            "allow": (instructions.allowed, allow),
        }
        for name, (parser, value) in given.items():
            if value is not None:
                base[name] = Place(call, "this Dockerfile", (name,)).parse(parser, value)
        return _make(cls, None if None in base.values() else base, call)

    @classmethod
    def _of(cls, base: dict[str, Any], call: Call) -> Image:
        """An image on a base that is known to be valid."""
        return _make(cls, base, call)

    def _then(self, instruction: str, written: str, call: Call, content: Content | None = None, **fields: Any) -> Self:
        """The image after one more step; without it when a field was not understood."""
        if None in fields.values():
            return self
        step = Step(instruction, written, call, fields, content)
        return _make(type(self), self._base, self._call, (*self._steps, step))  # type: ignore[return-value]

    @checked("`run`", lambda self, *_: self)
    def run(
        self,
        command: str | Sequence[str],
        *,
        cache: str | Sequence[str] = (),
        mounts: BuildMount | Sequence[BuildMount] = (),
        network: Literal["default", "none", "host"] = "default",
        security: Literal["sandbox", "insecure"] = "sandbox",
    ) -> Self:
        """Runs a command in the image: a line for the shell, or a list.

        cache: folders that outlive the step and enter no layer
        mounts: what else it sees while it runs: `BuildMount.secret("token")`
        network: "default", "none" for a step that must not reach out, "host"
        security: "sandbox", or "insecure" for all rights on the host, as a privileged container has them
        """
        call = caller(("command",))
        place = Place(call, "`run`")
        argv = place.item("command").parse(self._line, command)
        folders = place.item("cache").parse(instructions.folders, cache)
        shown: list[BuildMount] | None = []
        if mounts != ():
            from stackpy.dsl import build_mounts  # few steps have any

            shown = place.item("mounts").parse(build_mounts.mounts, mounts)
        fields = {
            "network": place.item("network").parse(one_of("default", "none", "host"), network),
            "security": place.item("security").parse(one_of("sandbox", "insecure"), security),
        }
        if shown is None or None in fields.values() or any(mount.fields is None for mount in shown):
            return self
        options = "".join(f"--mount=type=cache,target={folder} " for folder in folders or ())
        options += "".join(f"{mount.written} " for mount in shown)
        options += "".join(
            f"--{name}={value} " for name, value in fields.items() if value not in ("default", "sandbox")
        )
        written = f"RUN {options}{instructions.written(command, argv)}"
        extra: dict[str, Any] = {"cache": folders} if folders or folders is None else {}
        if shown:
            extra["mounts"] = [dict(mount.fields or {}) for mount in shown]
            if any(mount["type"] == "bind" and not {"from_", "from_image"} & mount.keys() for mount in extra["mounts"]):
                extra["context"] = call.folder
        if fields["security"] == "insecure":
            extra["security"] = "insecure"
        return self._then("run", written, call, argv=argv, network=fields["network"], **extra)

    def tag(self, *names: str) -> Image:
        """Names the result in the store; the first name is the image's address in the stack."""
        return self._named("tag", names, 'as in .tag("shop/app:1.2")', published=False)

    def publish(self, *names: str) -> Image:
        """Names the result, and pushes it to a registry when it has been built: "registry.example/shop/app:1.2"."""
        return self._named("publish", names, 'as in .publish("registry.example/shop/app:1.2")', published=True)

    def _named(self, method: str, names: tuple[str, ...], example: str, *, published: bool) -> Image:
        call = caller()
        place = Place(call, f"`{method}`")
        valid = [place.item(index).parse(tag, name) for index, name in enumerate(names)]
        if not valid:
            place.report(f"`{method}` gives no name", example)
        if not valid or None in valid:
            return self
        tags = tuple(dict.fromkeys((*self._tags, *valid)))
        shown = tuple(dict.fromkeys((*self._published, *valid))) if published else self._published
        image = _make(type(self), self._base, call, self._steps, tags, shown)
        session = current()
        if session is not None:
            session.tagged.append(image)
        return image

    def __repr__(self) -> str:
        base = self._base or {}
        what = next((base[key] for key in ("reference", "suite", "path", "context", "kind") if key in base), "?")
        return f"<image {what}>" if not self._steps else f"<image {what} and {len(self._steps)} steps>"


def _make(
    cls: type[Image],
    base: dict[str, Any] | None,
    call: Call,
    steps: tuple[Step, ...] = (),
    tags: tuple[str, ...] = (),
    published: tuple[str, ...] = (),
) -> Image:
    image = object.__new__(cls)
    _fill(image, base, call, steps, tags, published)
    return image


def _fill(
    image: Image,
    base: dict[str, Any] | None,
    call: Call,
    steps: tuple[Step, ...],
    tags: tuple[str, ...],
    published: tuple[str, ...] = (),
) -> None:
    fields = (("_base", base), ("_call", call), ("_steps", steps), ("_tags", tags), ("_published", published))
    for name, value in fields:
        object.__setattr__(image, name, value)
