"""From a line to an instruction: arguments in the form that its keyword asks for, flags, and what is wrong with them.

Nothing is expanded here: that needs the stage's variables, which scope.py has.
"""

from __future__ import annotations

from stackpy_runtime.dockerfile import flags, words
from stackpy_runtime.dockerfile.expansion import SPACES
from stackpy_runtime.dockerfile.flags import Flags
from stackpy_runtime.dockerfile.lines import Heredoc, Line, heredoc
from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax, Pair
from stackpy_runtime.patterns import pattern
from stackpy_runtime.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_FIRST_WORD = pattern(rf"[^{SPACES}]+")
_ONBUILD = pattern(r"\s*onbuild\s*", ignore_case=True)
_STAGE_NAME = pattern(r"[a-z][a-z0-9-_.]*")


class Instruction(NamedTuple):
    """One instruction, valid as far as that can be said without the values of variables.

    args: words, the JSON array's strings, or the whole rest as one string, whichever its form is
    json: they stood in a JSON array
    pairs: of ENV and LABEL
    trigger: ran because its base says ONBUILD
    """

    line: Line
    args: list[str]
    json: bool
    flags: Flags
    pairs: list[Pair]
    trigger: bool = False

    @property
    def kind(self) -> str:
        """The keyword in lower case."""
        return self.line.kind


def parse(line: Line, escape: str) -> Instruction:
    """The instruction of a line; raises BadSyntax."""
    kind, name = line.kind, line.keyword.upper()
    if kind not in _PARSERS:
        known = [each.upper() for each in _PARSERS]
        raise BadSyntax(f"unknown instruction `{line.keyword}`", meant(line.keyword, known))
    given = flags.parse(kind, name, line.flags)
    return _PARSERS[kind](line, given, escape)


# --- forms ------------------------------------------------------------------------------------------------------------


def _whole(line: Line, given: Flags, escape: str) -> Instruction:
    """The rest as it stands: WORKDIR, USER, STOPSIGNAL, MAINTAINER."""
    if not line.rest:
        raise BadSyntax(f"{line.keyword.upper()} needs an argument", _USAGE[line.kind])
    return Instruction(line, [line.rest], False, given, [])


def _command(line: Line, given: Flags, escape: str) -> Instruction:
    """A JSON array or a line for the shell: RUN, CMD, ENTRYPOINT."""
    array = words.json_array(line.rest)
    if array is None:
        if not line.rest:
            raise BadSyntax(f"{line.keyword.upper()} needs a command", _USAGE[line.kind])
        return Instruction(line, [line.rest], False, given, [])
    if not array and line.kind == "run":
        raise BadSyntax("RUN needs a command, and the JSON array is empty", _USAGE["run"])
    return Instruction(line, array, True, given, [])


def _shell(line: Line, given: Flags, escape: str) -> Instruction:
    array = words.json_array(line.rest)
    if not array:
        raise BadSyntax("SHELL needs a JSON array", _USAGE["shell"])
    return Instruction(line, array, True, given, [])


def _paths(line: Line, given: Flags, escape: str) -> Instruction:
    """A JSON array or words between spaces: COPY, ADD, VOLUME."""
    array = words.json_array(line.rest)
    args = words.split(line.rest) if array is None else array
    made = Instruction(line, args, array is not None, given, [])
    if line.kind == "volume":
        if not args or not all(arg.strip() for arg in args):
            raise BadSyntax("VOLUME needs the path of a folder", _USAGE["volume"])
        return made._replace(args=[arg.strip() for arg in args])
    if len(args) < 2:
        raise BadSyntax(f"{line.keyword.upper()} needs a source and a destination", _USAGE[line.kind])
    if not made.json and _announces(args[-1]):
        raise BadSyntax(f"a heredoc cannot be where {line.keyword.upper()} copies to", _USAGE[line.kind])
    return made


def _announces(word: str) -> bool:
    return inline(word, []) is not None


def inline(word: str, heredocs: list[Heredoc]) -> Heredoc | None:
    """The here-document that a source of COPY or ADD names, with its content; None for a path."""
    try:
        named = heredoc(word)
    except ValueError:
        return None
    if named is None:
        return None
    return next((each for each in reversed(heredocs) if each.name == named.name), named)


def _pairs(line: Line, given: Flags, escape: str) -> Instruction:
    """Names and values: ENV, LABEL."""
    found = words.pairs(line.rest, line.keyword.upper(), escape)
    if not found:
        raise BadSyntax(f"{line.keyword.upper()} needs a name and a value", _USAGE[line.kind])
    if not all(pair.name for pair in found):
        raise BadSyntax(f"{line.keyword.upper()} has a value without a name", _USAGE[line.kind])
    return Instruction(line, [], False, given, found)


