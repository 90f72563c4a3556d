"""From an image as the user describes it to its recipe: a Merkle chain of steps, known before anything is built.

Two kinds of steps make two kinds of links. A step that makes files (RUN, COPY, FILE, WORKDIR) hangs on the last such
step before it, and on exactly what it sees of the configuration; so a changed LABEL, EXPOSE, CMD or ENTRYPOINT rebuilds
no later layer, and a changed ENV only the RUN steps that see it. A step that only writes configuration hangs on all
that is before it. The recipe's ID is made of the IDs of all steps. (One chain over everything, as in a Dockerfile build
of old, would rebuild a RUN for a label; BuildKit arrives at the same by moving configuration out of its graph.)

Times never count, neither of files nor of the build.
"""

from __future__ import annotations

import json
import os
import posixpath

from stackpy_runtime.build import settings
from stackpy_runtime.build.digests import named_hash, sha256_hex
from stackpy_runtime.errors import InvalidConfig, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy_runtime.model import Base, ImageConfig, ImageSource, Recipe, RecipeStep, Step

if TYPE_CHECKING:
    from stackpy_runtime.build.context import Context
    from stackpy_runtime.store.store import Store

# Part of every ID: raised when the same recipe begins to give another result.
_VERSION = "stackpy recipe 1"

# Inputs of a COPY that are no files; a file of such a name is listed as `./NAME`.
_OPTIONS = ("target", "sources", "--chown", "--chmod")


def resolve(source: ImageSource, store: Store) -> Recipe:
    """The recipe of an image: reads what is copied (only what changed since the last time), writes nothing but a cache.

    Raises InvalidConfig for everything that is wrong with the steps, all at once, each with its line; NotFound for a
    base image that the store does not have.
    """
    problems: list[tuple[str, str, str]] = []
    contexts: dict[str, Context] = {}
    resolved: list[dict[str, str]] = []
    try:
        config: ImageConfig = {}
        for step in source["steps"]:
            wrong = settings.check(step)
            if wrong:
                problems.append((step["line"], wrong, ""))
                continue
            resolved.append(_inputs(step, config, contexts, store.root.path, problems))
            config = settings.apply(config, step, own_cmd=True) if step["instruction"] != "workdir" else config
            if step["instruction"] == "workdir":
                config = _relative_workdir(config, step)
    finally:
        for context in contexts.values():
            context.close()
    settings.refuse(problems)
    first = base_step(source["base"], store)
    return chain(first, source["steps"], resolved)


def base_step(base: Base, store: Store) -> RecipeStep:
    """The first step: what the image stands on, and its identity."""
    text, inputs = _base_inputs(base, store)
    parts = [("kind", base["kind"]), *sorted(inputs.items())]
    return {"id": named_hash(f"{_VERSION} base", parts), "text": text, "line": "", "inputs": inputs}


def chain(first: RecipeStep, steps: list[Step], inputs: list[dict[str, str]]) -> Recipe:
    """The recipe of a base and of steps whose inputs are known. Pure."""
    result = [first]
    layer = first["id"]
    for step, named in zip(steps, inputs, strict=True):
        kind = step["instruction"]
        before = layer if kind in settings.LAYERS else result[-1]["id"]
        step_id = named_hash(f"{_VERSION} {kind}", [("after", before), *sorted(named.items())])
        if kind in settings.LAYERS:
            layer = step_id
        result.append({"id": step_id, "text": step["text"], "line": step["line"], "inputs": named})
    whole = named_hash(_VERSION, [("step", step["id"]) for step in result])
    return {"id": whole, "steps": result}


# --- bases ----------------------------------------------------------------------------------------------------------


def _base_inputs(base: Base, store: Store) -> tuple[str, dict[str, str]]:
    kind = base["kind"]
    if kind == "scratch":
        return "FROM scratch", {}
    if kind == "image":
        return f"FROM {base['reference']}", {"image": _image_id(base["reference"], store)}
    if kind == "archive":
        return f"FROM archive {posixpath.basename(base['path'])}", {"archive": _archive_hash(base["path"], store)}
    if kind == "bootstrap":
        from stackpy_runtime.image import bootstrap

        packages = sorted(set(base.get("packages", [])))
        text = " ".join(["FROM bootstrap", base["suite"], *packages])
        return text, bootstrap.identity(base["suite"], packages)
    from stackpy_runtime.image import host_identity

    programs = base.get("programs", [])
    return " ".join(["FROM host", *programs]), host_identity.identity(programs, store.root.path)


