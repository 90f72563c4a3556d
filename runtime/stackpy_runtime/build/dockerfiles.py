"""Images whose base is a Dockerfile: what it says is put in the place of that base.

Done before anything else looks at the source of an image, so that recipes and steps know of one language only.
"""

from __future__ import annotations

import os

from stackpy_runtime.errors import InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.dockerfile import Compiled
    from stackpy_runtime.model import Base, ImageConfig, ImageSource, RunSettings, Step

    ConfigOf = Callable[[Base], ImageConfig | None]
    Compile = Callable[[Base], Compiled]

_MOST = 16 << 20  # bytes of a Dockerfile


def present(source: ImageSource) -> bool:
    """Whether an image, or one that it takes from, is made of a Dockerfile."""
    return any(each["base"]["kind"] == "dockerfile" for each in (source, *source.get("stages", {}).values()))


def expanded(source: ImageSource, config_of: ConfigOf, compile_: Compile) -> ImageSource:
    """The source with the stages and steps of its Dockerfiles; raises InvalidConfig for all that is wrong with one.

    config_of: a base image's configuration; None when it cannot be told
    compile_: what the Dockerfile of a base says
    """
    stages: dict[str, ImageSource] = {}
    for name, stage in source.get("stages", {}).items():
        made = _one(stage, config_of, compile_, f"{name}/")
        stages |= made.pop("stages", {})
        stages[name] = made
    result = _one(source, config_of, compile_, "" if not stages else "./")
    stages |= result.pop("stages", {})
    return {**result, "stages": stages} if stages else result


def _one(source: ImageSource, config_of: ConfigOf, compile_: Compile, prefix: str) -> ImageSource:
    """An image without stages of its own but those of its Dockerfile, whose names get `prefix`."""
    base = source["base"]
    if base["kind"] == "image" and source["steps"] and (config_of(base) or {}).get("OnBuild"):
        return {"base": base, "steps": [*_triggered(base, config_of), *source["steps"]]}
    if base["kind"] != "dockerfile":
        return {"base": base, "steps": source["steps"]}
    made = _renamed(compile_(source["base"]).source, prefix)
    if "run" in source["base"]:
        made = _with_run(made, source["base"]["run"])
    return {**made, "steps": [*made["steps"], *source["steps"]]}


def _triggered(base: Base, config_of: ConfigOf) -> list[Step]:
    """The steps that a base image's ONBUILD triggers make, as if they stood right behind its FROM."""
    platform = base.get("platform", "")
    option = f"--platform={platform} " if platform else ""
    written: Base = {
        "kind": "dockerfile",
        "path": f"ONBUILD of {base['reference']}",
        "content": f"FROM {option}{base['reference']}\n",
        "context": base.get("context", "/"),
    }
    return compiled(written, config_of).source["steps"]


def _with_run(source: ImageSource, run: RunSettings) -> ImageSource:
    """The same with what all RUN steps get that say nothing else; raises InvalidConfig for what no step can have."""
    from stackpy_runtime.container import resources

    given: Any = {key: value for key, value in run.items() if key != "network"}
    resources.check(given)
    network = run.get("network", "default")

    def step(old: Step) -> Step:
        if old["instruction"] != "run":
            return old
        new: Any = {**given, **old}
        # As in BuildKit, a step's own `default` is what the build says.
        if network != "default" and old.get("network", "default") == "default":
            new["network"] = network
        return new  # type: ignore[no-any-return]

    stages = {name: _with_run(stage, run) for name, stage in source.get("stages", {}).items()}
    changed: ImageSource = {"base": source["base"], "steps": [step(each) for each in source["steps"]]}
    return {**changed, "stages": stages} if stages else changed


