"""From a Dockerfile to the source of an image: stages, their bases, their steps. Pure but for what it is given to ask.

Only the stages that the target needs are compiled. What BuildKit finds out while it builds (an undefined stage, a bad
value) is found here, all of it at once, before anything is touched.
"""

from __future__ import annotations

import posixpath

from stackpy_runtime import platforms
from stackpy_runtime.dockerfile import checks as checking
from stackpy_runtime.dockerfile import instructions, lines, names, stages, steps
from stackpy_runtime.dockerfile.arguments import Arguments
from stackpy_runtime.dockerfile.making import Build, Make
from stackpy_runtime.dockerfile.problems import InvalidDockerfile, Problem, Problems, meant
from stackpy_runtime.dockerfile.scope import Scope
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from stackpy_runtime.dockerfile.instructions import Instruction
    from stackpy_runtime.dockerfile.stages import Stage, Stages
    from stackpy_runtime.model import Base, ImageConfig, ImageSource, Step
    from stackpy_runtime.platforms import Platform

_SCRATCH = "scratch"
_IMAGE_CONTEXT = "docker-image://"
_ERROR_HINT = "it is an error because of `check=error=true`"


class Compiled(NamedTuple):
    """An image's source, the warnings on the way, and which build arguments had a use."""

    source: ImageSource
    warnings: list[Problem]
    used_args: set[str]


def compile(  # noqa: A001 — the word for it
    text: str,
    *,
    name: str,
    context: str,
    config_of: Callable[[Base], ImageConfig | None],
    platform_of: Callable[[Base], str] = lambda _: "",
    target: str = "",
    build_args: Mapping[str, str] | None = None,
    platform: str = "linux/amd64",
    build_platform: str = "",
    contexts: Mapping[str, str] | None = None,
    ignore_file: str = "",
    ignored: Callable[[str], bool] | None = None,
    every: bool = False,
) -> Compiled:
    """Compiles a Dockerfile.

    name: of the file, for messages
    context: absolute folder that COPY takes from
    config_of: a base image's configuration; None when it cannot be told
    platform_of: what a base image that is at hand is for; "" when it cannot be told
    target: name or number of the stage to build; "": the last
    platform, build_platform: of the image, of this host
    contexts: named contexts: absolute folders, or images as `docker-image://reference`
    ignore_file: read instead of the context's .dockerignore
    ignored: whether that excludes a path, as far as the path alone says; for a warning
    every: compiles the stages that are not needed too, for their problems

    Raises InvalidDockerfile for all that is wrong at once.
    """
    problems, warnings = Problems(name, text), Problems(name, text)
    file = lines.read(text, problems)
    given = build_args or {}
    checks = checking.Checks(_options(file, given, problems), warnings)
    _check_syntax(file, problems)
    found = stages.group(file, problems)
    wrong = problems.all
    if not found.stages:
        problems.refuse()
    stages.look(file, found, checks)
    host = platforms.normal(platforms.Platform(*(build_platform or platform).split("/")))
    own = platforms.named(platform, host)
    if own is None:
        raise InvalidConfig(f"`{platform}` is no platform", hint="as in `linux/arm64`")
    stage_name = target or found.stages[-1].name or "default"
    arguments = Arguments(found, given, own, host, stage_name, file.escape, checks, problems)
    compiler = _Compiler(
        found,
        problems,
        file.escape,
        # A file that is refused anyway asks nobody for anything.
        config_of=(lambda _: None) if wrong else config_of,
        platform_of=platform_of,
        arguments=arguments,
        own=own,
        host=host,
        contexts=contexts or {},
        build=Build(
            context=context,
            ignore_file=ignore_file,
            ignored=ignored or (lambda _: False),
            arguments=given,
            shared=arguments.values,
            proxies=arguments.proxies(),
            checks=checks,
        ),
    )
    try:
        source = compiler.source(found.target(target))
        if every:
            for stage in found.stages:
                compiler.stage(stage)
    except BadSyntax as error:
        problems.add(0, error.message, error.hint)
    problems.refuse()
    if checks.options.error and warnings.all:
        raise InvalidDockerfile(
            [each._replace(rule="", message=f"{each.rule}: {each.message}", hint=_ERROR_HINT) for each in warnings.all]
        )
    return Compiled(source, warnings.all, arguments.used)


def _options(file: lines.File, given: Mapping[str, str], problems: Problems) -> checking.Options:
    said, number = file.directives.get("check", ("", 0))
    said = given.get("BUILDKIT_DOCKERFILE_CHECK", said)
    try:
        return checking.options(said)
    except BadSyntax as error:
        problems.add(number, error.message, error.hint)
        return checking.Options()


