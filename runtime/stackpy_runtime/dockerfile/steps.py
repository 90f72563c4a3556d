"""From one instruction of a stage to the step of a recipe, with the values of its variables."""

from __future__ import annotations

import re

from stackpy_runtime.dockerfile import copying, names, quantities, running
from stackpy_runtime.dockerfile.checks import is_secret
from stackpy_runtime.dockerfile.problems import meant
from stackpy_runtime.dockerfile.words import BadSyntax

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy_runtime.dockerfile.lines import Line
    from stackpy_runtime.dockerfile.making import Make
    from stackpy_runtime.model import Healthcheck, Step

_MILLISECOND = 10**6


def step(make: Make, place: str) -> Step | None:
    """The step of an instruction, whose effect on later ones is in its scope then; None for ARG. Raises BadSyntax.

    place: where it stands, "Dockerfile:12"
    """
    instruction = make.instruction
    made = _MAKERS[instruction.kind](make)
    if made is None:
        return None
    result: Any = {"instruction": instruction.kind, "text": _shown(instruction.line), "line": place, **made}
    return result  # type: ignore[no-any-return]


def _shown(line: Line) -> str:
    """An instruction on one line, for people: without the indentation of continued lines, with a script's beginning."""
    text = " ".join(line.text.split())
    script = line.heredocs[0].content.strip() if line.kind == "run" and line.heredocs else ""
    if not script:
        return text
    first, newline, _ = script.partition("\n")
    return f"{text} ({' '.join(first.split())}{' …' if newline else ''})"


def _env(make: Make) -> dict[str, Any]:
    values = _pairs(make)
    for name in values:
        if is_secret(name):
            make.warn("SecretsUsedInArgOrEnv", "ENV", name)
    make.scope.set_image(values)
    return {"values": values}


def _label(make: Make) -> dict[str, Any]:
    return {"values": _pairs(make)}


def _pairs(make: Make) -> dict[str, str]:
    """All of an instruction's values see the variables as they were before it."""
    for pair in make.instruction.pairs:
        if pair.legacy:
            make.warn("LegacyKeyValueFormat", make.instruction.line.keyword.upper())
    values = {make.word(pair.name): make.word(pair.value) for pair in make.instruction.pairs}
    if "" in values:
        raise BadSyntax(f"a name of {make.instruction.line.keyword.upper()} is empty", "its variables have no value")
    return values


def _arg(make: Make) -> None:
    for word in make.instruction.args:
        name, equals, default = word.partition("=")
        if is_secret(name):
            make.warn("SecretsUsedInArgOrEnv", "ARG", name)
        value: str | None = make.build.arguments.get(name)
        if value is None and equals:
            value = make.word(default)
        elif value is None:
            value = make.build.shared.get(name)
        make.scope.declare(name, value)


def _workdir(make: Make) -> dict[str, Any]:
    folder = make.word(make.instruction.args[0])
    if not folder:
        raise BadSyntax("the folder of WORKDIR is empty", "its variables have no value")
    if not make.scope.workdir_set and not folder.startswith("/"):
        make.warn("WorkdirRelativePath", folder)
    make.scope.enter(folder)
    return {"target": folder}


def _user(make: Make) -> dict[str, Any]:
    return {"value": make.word(make.instruction.args[0])}


def _expose(make: Make) -> dict[str, Any]:
    found: list[str] = []
    for word in make.instruction.args:
        for each in make.scope.words(word, make.instruction):
            named = names.ports(each)
            if named.mapped:
                make.warn("ExposeInvalidFormat", each)
            if named.cased:
                make.warn("ExposeProtoCasing", each)
            found += named.ports
    return {"ports": list(dict.fromkeys(found))}


def _volume(make: Make) -> dict[str, Any]:
    targets = [make.word(word) for word in make.instruction.args]
    if not all(targets):
        raise BadSyntax("a folder of VOLUME is empty", "its variables have no value")
    return {"targets": targets}


def _program(make: Make) -> dict[str, Any]:
    instruction, scope = make.instruction, make.scope
    if instruction.json:
        return {"argv": instruction.args}
    if not scope.shell:
        make.warn("JSONArgsRecommended", instruction.line.keyword.upper())
    return {"argv": scope.command(instruction.args[0])}


def _shell(make: Make) -> dict[str, Any]:
    make.scope.shell = list(make.instruction.args)
    return {"argv": make.instruction.args}


def _healthcheck(make: Make) -> dict[str, Any]:
    mode, *command = make.instruction.args
    if mode == "NONE":
        return {"healthcheck": {"Test": ["NONE"]}}
    check: Healthcheck = {"Test": ["CMD" if make.instruction.json else "CMD-SHELL", *command]}
    given: Any = check
    keys = {
        "interval": "Interval",
        "timeout": "Timeout",
        "start-period": "StartPeriod",
        "start-interval": "StartInterval",
    }
    for flag, value in make.instruction.flags.texts.items():
        if flag == "retries":
            if not re.fullmatch(r"\+?\d{1,9}", value, re.ASCII):
                raise BadSyntax(f"`--retries` cannot be `{value}`", "expected a number")
            found: int | None = int(value)
        else:
            found = quantities.nanoseconds(value) if value else 0
            if found is None or found < 0 or 0 < found < _MILLISECOND:
                raise BadSyntax(f"`--{flag}` cannot be `{value}`", "expected a duration such as `30s` or `1m30s`")
        if found:
            given[keys.get(flag, "Retries")] = found
    return {"healthcheck": check}


def _stopsignal(make: Make) -> dict[str, Any]:
    value = make.word(make.instruction.args[0])
    if not names.is_signal(value):
        known = [f"SIG{name}" for name in names.SIGNALS]
        hint = meant(value, known)
        raise BadSyntax(f"`{value}` is no signal", hint if hint.startswith("did") else "as in `STOPSIGNAL SIGQUIT`")
    return {"value": value}


def _onbuild(make: Make) -> dict[str, Any]:
    return {"value": make.instruction.args[0]}


def _maintainer(make: Make) -> dict[str, Any]:
    make.warn("MaintainerDeprecated")
    return {"value": make.instruction.args[0]}


_MAKERS: dict[str, Callable[[Make], dict[str, Any] | None]] = {
    "run": running.run,
    "copy": copying.copy,
    "add": copying.copy,
    "env": _env,
    "label": _label,
    "arg": _arg,
    "workdir": _workdir,
    "user": _user,
    "expose": _expose,
    "volume": _volume,
    "cmd": _program,
    "entrypoint": _program,
    "shell": _shell,
    "healthcheck": _healthcheck,
    "stopsignal": _stopsignal,
    "onbuild": _onbuild,
    "maintainer": _maintainer,
}
