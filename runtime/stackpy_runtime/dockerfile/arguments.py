"""Build arguments that stand above all stages: the predefined ones, ARG before the first FROM, and what FROM reads."""

from __future__ import annotations

from stackpy_runtime import platforms
from stackpy_runtime.dockerfile import names
from stackpy_runtime.dockerfile.expansion import BadWord, Expanded, expand
from stackpy_runtime.dockerfile.scope import nearest
from stackpy_runtime.dockerfile.words import BadSyntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from stackpy_runtime.dockerfile.checks import Checks
    from stackpy_runtime.dockerfile.problems import Problems
    from stackpy_runtime.dockerfile.stages import Stage, Stages
    from stackpy_runtime.platforms import Platform

PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")


class Arguments:
    """The values that FROM sees and that an ARG without a value takes over.

    given: by the user, for any ARG
    values: by name
    used: which of `given` had a use so far
    """

    def __init__(
        self,
        stages: Stages,
        given: Mapping[str, str],
        platform: Platform,
        host: Platform,
        target: str,
        escape: str,
        checks: Checks,
        problems: Problems,
    ) -> None:
        self.given, self._stages, self._escape = given, stages, escape
        self._checks, self._problems = checks, problems
        self._platform, self._host = platform, host
        predefined = _predefined(platform, host, target)
        self.used: set[str] = (predefined.keys() | {"BUILDKIT_DOCKERFILE_CHECK"}) & given.keys()
        self.values = {name: given.get(name, value) for name, value in predefined.items()}
        self._declared = set(self.values)
        self._check_defaults()
        self._read()

    def proxies(self) -> dict[str, str]:
        """Those given for the predefined proxy arguments, which need no ARG."""
        found = {name: value for name, value in self.given.items() if name.upper() in PROXIES}
        self.used |= found.keys()
        return found

    def _read(self) -> None:
        for made in self._stages.arguments:
            for word in made.args:
                name, equals, default = word.partition("=")
                self._declared.add(name)
                if name in self.given:
                    self.used.add(name)
                    self.values[name] = self.given[name]
                elif equals:
                    try:
                        self.values[name] = expand(default, self.values, escape=self._escape).text
                    except BadWord as error:
                        self._problems.add(made.line.first, f"`{default}` cannot be expanded: {error}")

    def _check_defaults(self) -> None:
        """InvalidDefaultArgInFrom: whether bases are sound without any argument given."""
        values = dict(self.values)
        try:
            for made in self._stages.arguments:
                for name, equals, default in (word.partition("=") for word in made.args):
                    if equals:
                        values[name] = expand(default, values, escape=self._escape).text
            for stage in self._stages.stages:
                if not names.is_reference(expand(stage.base, values, escape=self._escape).text):
                    self._checks.warn("InvalidDefaultArgInFrom", stage.line, stage.base)
        except BadWord:
            return  # said where the values count

    # --- FROM --------------------------------------------------------------------------------------------------------

    def base(self, stage: Stage) -> str:
        """A stage's base with the values of its variables; raises BadSyntax."""
        found = self._expanded(stage.base, stage)
        if not found.text:
            raise BadSyntax(f"the base `{stage.base}` is empty", self._empty_hint(found))
        return found.text

    def platform(self, stage: Stage) -> Platform:
        """The platform that a stage asks for; raises BadSyntax."""
        if not stage.platform:
            return self._platform
        found = self._expanded(stage.platform, stage)
        if not found.text:
            raise BadSyntax(f"the platform `{stage.platform}` is empty", self._empty_hint(found))
        made = platforms.named(found.text, self._host)
        if made is None:
            raise BadSyntax(f"`{found.text}` is no platform", "as in `linux/arm64`")
        if found.found == {"TARGETPLATFORM"} and not found.missing and found.text == self.values["TARGETPLATFORM"]:
            self._checks.warn("RedundantTargetPlatform", stage.line, stage.platform)
        constant = not found.found and not found.missing
        if constant and made.os not in stage.name and made.architecture not in stage.name:
            self._checks.warn("FromPlatformFlagConstDisallowed", stage.line, found.text)
        return made

    def _expanded(self, word: str, stage: Stage) -> Expanded:
        try:
            found = expand(word, self.values, escape=self._escape)
        except BadWord as error:
            raise BadSyntax(f"`{word}` cannot be expanded: {error}") from None
        for name in sorted(found.missing - self._declared):
            self._checks.warn("UndefinedArgInFrom", stage.line, name, nearest(name, sorted(self._declared)))
        return found

    def _empty_hint(self, found: Expanded) -> str:
        undeclared = sorted(found.missing - self._declared)
        if undeclared:
            return f"declare `ARG {undeclared[0]}=…` before the first FROM"
        unset = sorted(found.missing | found.found)
        return f"give its variable a value: --build-arg {unset[0]}=…" if unset else ""


def _predefined(own: Platform, build: Platform, target: str) -> dict[str, str]:
    return {
        "BUILDPLATFORM": str(build),
        "BUILDOS": build.os,
        "BUILDOSVERSION": "",
        "BUILDARCH": build.architecture,
        "BUILDVARIANT": build.variant,
        "TARGETPLATFORM": str(own),
        "TARGETOS": own.os,
        "TARGETOSVERSION": "",
        "TARGETARCH": own.architecture,
        "TARGETVARIANT": own.variant,
        "TARGETSTAGE": target,
    }
