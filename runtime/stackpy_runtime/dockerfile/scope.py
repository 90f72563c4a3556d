"""What a stage knows while its instructions are read: variables, working directory, shell.

As in BuildKit the values of ENV and ARG live in one environment, in the order in which they are set; what came by ARG
is seen by RUN steps and never enters the image.
"""

from __future__ import annotations

import posixpath

from stackpy_runtime.dockerfile.expansion import BadWord, Expanded, expand
from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.dockerfile.checks import Checks
    from stackpy_runtime.dockerfile.instructions import Instruction
    from stackpy_runtime.model import ImageConfig

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SHELL = ["/bin/sh", "-c"]

# Seen by the builder alone (dockerfile2llb/convert.go).
_NO_ENVIRONMENT = frozenset({"BUILDKIT_SBOM_SCAN_CONTEXT", "BUILDKIT_SBOM_SCAN_STAGE"})


class Scope:
    """One stage under way; `child` is what a stage on top of it begins with.

    known: whether the configuration of the base is, without which nothing can be said of undefined variables
    """

    def __init__(self, config: ImageConfig | None, escape: str, checks: Checks) -> None:
        self.known = config is not None
        config = config or {}
        pairs = (entry.partition("=") for entry in config.get("Env", []))
        self._image = {"PATH": PATH, **{name: value for name, equals, value in pairs if equals and name}}
        self._seen = dict(self._image)
        self._declared: set[str] = set()
        self.workdir = posixpath.normpath(posixpath.join("/", config.get("WorkingDir") or "/"))
        self.workdir_set = False
        self.shell = list(config.get("Shell") or [])
        self._escape, self._checks = escape, checks

    def child(self) -> Scope:
        """A copy that goes its own way."""
        made = Scope({}, self._escape, self._checks)
        made.known, made.workdir, made.workdir_set = self.known, self.workdir, self.workdir_set
        made._image, made._seen = dict(self._image), dict(self._seen)
        made._declared, made.shell = set(self._declared), list(self.shell)
        return made

    # --- changes ------------------------------------------------------------------------------------------------------

    def set_image(self, values: dict[str, str]) -> None:
        """ENV."""
        self._image.update(values)
        self._seen.update(values)

    def declare(self, name: str, value: str | None) -> None:
        """ARG; None: without a value, which leaves an ENV of that name as it is."""
        self._declared.add(name)
        if value is not None and name not in _NO_ENVIRONMENT:
            self._seen[name] = value

    def enter(self, folder: str) -> None:
        """WORKDIR."""
        self.workdir = posixpath.normpath(posixpath.join(self.workdir, folder))
        self.workdir_set = True

    # --- reading ------------------------------------------------------------------------------------------------------

    def arguments(self) -> dict[str, str]:
        """What RUN sees beside the image's own environment."""
        return {name: value for name, value in self._seen.items() if self._image.get(name) != value}

    def command(self, line: str) -> list[str]:
        """A line as its shell is given it."""
        return [*(self.shell or SHELL), line]

    def word(self, word: str, instruction: Instruction) -> str:
        """A word with the values of its variables; raises BadSyntax."""
        return self._expanded(word, instruction).text

    def words(self, word: str, instruction: Instruction) -> list[str]:
        """The words that come of a word; raises BadSyntax."""
        return self._expanded(word, instruction).words

    def content(self, text: str, instruction: Instruction) -> str:
        """The content of a heredoc, in which quotes mean nothing and the escape character is always `\\`."""
        try:
            result = expand(text, self._seen, quotes=False)
        except BadWord as error:
            raise BadSyntax(f"the heredoc: {error}", "quote its name to take it as it stands: <<'EOF'") from None
        self._report(result.missing, instruction)
        return result.text

    def _expanded(self, word: str, instruction: Instruction) -> Expanded:
        try:
            result = expand(word, self._seen, escape=self._escape)
        except BadWord as error:
            raise BadSyntax(f"`{word}` cannot be expanded: {error}") from None
        self._report(result.missing, instruction)
        return result

    def _report(self, missing: set[str], instruction: Instruction) -> None:
        if not self.known:
            return
        for name in sorted(missing - self._declared - _NO_ENVIRONMENT):
            self._checks.warn("UndefinedVar", instruction.line, name, nearest(name, [*self._seen], "$"))


def nearest(name: str, known: list[str], mark: str = "") -> str:
    """` (did you mean $NAME?)`, or ""."""
    hint = meant(name, known)
    return f" ({hint.replace('`', '').replace('mean ', f'mean {mark}')})" if hint.startswith("did") else ""
