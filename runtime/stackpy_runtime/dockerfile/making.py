"""What an instruction is made into a step with."""

from __future__ import annotations

import binascii

from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stackpy_runtime.dockerfile.checks import Checks
    from stackpy_runtime.dockerfile.instructions import Instruction
    from stackpy_runtime.dockerfile.scope import Scope


class Build(NamedTuple):
    """What is the same for all steps of a build.

    context, ignore_file: of COPY and ADD
    ignored: whether the ignore file excludes a path, as far as that can be said of the path alone
    arguments: values given for ARG
    shared: values of ARG before the first FROM, and of the predefined ones
    proxies: given for the predefined proxy arguments
    """

    context: str
    ignore_file: str
    ignored: Callable[[str], bool]
    arguments: Mapping[str, str]
    shared: Mapping[str, str]
    proxies: dict[str, str]
    checks: Checks


class Make(NamedTuple):
    """One instruction of a stage.

    origin: what `--from` means in this stage, as keys of a step or a mount; raises BadSyntax
    """

    instruction: Instruction
    scope: Scope
    build: Build
    origin: Callable[[str], dict[str, str]]

    def word(self, word: str) -> str:
        """A word with the values of its variables."""
        return self.scope.word(word, self.instruction)

    def warn(self, rule: str, *arguments: str) -> None:
        """Notes a warning on the instruction's line."""
        self.build.checks.warn(rule, self.instruction.line, *arguments)

    def context(self) -> dict[str, Any]:
        """The keys of a step that takes files from the build's context."""
        build = self.build
        return {"context": build.context, **({"ignore_file": build.ignore_file} if build.ignore_file else {})}


def inline_file(name: str, content: str) -> dict[str, str]:
    """A stackpy_runtime.model.InlineFile."""
    return {"name": name, "content": binascii.b2a_base64(content.encode(), newline=False).decode()}