def _arg(line: Line, given: Flags, escape: str) -> Instruction:
    args = words.quoted_words(line.rest, escape)
    if not args:
        raise BadSyntax("ARG needs a name", _USAGE["arg"])
    if any(arg.startswith("=") for arg in args):
        raise BadSyntax("ARG has a value without a name", _USAGE["arg"])
    return Instruction(line, args, False, given, [])


def _from(line: Line, given: Flags, escape: str) -> Instruction:
    args = words.split(line.rest)
    if len(args) == 3 and args[1].lower() == "as":
        if not _STAGE_NAME.fullmatch(args[2].lower()):
            raise BadSyntax(
                f"`{args[2]}` cannot be the name of a stage",
                "expected a letter, then letters, digits, `-`, `_` and `.`",
            )
    elif len(args) != 1:
        raise BadSyntax("FROM takes one image, and a name for the stage behind `AS`", _USAGE["from"])
    return Instruction(line, args, False, given, [])


def _expose(line: Line, given: Flags, escape: str) -> Instruction:
    args = words.split(line.rest)
    if not args:
        raise BadSyntax("EXPOSE needs a port", _USAGE["expose"])
    return Instruction(line, args, False, given, [])


def _healthcheck(line: Line, given: Flags, escape: str) -> Instruction:
    found = _FIRST_WORD.match(line.rest)
    first = found[0] if found else ""
    behind = line.rest[len(first) :].strip(SPACES)
    mode = first.upper()
    if mode == "NONE":
        if behind:
            raise BadSyntax("HEALTHCHECK NONE takes no arguments", "write `HEALTHCHECK NONE`")
        if any(given):
            raise BadSyntax("HEALTHCHECK NONE takes no flags", "write `HEALTHCHECK NONE`")
        return Instruction(line, ["NONE"], False, given, [])
    if mode != "CMD":
        wrong = f", not `{first}`" if first else ""
        raise BadSyntax(f"HEALTHCHECK takes CMD and a command, or NONE{wrong}", _USAGE["healthcheck"])
    array = words.json_array(behind)
    if not (behind if array is None else array):
        raise BadSyntax("HEALTHCHECK CMD needs a command", _USAGE["healthcheck"])
    return Instruction(line, ["CMD", *([behind] if array is None else array)], array is not None, given, [])


def _onbuild(line: Line, given: Flags, escape: str) -> Instruction:
    inner = words.command(line.rest, escape)
    name = inner.keyword.upper()
    if not name:
        raise BadSyntax("ONBUILD needs an instruction", _USAGE["onbuild"])
    if name in ("ONBUILD", "FROM", "MAINTAINER"):
        raise BadSyntax(f"{name} cannot be a trigger of ONBUILD", "expected any other instruction")
    parse(Line(inner.keyword, inner.flags, inner.rest, line.rest, line.first, line.last, line.heredocs, []), escape)
    trigger = _ONBUILD.sub("", line.text, count=1)
    trigger += "".join(f"\n{each.content}{each.name}" for each in line.heredocs)
    return Instruction(line, [trigger], False, given, [])


_PARSERS: dict[str, Callable[[Line, Flags, str], Instruction]] = {
    "from": _from,
    "run": _command,
    "cmd": _command,
    "label": _pairs,
    "maintainer": _whole,
    "expose": _expose,
    "env": _pairs,
    "add": _paths,
    "copy": _paths,
    "entrypoint": _command,
    "volume": _paths,
    "user": _whole,
    "workdir": _whole,
    "arg": _arg,
    "onbuild": _onbuild,
    "stopsignal": _whole,
    "healthcheck": _healthcheck,
    "shell": _shell,
}

_USAGE = {
    "from": "as in `FROM debian:bookworm AS build`",
    "run": 'as in `RUN make install` or `RUN ["make", "install"]`',
    "cmd": 'as in `CMD ["server", "--port", "80"]`',
    "entrypoint": 'as in `ENTRYPOINT ["/entrypoint.sh"]`',
    "shell": 'as in `SHELL ["/bin/bash", "-o", "pipefail", "-c"]`',
    "label": 'as in `LABEL version="1.0"`',
    "env": 'as in `ENV NAME="value"`',
    "arg": "as in `ARG VERSION=1.2`",
    "maintainer": "as in `LABEL org.opencontainers.image.authors=…`, which replaces it",
    "expose": "as in `EXPOSE 80/tcp`",
    "copy": "as in `COPY src/ /app/src/`",
    "add": "as in `ADD app.tar.gz /app/`",
    "volume": 'as in `VOLUME ["/data"]`',
    "user": "as in `USER app:app`",
    "workdir": "as in `WORKDIR /app`",
    "onbuild": "as in `ONBUILD COPY . /app`",
    "stopsignal": "as in `STOPSIGNAL SIGQUIT`",
    "healthcheck": "as in `HEALTHCHECK --interval=5s CMD curl -f http://localhost/`",
}
