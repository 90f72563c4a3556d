"""The checks of `docker build --check`: names, texts, and the directive that turns them off.

Rules and wording are BuildKit's (frontend/dockerfile/linter/ruleset.go), so that what people search for is found.
"""

from __future__ import annotations

from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.patterns import pattern
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.dockerfile.lines import Line
    from stackpy_runtime.dockerfile.problems import Problems

_TEXTS = {
    "StageNameCasing": "stage name `{0}` should be lowercase",
    "FromAsCasing": "the casing of `{0}` and `{1}` does not match",
    "NoEmptyContinuation": "empty continuation line",
    "ConsistentInstructionCasing": "`{0}` should match the case of most instructions ({1})",
    "DuplicateStageName": "duplicate stage name `{0}`, stage names should be unique",
    "ReservedStageName": "`{0}` is a reserved word and should not be the name of a stage",
    "JSONArgsRecommended": "JSON arguments are recommended for {0}: a shell keeps signals from the process",
    "MaintainerDeprecated": "MAINTAINER is deprecated in favor of a label",
    "UndefinedArgInFrom": "FROM argument `{0}` is not declared{1}",
    "WorkdirRelativePath": "the relative workdir `{0}` means another folder when the base image changes",
    "UndefinedVar": "usage of the undefined variable `${0}`{1}",
    "MultipleInstructionsDisallowed": "several {0} instructions in one stage: only the last one is used",
    "LegacyKeyValueFormat": "`{0} key=value` should be used instead of the legacy `{0} key value`",
    "InvalidBaseImagePlatform": "the base image {0} is for `{1}`, expected `{2}`",
    "RedundantTargetPlatform": "setting the platform to {0} in FROM is redundant, as this is the default",
    "SecretsUsedInArgOrEnv": "{0} should not hold sensitive data: `{1}`",
    "InvalidDefaultArgInFrom": "the default value of the ARG in `{0}` makes an empty or invalid image name",
    "FromPlatformFlagConstDisallowed": "FROM --platform should not have the constant value `{0}`",
    "CopyIgnoredFile": "`{0}` copies `{1}`, which .dockerignore excludes",
    "InvalidDefinitionDescription": "the comment above {0} should read `# {1} <description>`",
    "ExposeProtoCasing": "the protocol in `{0}` should be lowercase",
    "ExposeInvalidFormat": "EXPOSE should have no address and no port of the host: `{0}`",
    # Ours: BuildKit takes these and does nothing with them.
    "UnusedMountOption": "a mount of type {0} does nothing with `{1}`",
}
_EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})

_SECRET = pattern(
    r"(?:_|^)(?:apikey|auth|credential|credentials|key|password|pword|passwd|secret|token)(?:_|$)", ignore_case=True
)
_NO_SECRET = pattern(r"(?:_|^)(?:public|file|version)(?:_|$)", ignore_case=True)
_COMMENT = pattern(r"check\s*=\s*(\S+)", ignore_case=True)


class Options(NamedTuple):
    """What the directive `check=` says."""

    skip: frozenset[str] = frozenset()
    skip_all: bool = False
    experimental: frozenset[str] = frozenset()
    experimental_all: bool = False
    error: bool = False

    def and_also(self, other: Options) -> Options:
        """Both: a comment right above an instruction adds to the directive of the file."""
        return Options(
            self.skip | other.skip,
            self.skip_all or other.skip_all,
            self.experimental | other.experimental,
            self.experimental_all or other.experimental_all,
            self.error,
        )


def options(text: str) -> Options:
    """Reads `skip=Rule,Rule;error=true;experimental=all`; raises BadSyntax. Rules of later BuildKits are no mistake."""
    result = Options()
    for part in filter(None, (each.strip() for each in text.split(";"))):
        name, equals, value = (each.strip() for each in part.partition("="))
        if name not in ("skip", "error", "experimental") or not equals:
            raise BadSyntax(f"`check` cannot say `{part}`", meant(name, ["skip", "error", "experimental"]))
        if name == "error":
            if value.lower() not in ("true", "false", "1", "0", "t", "f"):
                raise BadSyntax(f"`error` of `check` cannot be `{value}`", "expected `true` or `false`")
            result = result._replace(error=value.lower() in ("true", "1", "t"))
            continue
        rules = frozenset(each.strip() for each in value.split(",") if each.strip())
        every = "all" in rules
        if name == "skip":
            result = result._replace(skip=rules - {"all"}, skip_all=every)
        else:
            result = result._replace(experimental=rules - {"all"}, experimental_all=every)
    return result


class Checks:
    """Collects warnings, as far as they are wanted."""

    def __init__(self, options: Options, warnings: Problems) -> None:
        self.options, self._warnings = options, warnings

    def warn(self, rule: str, line: Line | int, *arguments: str) -> None:
        """Notes a warning; arguments fill the rule's text."""
        wanted, number = self.options, line if isinstance(line, int) else line.first
        if not isinstance(line, int):
            for comment in line.comments:
                found = _COMMENT.fullmatch(comment)
                if found:
                    try:
                        wanted = wanted.and_also(options(found[1]))
                    except BadSyntax:
                        continue  # an ordinary comment that begins so
        if rule in _EXPERIMENTAL:
            if not (wanted.experimental_all or rule in wanted.experimental):
                return
        elif wanted.skip_all or rule in wanted.skip:
            return
        self._warnings.add(number, _TEXTS[rule].format(*arguments), rule=rule)


def is_secret(name: str) -> bool:
    """Whether a variable's name says that its value is nobody else's business."""
    return bool(_SECRET.search(name)) and not _NO_SECRET.search(name)
