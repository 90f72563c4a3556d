"""The policies that stackpy.toml names: import paths → policies. Runs while the stack's folder is on sys.path."""

from __future__ import annotations

import sys

from stackpy.dsl.policies import Policy
from stackpy.dsl.values import meant
from stackpy.problems import Location, Problem
from stackpy.project.settings import FILE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType

    from stackpy.dsl.session import Session
    from stackpy.project.settings import Settings


def load_policies(settings: Settings, session: Session) -> None:
    """Adds the policies of [policies]; one that cannot be had is reported, since what is not judged is not safe."""
    for level, path in settings.policies:
        module_name, colon, name = path.partition(":")
        module = _module(module_name, path, settings, session)
        if module is None:
            continue
        known = {key: value for key, value in vars(module).items() if isinstance(value, Policy)}
        if colon and name not in known:
            where = f"there is `{', '.join(known)}`" if known else "@policy makes a policy of a function"
            session.report(_problem(settings, f"`{module_name}` has no policy `{name}`", meant(name, known, where)))
        elif not known:
            session.report(_problem(settings, f"`{module_name}` has no policies", "@policy makes one of a function"))
        else:
            chosen = [known[name]] if colon else list(known.values())
            session.policies += [one.at("warn" if level == "warn" else "deny") for one in chosen]


def _module(name: str, path: str, settings: Settings, session: Session) -> ModuleType | None:
    try:
        __import__(name)
        return sys.modules[name]
    except Exception as error:  # whatever a module's code may raise
        hint = f'as in "stackpy.policies:no_privileged_containers"; `{name}` is looked for beside the stack file too'
        session.report(_problem(settings, f"the policy `{path}` cannot be imported: {error}", hint))
        return None


def _problem(settings: Settings, message: str, hint: str) -> Problem:
    try:
        with open(settings.path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        lines = []
    line = next((number for number, text in enumerate(lines, 1) if "policies" in text.partition("#")[0]), 1)
    return Problem(f"{message} ([policies] in {FILE})", Location(settings.path, line), hint)