def _image_id(reference: str, store: Store) -> str:
    try:
        return store.image(reference)["id"]
    except NotFound:
        pass
    import difflib

    known = [name for image in store.images() for name in image["references"]]
    names = {**{name.removesuffix(":latest"): name for name in known}, **{name: name for name in known}}
    near = list(dict.fromkeys(names[name] for name in difflib.get_close_matches(reference, names, 3)))
    advice = f"did you mean {', '.join(f'`{name}`' for name in near)}? " if near else ""
    raise NotFound(
        f"no image `{reference}` in the local store",
        hint=f"{advice}registries are not supported yet: take Image.bootstrap, Image.host or Image.archive as a base",
    )


def _archive_hash(path: str, store: Store) -> str:
    from stackpy_runtime.build.stat_cache import StatCache

    whole = os.path.realpath(path)
    cache = StatCache.of(store.root.path, whole)
    try:
        digest = cache.sha256(whole, os.stat(whole))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise InvalidConfig(f"the archive `{path}` cannot be read: {reason}", hint="check its path") from None
    cache.save()
    return digest


# --- steps ----------------------------------------------------------------------------------------------------------


def _relative_workdir(config: ImageConfig, step: Step) -> ImageConfig:
    """The working directory as far as the steps say: "app" stands below that of the base, which is in the base's ID."""
    return {**config, "WorkingDir": posixpath.normpath(posixpath.join(config.get("WorkingDir", ""), step["target"]))}


def _target(config: ImageConfig, target: str) -> str:
    joined = posixpath.join(config.get("WorkingDir", ""), target)
    return posixpath.normpath(joined) + ("/" if target.endswith(("/", "/.")) or target == "." else "")


def _inputs(
    step: Step, config: ImageConfig, contexts: dict[str, Context], root: str, problems: list[tuple[str, str, str]]
) -> dict[str, str]:
    """What a step's ID is made of, by name; problems with its sources are added to `problems`."""
    kind = step["instruction"]
    if kind == "run":
        return _run_inputs(step, config)
    if kind == "copy":
        return _copy_inputs(step, config, contexts, root, problems)
    if kind == "file":
        result = {"content": sha256_hex(decoded(step["content"])), "target": _target(config, step["target"])}
        return {**result, "mode": f"{step.get('mode', 0o644):o}", **_owner(step)}
    if kind == "workdir":
        return {"target": _target(config, step["target"])}
    if kind in ("env", "label"):
        return dict(step["values"])
    if kind == "user":
        return {"user": step["value"]}
    if kind == "expose":
        return {"ports": " ".join(sorted(port if "/" in port else f"{port}/tcp" for port in set(step["ports"])))}
    return {"argv": json.dumps(step["argv"])}


def _run_inputs(step: Step, config: ImageConfig) -> dict[str, str]:
    result = {"argv": json.dumps(step["argv"])}
    if step.get("cache"):
        result["cache"] = " ".join(sorted(set(step["cache"])))
    if step.get("network", "default") != "default":
        result["network"] = step["network"]
    if config.get("User"):
        result["user"] = config["User"]
    # WORKDIR is a link of the chain already.
    return {**result, **{f"env {name}": value for name, value in sorted(settings.environment(config).items())}}


def _copy_inputs(
    step: Step, config: ImageConfig, contexts: dict[str, Context], root: str, problems: list[tuple[str, str, str]]
) -> dict[str, str]:
    from stackpy_runtime.build.context import inputs, of_step

    try:
        context = of_step(step, contexts, root)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problems.append((step["line"], f"the context `{step['context']}` cannot be opened: {reason}", ""))
        return {}
    sources, wrong = context.sources(step)
    problems += wrong
    target = _target(config, step["target"])
    if len(sources) > 1 and not target.endswith("/"):
        text = f"several sources are copied to `{step['target']}`, which must end with `/`"
        problems.append((step["line"], text, f"write `{step['target']}/`"))
    files = inputs(sources, step.get("mode"))
    result = renamed(files)
    result["target"] = target
    # Folders give their contents and files themselves, so the same files may land differently.
    result["sources"] = json.dumps([source.name for source in sources])
    if "mode" in step:
        result["--chmod"] = f"{step['mode']:o}"
    return {**result, **_owner(step)}


def renamed(files: dict[str, str]) -> dict[str, str]:
    """What the files of a COPY are called among its inputs, where some names are taken."""
    return {f"./{name}" if name in _OPTIONS else name: value for name, value in files.items()}


def files_of(named: Mapping[str, str]) -> dict[str, str]:
    """The files among the inputs of a COPY."""
    return {name: value for name, value in named.items() if name not in _OPTIONS}


def _owner(step: Step) -> dict[str, str]:
    return {"--chown": step["chown"]} if step.get("chown") else {}


def decoded(content: str) -> bytes:
    """The bytes of a FILE step's content; binascii, as base64's module costs an import for the same call."""
    import binascii

    return binascii.a2b_base64(content)
