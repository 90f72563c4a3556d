"""The stages of a Dockerfile: what belongs to which, and what their names mean to one another."""

from __future__ import annotations

from stackpy_runtime.dockerfile import instructions, mounts
from stackpy_runtime.dockerfile.expansion import BadWord, expand
from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.dockerfile.checks import Checks
    from stackpy_runtime.dockerfile.instructions import Instruction
    from stackpy_runtime.dockerfile.lines import File, Line
    from stackpy_runtime.dockerfile.problems import Problems

_RESERVED = ("context", "scratch")


class Stage(NamedTuple):
    """A FROM and what stands below it.

    key: its name among the stages of an image's source; unique
    name: as given, in lower case, or ""
    base: as written
    """

    number: int
    key: str
    name: str
    base: str
    platform: str
    line: Line
    instructions: list[Instruction]


class Stages(NamedTuple):
    """A Dockerfile: ARG before the first FROM, and its stages."""

    arguments: list[Instruction]
    stages: list[Stage]

    def before(self, number: int, name: str) -> Stage | None:
        """The last stage before stage `number` that is called so, whatever the case."""
        found = [stage for stage in self.stages[:number] if stage.name and stage.name == name.lower()]
        return found[-1] if found else None

    def names(self, number: int) -> list[str]:
        """Names of the stages before stage `number`."""
        return [stage.name for stage in self.stages[:number] if stage.name]

    def target(self, wanted: str) -> Stage:
        """The stage to build: by name or number, the last one without; raises BadSyntax."""
        if not wanted:
            return self.stages[-1]
        found = self.before(len(self.stages), wanted)
        if found is None and wanted.isascii() and wanted.isdigit() and int(wanted[:9]) < len(self.stages):
            found = self.stages[int(wanted)]
        if found is None:
            found = next((stage for stage in self.stages if stage.key == wanted.lower()), None)
        if found is None:
            known = self.names(len(self.stages)) or [str(stage.number) for stage in self.stages]
            raise BadSyntax(f"there is no stage `{wanted}` to build", meant(wanted, known))
        return found


def group(file: File, problems: Problems) -> Stages:
    """The instructions of a file by stage; problems of each line are noted."""
    result = Stages([], [])
    lost = False  # where there is no FROM has been said, or one could not be read
    for line in file.lines:
        try:
            made = instructions.parse(line, file.escape)
            _values_aside(made)
        except BadSyntax as error:
            problems.add(line.first, error.message, error.hint)
            lost = lost or line.kind == "from"
            continue
        if made.kind == "from":
            result.stages.append(_stage(made, result.stages))
        elif result.stages:
            result.stages[-1].instructions.append(made)
        elif made.kind == "arg":
            result.arguments.append(made)
        elif not lost:
            problems.add(line.first, f"{line.keyword.upper()} stands before the first FROM", "only ARG can stand there")
            lost = True
    if not result.stages and not lost:
        problems.add(0, "there is no FROM in it", "a Dockerfile begins with `FROM image`")
    return result


def _stage(made: Instruction, before: list[Stage]) -> Stage:
    number = len(before)
    name = made.args[2].lower() if len(made.args) == 3 else ""
    key = name or f"stage-{number}"
    if any(stage.key == key for stage in before):
        key = f"{key}@{number}"
    return Stage(number, key, name, made.args[0], made.flags.texts.get("platform", ""), made.line, [])


def _values_aside(made: Instruction) -> None:
    """Raises BadSyntax for what no value of a variable can mend."""
    for mount in made.flags.lists.get("mount", []) if made.kind == "run" else []:
        mounts.check(mount)
    origin = made.flags.texts.get("from", "")
    if origin:
        try:
            plain = expand(origin, {}).text == origin
        except BadWord:
            plain = False
        if not plain:
            raise BadSyntax(
                "`--from` takes no variables",
                "declare a stage for it: FROM with the variable, and give that stage's name here",
            )


def look(file: File, stages: Stages, checks: Checks) -> None:
    """The checks that need no values."""
    for number in file.gaps:
        checks.warn("NoEmptyContinuation", number)
    seen: set[str] = set()
    for stage in stages.stages:
        line = stage.line
        words = line.rest.split()
        if stage.name:
            if words[2] != words[2].lower():
                checks.warn("StageNameCasing", line, words[2])
            if line.keyword in (line.keyword.lower(), line.keyword.upper()):
                fitting = str.lower if line.keyword == line.keyword.lower() else str.upper
                if words[1] != fitting(words[1]):
                    checks.warn("FromAsCasing", line, words[1], line.keyword)
            if stage.name in _RESERVED:
                checks.warn("ReservedStageName", line, stage.name)
            if stage.name in seen:
                checks.warn("DuplicateStageName", line, stage.name)
            seen.add(stage.name)
            _described(line, [stage.name], checks)
    for made in [*stages.arguments, *(each for stage in stages.stages for each in stage.instructions)]:
        if made.kind == "arg":
            _described(made.line, [word.partition("=")[0] for word in made.args], checks)
    _casing(stages, checks)


def _described(line: Line, names: list[str], checks: Checks) -> None:
    if line.comments and line.comments[-1].split(" ")[0] not in names:
        shown = names[0] if len(names) == 1 else "<name>"
        checks.warn("InvalidDefinitionDescription", line, line.keyword.upper(), shown)


def _casing(stages: Stages, checks: Checks) -> None:
    lines = [line for stage in stages.stages for line in (stage.line, *(each.line for each in stage.instructions))]
    lower = sum(line.keyword == line.keyword.lower() for line in lines)
    upper = sum(line.keyword == line.keyword.upper() for line in lines)
    for line in lines:
        fitting = line.keyword.lower() if lower > upper else line.keyword.upper()
        if line.keyword != fitting:
            checks.warn(
                "ConsistentInstructionCasing", line, line.keyword, "lowercase" if lower > upper else "uppercase"
            )
