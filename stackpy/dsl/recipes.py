"""The images of a stack as resources: equal recipes are one, named by a tag or by the first resource that uses them."""

from __future__ import annotations

import os

from stackpy.dsl import contents
from stackpy.dsl.references import with_tag
from stackpy.dsl.session import Place
from stackpy.dsl.specs import Spec
from stackpy.problems import Location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.images import Image, Step
    from stackpy.dsl.reader import Reader
    from stackpy.dsl.session import Session


class _Recipe:
    __slots__ = ("image", "name", "published", "source", "tags")

    def __init__(self, name: str, source: dict[str, Any], image: Image) -> None:
        self.name, self.source, self.image = name, source, image
        self.tags: dict[str, None] = {}
        self.published: dict[str, None] = {}


class Recipes:
    """Sorts the images of one load."""

    def __init__(self, session: Session, reader: Reader, folder: str) -> None:
        self._reader, self._folder = reader, folder
        self._sources: dict[int, tuple[dict[str, Any], str] | None] = {}
        self._by_key: dict[str, _Recipe] = {}
        self._names: set[str] = set()
        self._tagged: dict[str, Image] = {}
        for image in session.tagged:
            for tag in image._tags:
                self._tagged.setdefault(with_tag(tag), image)
        for image in session.tagged:
            self._declare_tagged(image)

    def _declare_tagged(self, image: Image) -> None:
        found = self._source(image)
        if found is None:
            return
        for tag in image._tags:
            other = self._tagged[with_tag(tag)]
            theirs = self._source(other)
            if theirs is not None and theirs[1] != found[1]:
                Place(image._call, "image").report(
                    f"two different images are tagged `{tag}`",
                    f"the other is at line {other._call.line} of {os.path.basename(other._call.file)}",
                )
                return
        recipe = self._by_key.get(found[1])
        if recipe is None:
            recipe = self._by_key[found[1]] = _Recipe(image._tags[0], found[0], image)
            self._names.add(recipe.name)
        recipe.tags.update(dict.fromkeys(image._tags))
        recipe.published.update(dict.fromkeys(image._published))

    def address(self, image: Image, user: str) -> str:
        """The address of the image that the resource named `user` uses; "" when it was not understood."""
        found = self._source(image)
        if found is None:
            return ""
        recipe = self._by_key.get(found[1])
        if recipe is None:
            name, number = user, 2
            while name in self._names:
                name, number = f"{user}-{number}", number + 1
            recipe = self._by_key[found[1]] = _Recipe(name, found[0], image)
            self._names.add(name)
        return f"image.{recipe.name}"

    def specs(self) -> list[Spec]:
        """All images, in the order in which they were met."""
        result = []
        for recipe in self._by_key.values():
            fields = {"source": recipe.source}
            if recipe.tags:
                fields["tags"] = list(recipe.tags)  # type: ignore[assignment]
            if recipe.published:
                fields["publish"] = list(recipe.published)  # type: ignore[assignment]
            call = recipe.image._call
            result.append(Spec("image", recipe.name, fields, (), Location(call.file, call.line)))
        return result

    def _source(self, image: Image, above: tuple[int, ...] = ()) -> tuple[dict[str, Any], str] | None:
        """The image's ImageSource and what makes it equal to another."""
        if id(image) not in self._sources:
            self._sources[id(image)] = self._describe(image, above)
        return self._sources[id(image)]

    def _describe(self, image: Image, above: tuple[int, ...]) -> tuple[dict[str, Any], str] | None:
        base = image._base
        if base is None:
            return None
        steps: list[dict[str, Any]] = []
        stages: dict[str, Any] = {}
        below = self._tagged.get(with_tag(base["reference"])) if base["kind"] == "image" else None
        if below is not None and "platform" in base:
            Place(image._call, "image", ("platform",)).report(
                f"image `{base['reference']}` is of this stack, and has the platform of its own base",
                "give the platform where its base is named",
            )
            return None
        if below is not None:
            # a name that this stack gives: go on from that image's own steps, so that their layers are shared
            if below is image or id(below) in above:
                Place(image._call, "image").report(
                    f"image `{base['reference']}` stands on itself", "tag the result with another name"
                )
                return None
            found = self._source(below, (*above, id(image)))
            if found is None:
                return None
            base, steps = found[0]["base"], list(found[0]["steps"])
            stages = dict(found[0].get("stages", {}))
        elif base["kind"] == "archive":
            path = self._reader.absolute(image._call.folder, base["path"])
            self._reader.watch(path)
            if not self._reader.exists(path):
                place = Place(image._call, "this image archive", ("path",))
                contents.missing(self._reader, place, base["path"], path)
                return None
            base = {**base, "path": path}
        elif base["kind"] == "image" and image._steps:
            # What ONBUILD of the base copies from; nothing else of the image hangs on it.
            base = {**base, "context": image._call.folder}
        elif base["kind"] == "dockerfile":
            described = self._dockerfile(image, base)
            if described is None:
                return None
            base = described
        sound = True
        for step in image._steps:
            written = self._step(step)
            if written is not None:
                written = self._from(written, stages, image, above)
            if written is None:
                sound = False
            else:
                steps.append(written)
        if not sound:
            return None
        source = {"base": base, "steps": steps, **({"stages": stages} if stages else {})}
        return source, repr(
            [_identity(base), _without_lines(steps), [(name, _key(stage)) for name, stage in stages.items()]]
        )

    def _from(
        self, step: dict[str, Any], stages: dict[str, Any], image: Image, above: tuple[int, ...]
    ) -> dict[str, Any] | None:
        """A step with the stages that it takes files from, by name; None after reporting what is wrong with them."""
        places = [place for place in (step, *step.get("mounts", ())) if "from_" in place]
        for place in places:
            name = self._stage(place.pop("from_"), stages, image, above)
            if name is None:
                return None
            place["from_stage"] = name
        return step

    def _stage(self, other: Image, stages: dict[str, Any], image: Image, above: tuple[int, ...]) -> str | None:
        """The name under which another image, with those that it takes from, is a stage of this one."""
        found = self._source(other, (*above, id(image)))
        if found is None:
            return None
        source = found[0]
        known = {_key(stage): name for name, stage in stages.items()}
        names: dict[str, str] = {}
        own = source.get("stages", {})
        for name, stage in [*own.items(), ("", {"base": source["base"], "steps": source["steps"]})]:
            renamed = _renamed(stage, names)
            key = _key(renamed)
            if key not in known:
                known[key] = f"image-{len(stages) + 1}"
                stages[known[key]] = renamed
            names[name] = known[key]
        return names[""]

    def _binds(self, step: Step) -> bool:
        """Whether what the step mounts from its context is there; watches it."""
        sound = True
        for index, mount in enumerate(step.fields["mounts"]):
            if mount["type"] != "bind" or {"from_", "from_image"} & mount.keys():
                continue
            source, folder = mount["source"], step.call.folder
            if not self._reader.matches(folder, source):
                path = self._reader.absolute(folder, source.lstrip("/"))
                contents.missing(self._reader, Place(step.call, "`run`", ("mounts", index)), source, path)
                sound = False
        return sound

    def _dockerfile(self, image: Image, base: dict[str, Any]) -> dict[str, Any] | None:
        """The base with absolute paths; None after reporting what is not there. The whole context is watched."""
        folder, reader = image._call.folder, self._reader
        context = reader.absolute(folder, base["context"])
        path = reader.absolute(folder, base["file"]) if "file" in base else os.path.join(context, "Dockerfile")
        sound = True
        if not reader.matches(context, "."):
            place = Place(image._call, "this Dockerfile", ("context",))
            contents.missing(reader, place, base["context"], context)
            sound = False
        reader.watch(path)
        reader.watch(f"{path}.dockerignore")
        if sound and "file" in base and not reader.exists(path):
            contents.missing(reader, Place(image._call, "this Dockerfile", ("file",)), base["file"], path)
            sound = False
        rest = {name: value for name, value in base.items() if name != "file"}
        return {**rest, "context": context, "path": path} if sound else None

    def _step(self, step: Step) -> dict[str, Any] | None:
        call = step.call
        file = call.file.removeprefix(self._folder.rstrip("/") + "/")
        result = {"instruction": step.instruction, "text": step.text, "line": f"{file}:{call.line}", **step.fields}
        if "mounts" in result:
            result["mounts"] = [dict(mount) for mount in result["mounts"]]
            return result if self._binds(step) else None
        if step.content is not None:
            content = contents.resolve(step.content, self._reader)
            return None if content is None else {**result, **content}
        if step.instruction not in ("copy", "add") or "context" not in step.fields:
            return result
        sound = True
        for index, source in enumerate(step.fields["sources"]):
            place = Place(call, f"`{step.instruction}`", (index,))
            if os.path.normpath(source.lstrip("/")).startswith(".."):
                hint = "sources are relative to the folder of the file that says them"
                place.report(f"`{step.instruction}`: `{source}` leads out of {call.folder}", hint)
                sound = False
            elif not self._reader.matches(call.folder, source):
                path = self._reader.absolute(call.folder, source.lstrip("/"))
                contents.missing(self._reader, place, source, path)
                sound = False
        return result if sound else None


def _without_lines(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: value for name, value in step.items() if name != "line"} for step in steps]


def _key(stage: dict[str, Any]) -> str:
    """What makes a stage equal to another."""
    return repr((_identity(stage["base"]), _without_lines(stage["steps"])))


def _identity(base: dict[str, Any]) -> dict[str, Any]:
    """A base without what makes no difference to what it is."""
    return {name: value for name, value in base.items() if name != "context" or base["kind"] != "image"}


def _renamed(stage: dict[str, Any], names: dict[str, str]) -> dict[str, Any]:
    """A stage with other names for those that it takes from, which stand before it."""

    def place(old: dict[str, Any]) -> dict[str, Any]:
        return {**old, "from_stage": names[old["from_stage"]]} if "from_stage" in old else old

    steps = [
        {**place(step), "mounts": [place(mount) for mount in step["mounts"]]} if "mounts" in step else place(step)
        for step in stage["steps"]
    ]
    return {"base": stage["base"], "steps": steps}