def compiled(
    base: Base, config_of: ConfigOf, *, every: bool = False, platform_of: Callable[[Base], str] = lambda _: ""
) -> Compiled:
    """What a Dockerfile says; see dockerfile.compile.

    every: looks at the stages too that are not needed
    """
    from stackpy_runtime.dockerfile import compile as compile_text

    path, context = _found(base), base["context"]
    text = base["content"] if "content" in base else _read(path)
    ignore_file = f"{path}.dockerignore" if "content" not in base else ""
    if not os.path.isfile(ignore_file):
        ignore_file = ""
    host = _host()
    return compile_text(
        text,
        name=path if "content" in base else _shown(path),
        context=context,
        config_of=config_of,
        platform_of=platform_of,
        target=base.get("target", ""),
        build_args=base.get("args", {}),
        platform=base.get("platform") or host,
        build_platform=host,
        contexts=base.get("contexts", {}),
        ignore_file=ignore_file,
        ignored=_ignored(context, ignore_file),
        every=every,
    )


def _found(base: Base) -> str:
    """The Dockerfile's path; `dockerfile` where only that is there, as docker does."""
    path = base.get("path", "Dockerfile")
    folder, name = os.path.split(path)
    lower = os.path.join(folder, "dockerfile")
    if name == "Dockerfile" and "content" not in base and not os.path.lexists(path) and os.path.lexists(lower):
        return lower
    return path


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MOST + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidConfig(f"the Dockerfile `{_shown(path)}` cannot be read: {reason}", hint=_beside(path)) from None
    if len(data) > _MOST:
        raise InvalidConfig(f"the Dockerfile `{_shown(path)}` is larger than {_MOST >> 20} MiB")
    return data.decode("utf-8", "surrogateescape")


def _shown(path: str) -> str:
    """A path as people near it would type it."""
    relative = os.path.relpath(path)
    return path if relative.startswith("..") else relative


def _beside(path: str) -> str:
    import difflib

    folder, name = os.path.split(path)
    try:
        names = {each.lower(): each for each in os.listdir(folder or ".")}
    except OSError:
        return "check the folder"
    near = difflib.get_close_matches(name.lower(), names, 1)
    return f"did you mean `{names[near[0]]}`?" if near else "give its name: `-f FILE`, or file=…"


def _host() -> str:
    from stackpy_runtime.platforms import machine

    return f"linux/{machine().architecture}"


def _ignored(context: str, ignore_file: str) -> Callable[[str], bool]:
    """Whether the ignore file leaves nothing of a path; never where it takes something back, as BuildKit's check."""
    from stackpy_runtime.build.ignoring import DockerRules, read_ignore_file
    from stackpy_runtime.build.stat_cache import StatCache

    try:
        folder = os.open(context, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return lambda _: False  # said where files are copied
    try:
        patterns = read_ignore_file(folder, ignore_file)
    finally:
        os.close(folder)
    if not patterns or any(pattern.startswith("!") for pattern in patterns):
        return lambda _: False
    rules = DockerRules(patterns, StatCache(""))
    every = {"*", "**", "**/*"}.intersection(patterns)
    return lambda path: bool(every) if path == "." else rules.excluded(path, False)


def _renamed(source: ImageSource, prefix: str) -> ImageSource:
    """The same with other names for its stages."""
    if not prefix or "stages" not in source:
        return source
    names = {name: f"{prefix}{name}" for name in source["stages"]}

    def base(old: Base) -> Base:
        return {**old, "stage": names[old["stage"]]} if old["kind"] == "stage" else old

    def step(old: Step) -> Step:
        new: Any = dict(old)
        if "from_stage" in old:
            new["from_stage"] = names[old["from_stage"]]
        if "mounts" in old:
            new["mounts"] = [
                {**mount, "from_stage": names[mount["from_stage"]]} if "from_stage" in mount else mount
                for mount in old["mounts"]
            ]
        return new  # type: ignore[no-any-return]

    stages: dict[str, ImageSource] = {
        names[name]: {"base": base(stage["base"]), "steps": [step(each) for each in stage["steps"]]}
        for name, stage in source["stages"].items()
    }
    return {"base": base(source["base"]), "steps": [step(each) for each in source["steps"]], "stages": stages}