def _check_syntax(file: lines.File, problems: Problems) -> None:
    """Refuses another language than the Dockerfile's: BuildKit would run the program that the directive names."""
    said, number = file.directives.get("syntax", ("", 0))
    program = said.split(" ")[0].partition("@")[0]
    if said and posixpath.basename(program).partition(":")[0] not in ("dockerfile", "dockerfile-upstream"):
        problems.add(number, f"`{program}` is no Dockerfile front end", "expected docker/dockerfile:1, or no such line")


class _Done(NamedTuple):
    """A compiled stage.

    triggers: what it says by ONBUILD
    """

    base: Base
    steps: list[Step]
    scope: Scope
    triggers: list[str]


class _Compiler:
    def __init__(
        self,
        found: Stages,
        problems: Problems,
        escape: str,
        *,
        config_of: Callable[[Base], ImageConfig | None],
        platform_of: Callable[[Base], str],
        arguments: Arguments,
        own: Platform,
        host: Platform,
        contexts: Mapping[str, str],
        build: Build,
    ) -> None:
        self._stages, self._problems, self._escape = found, problems, escape
        self._config_of, self._contexts = config_of, {key.lower(): value for key, value in contexts.items()}
        self._arguments, self._host, self._build = arguments, host, build
        self._own, self._platform_of = own, platform_of
        self._done: dict[int, _Done | None] = {}

    def source(self, target: Stage) -> ImageSource:
        """The source of an image that is built from a stage."""
        made = self.stage(target)
        if made is None:
            return {"base": {"kind": "scratch"}, "steps": []}
        result: ImageSource = {"base": made.base, "steps": made.steps}
        needed = [stage for stage in self._stages.stages if stage.number in self._done and stage is not target]
        others: dict[str, ImageSource] = {}
        for stage in needed:
            done = self._done[stage.number]
            if done is not None:
                others[stage.key] = {"base": done.base, "steps": done.steps}
        if others:
            result["stages"] = others
        return result

    # --- stages ------------------------------------------------------------------------------------------------------

    def stage(self, stage: Stage) -> _Done | None:
        """A stage and before it all that it needs; None when its base is wrong."""
        if stage.number not in self._done:
            self._done[stage.number] = None  # a stage that needs itself is refused by its place
            self._done[stage.number] = self._compile(stage)
        return self._done[stage.number]

    def _compile(self, stage: Stage) -> _Done | None:
        replaced = self._contexts.get(stage.name, "")
        try:
            if replaced:
                base, scope, _, first = self._of_context(replaced, self._arguments.platform(stage), stage)
                return _Done(base, first, scope, [])
            base, scope, triggers, first = self._base(stage)
        except BadSyntax as error:
            self._problems.add(stage.line.first, error.message, error.hint)
            return None
        made: list[Step] = list(first)
        own: list[str] = []
        last: dict[str, Instruction] = {}
        for instruction in [*self._triggers(stage, triggers), *stage.instructions]:
            self._used_by(instruction)
            if instruction.kind in ("cmd", "entrypoint", "healthcheck"):
                if instruction.kind in last:
                    earlier = last[instruction.kind].line
                    self._build.checks.warn("MultipleInstructionsDisallowed", earlier, instruction.line.keyword.upper())
                last[instruction.kind] = instruction
            try:
                place = f"{self._problems.file}:{instruction.line.first}"
                step = steps.step(Make(instruction, scope, self._build, self._origin(stage)), place)
            except BadSyntax as error:
                self._problems.add(instruction.line.first, error.message, error.hint)
                continue
            if step is not None:
                made.append(step)
            if instruction.kind == "onbuild":
                own.append(instruction.args[0])
        return _Done(base, made, scope, own)

    def _used_by(self, instruction: Instruction) -> None:
        if instruction.kind == "arg":
            declared = {word.partition("=")[0] for word in instruction.args}
            self._arguments.used |= declared & self._build.arguments.keys()

    def _triggers(self, stage: Stage, triggers: list[str]) -> list[Instruction]:
        """What the base runs right after FROM, as if it stood there."""
        result = []
        for trigger in triggers:
            noted = Problems(self._problems.file, trigger)
            try:
                file = lines.read(trigger, noted)
                if len(file.lines) != 1 or noted.all:
                    raise BadSyntax(noted.all[0].message if noted.all else "it is not one instruction")
                made = instructions.parse(file.lines[0], file.escape)
            except BadSyntax as error:
                message = f"the base `{stage.base}` has a bad ONBUILD trigger: `{trigger}`: {error.message}"
                self._problems.add(stage.line.first, message, error.hint)
                continue
            line = made.line._replace(first=stage.line.first, last=stage.line.last, comments=stage.line.comments)
            result.append(made._replace(line=line))
        return result

    def _base(self, stage: Stage) -> tuple[Base, Scope, list[str], list[Step]]:
        """A stage's base, what it begins with, the triggers of the base, and steps that make it; raises BadSyntax."""
        text = self._arguments.base(stage)
        platform = self._arguments.platform(stage)
        before = self._stages.before(stage.number, text) if text == text.lower() else None
        if before is not None:
            done = self.stage(before)
            if done is None:
                return {"kind": "scratch"}, self._scope(None), [], []  # what is wrong with it has been said
            return {"kind": "stage", "stage": before.key}, done.scope.child(), done.triggers, []
        if text == _SCRATCH:
            empty: Base = {"kind": "scratch"}
            if platform != self._host:
                empty["platform"] = str(platform)
            return empty, self._scope({}), [], []
        named = self._contexts.get(text.lower()) or self._contexts.get(text.lower().removesuffix(":latest"))
        if named:
            return self._of_context(named, platform, stage)
        if not names.is_reference(text):
            known = self._stages.names(stage.number)
            hint = meant(text, known) if known else ""
            if not hint.startswith("did"):
                hint = "expected the name of an image or of a stage above"
            raise BadSyntax(f"`{text}` cannot be the name of an image", hint)
        return self._of_image(text, platform, stage)

    def _of_image(self, reference: str, platform: Platform, stage: Stage) -> tuple[Base, Scope, list[str], list[Step]]:
        base: Base = {"kind": "image", "reference": reference}
        if platform != self._host:
            base["platform"] = str(platform)
        config = self._config_of(base)
        found = self._platform_of(base)
        # Of an image that is at hand no variant is known.
        if found and found != f"{platform.os}/{platform.architecture}":
            self._build.checks.warn("InvalidBaseImagePlatform", stage.line, reference, found, str(platform))
        return base, self._scope(config), list((config or {}).get("OnBuild") or []), []

    def _of_context(self, named: str, platform: Platform, stage: Stage) -> tuple[Base, Scope, list[str], list[Step]]:
        if named.startswith(_IMAGE_CONTEXT):
            return self._of_image(named.removeprefix(_IMAGE_CONTEXT), platform, stage)
        step: Step = {
            "instruction": "copy",
            "text": f"COPY . / (from the context {named})",
            "line": "",
            "sources": ["."],
            "target": "/",
            "from_context": named,
        }
        return {"kind": "scratch"}, self._scope({}), [], [step]

    def _scope(self, config: ImageConfig | None) -> Scope:
        return Scope(config, self._escape, self._build.checks)

    # --- what is copied or mounted from elsewhere -----------------------------------------------------------------

    def _origin(self, stage: Stage) -> Callable[[str], dict[str, str]]:
        def origin(name: str) -> dict[str, str]:
            found = self._stages.before(stage.number, name)
            if found is None and name.isascii() and name.isdigit():
                number = int(name[:9])
                if number >= stage.number:
                    hint = f"stages above have the numbers 0 to {stage.number - 1}" if stage.number else ""
                    raise BadSyntax(f"`{name}` is no stage above this one", hint or "it is the first stage")
                found = self._stages.stages[number]
            if found is not None:
                self.stage(found)
                return {"from_stage": found.key}
            if any(each.name == name.lower() for each in self._stages.stages):
                raise BadSyntax(f"the stage `{name}` is not above this one", "move it up: a stage sees those before it")
            return self._elsewhere(name, stage)

        return origin

    def _elsewhere(self, name: str, stage: Stage) -> dict[str, str]:
        named = self._contexts.get(name.lower())
        if named and not named.startswith(_IMAGE_CONTEXT):
            return {"from_context": named}
        reference = named.removeprefix(_IMAGE_CONTEXT) if named else name
        if reference == _SCRATCH or not names.is_reference(reference):
            known = [*self._stages.names(stage.number), *self._contexts]
            hint = meant(name, known) if known else ""
            raise BadSyntax(f"`{name}` is no stage, image or context to take files from", hint)
        result = {"from_image": reference}
        if self._own != self._host:
            result["from_platform"] = str(self._own)
        return result
