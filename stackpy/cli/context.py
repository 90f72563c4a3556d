"""What a command works with: the global options, the stack of this folder, the engine. Everything is found lazily."""

from __future__ import annotations

import os

from stackpy.cli.terminal import note
from stackpy.cli.timing import Times
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any, Protocol

    from stackpy.cli.options import Globals
    from stackpy.dsl.policies import Policy
    from stackpy.dsl.specs import StackSpec
    from stackpy.engines.base import StackEngine
    from stackpy.engines.base_containers import ContainerEngine
    from stackpy.engines.base_images import ImageEngine
    from stackpy.engines.embedded_executions import EmbeddedExecutions
    from stackpy.planning.plan import Desired, Observation, Plan
    from stackpy.planning.targeting import Selection
    from stackpy.project.loader import Loaded

    class Engine(StackEngine, ContainerEngine, ImageEngine, Protocol):
        """An engine that both stacks and single containers can be asked of."""


class Planned:
    """A plan with what it was made from, which carrying it out needs."""

    def __init__(self, plan: Plan, desired: Desired, project: Loaded, observation: Observation) -> None:
        self.plan, self.desired, self.project, self.observation = plan, desired, project, observation

    @property
    def stack(self) -> StackSpec:
        """The stack that it is a plan of."""
        return self.desired.stack

    def attributed(self) -> Plan:
        """The plan with the user's lines and components, which only some forms show."""
        from stackpy.planning.attribution import attributed
        from stackpy.project.locating import Locator

        return attributed(self.plan, self.desired, Locator({}).written)


class Context:
    """The surroundings of one command."""

    def __init__(self, given: Globals) -> None:
        self.globals = given
        self.verb = ""  # of the command that runs
        self.times = Times()
        self.plain = False  # progress is a line each, also on a terminal
        self.read_only = False  # the engine is opened so that nothing can be changed through it
        self._engine: Engine | None = None
        self._project: Loaded | None = None
        self._stack_name: str | None = None
        self._guess = ""  # what that name was taken from though the stack file has mistakes: settings applied folder
        self._mistakes: StackpyError | None = None

    @property
    def json(self) -> bool:
        """Whether the answer is a JSON document."""
        return self.globals.format == "json"

    def load(self) -> Loaded:
        """The stack of this folder; raises StackFileError with all that is wrong in its file."""
        if self._project is None:
            with self.times("load"):
                self._project = self.reload()
        return self._project

    def reload(self) -> Loaded:
        """The same, read anew."""
        from stackpy.project.loader import load

        given = self.globals
        return load(
            given.file or None,
            environment=given.environment or None,
            sets=_pairs(given.sets),
            outputs_of=self.outputs_of,
        )

    def load_from(self, folder: str, name: str) -> Loaded:
        """The stack of another folder; `name` is its name unless it gives itself one."""
        from stackpy.project.loader import load

        given = self.globals
        return load(
            folder=folder,
            environment=given.environment or None,
            sets=_pairs(given.sets),
            name=name,
            outputs_of=self.outputs_of,
        )

    def outputs_of(self, stack: str) -> tuple[int, Mapping[str, Any]] | None:
        """The generation and the outputs of another stack of the engine; None where it is not applied."""
        from stackpy.engines import connect

        # not self.engine(), which would be made before the settings are known
        recorded = connect(self.globals.engine or None, self.globals.root or None).recorded(stack)
        if recorded is None or recorded.get("outcome") == "destroyed":
            return None
        return int(recorded.get("generation", 0)), recorded.get("outputs", {})

    def engine(self) -> Engine:
        """The engine that --engine, --root, STACKPY_ROOT and stackpy.toml name."""
        if self._engine is None:
            from stackpy.engines import connect

            self._engine = connect(self._url(), self.globals.root or None, read_only=self.read_only, waiting=note)
            if self._project is not None and self._project.settings.cache_keep is not None:
                self._engine.cache_keep = self._project.settings.cache_keep
            if self._project is not None and self._project.settings.generations_keep is not None:
                self._engine.generations_keep = self._project.settings.generations_keep
        return self._engine

    def executions(self) -> EmbeddedExecutions:
        """The same engine, for a process in a container: the least of it to load."""
        from stackpy.engines import connect_to_execute

        return connect_to_execute(self._url(), self.globals.root or None, waiting=note)

    def _url(self) -> str | None:
        return self.globals.engine or (self._project.settings.engine if self._project else None)

    def plan(self, selection: Selection | None = None) -> Planned:
        """What apply would change now; touches nothing."""
        from stackpy.planning.comparison import diff
        from stackpy.planning.weighing import weighed

        project = self.load()
        engine = self.engine()
        with self.times("resolve"):
            desired = engine.resolve(project.stack, project.secrets)
        with self.times("observe"):
            observation = engine.observe(project.stack.name)
        with self.times("diff"):
            plan = diff(desired, observation, selection)
        if plan.changes:
            from stackpy.engines.completing import completed

            plan = completed(plan, project.stack.resources, engine)
        if observation.generation:
            from stackpy.engines.completing import with_outputs

            with self.times("outputs"):
                plan = with_outputs(plan, project.stack, engine, observation.generation)
        plan = weighed(plan, project.stack, observation, engine.took)
        return Planned(plan, desired, project, observation)

    def destruction(self, selection: Selection | None = None) -> Planned:
        """What destroy would remove now; touches nothing."""
        from stackpy.dsl.specs import StackSpec
        from stackpy.planning.destroy import destroy_plan
        from stackpy.planning.plan import Desired
        from stackpy.planning.weighing import weighed

        project, engine = self.load(), self.engine()
        observation = engine.observe(project.stack.name)
        nothing = StackSpec(
            project.stack.name, {}, project.stack.outputs, project.stack.folder, policies=project.stack.policies
        )
        plan = weighed(destroy_plan(observation, selection=selection), nothing, observation, engine.took)
        return Planned(plan, Desired(nothing, {}, {}), project, observation)

    def policies(self) -> tuple[Policy, ...]:
        """The policies of the stack of this folder; none where its file cannot be loaded, or was not."""
        return () if self._project is None else self._project.stack.policies

    def refreshed(self) -> Planned:
        """What is otherwise than the last apply left it; touches nothing."""
        from stackpy.planning.plan import Desired
        from stackpy.planning.refreshing import since_last_apply

        project = self.load()
        engine = self.engine()
        observation = engine.observe(project.stack.name)
        before = (engine.recorded(project.stack.name) or {}).get("resources", ())
        plan = since_last_apply(observation, project.stack, before)
        return Planned(plan, Desired(project.stack, {}, {}), project, observation)

    def stack_name(self) -> str:
        """The name of the stack in this folder, or "" where there is none.

        A stack file with mistakes must not stand between its user and the logs: then it is the name that the settings
        give, else the stack that was applied from this folder, else what the folder is called.
        """
        if self._stack_name is None:
            self._stack_name = self._find_name()
        return self._stack_name

    def known_name(self) -> str:
        """The same for commands that remove; raises StackFileError where the name would be no more than a guess.

        Somebody else's stack may be called as this folder is, and a slip in `-e` must not mean another stack.
        """
        name = self.stack_name()
        if self._guess == "folder" and self._mistakes is not None:
            note("the name of the stack is not known (`--stack NAME` needs no stack file):")
            raise self._mistakes
        return name

    def guess_text(self) -> str:
        """Which name is taken since the stack file has mistakes; "" where it has none."""
        name = self.stack_name()
        why = {
            "settings": f"`{name}`, as the settings say,",
            "applied": f"`{name}`, which was applied from this folder,",
            "folder": f"`{name}`, as its folder is called,",
        }.get(self._guess)
        return f"the stack file has mistakes: {why} is taken for the stack's name" if why else ""

    def _find_name(self) -> str:
        from stackpy.errors import StackFileError

        if not self.globals.file and not any(os.path.exists(name) for name in ("stack.py", "stackpy.toml")):
            return ""
        try:
            return self.load().stack.name
        except StackFileError as error:
            self._mistakes = error
            return self._guessed()
        except StackpyError:
            return ""  # stackpy.toml names a file that is not there

    def _guessed(self) -> str:
        from stackpy.dsl.values import normal_stack_name
        from stackpy.errors import StackFileError
        from stackpy.project.settings import settings

        given = self.globals
        folder = os.path.dirname(os.path.abspath(given.file or "stack.py"))
        self._guess = "folder"
        try:
            named = settings(folder, given.environment or None).name
        except StackFileError:
            return normal_stack_name(os.path.basename(folder))
        if named:
            self._guess = "settings"
            return named
        # Another environment, value or file may mean another stack.
        alike = not (given.environment or given.sets or given.file)
        applied = self.engine().applied_from(folder) if alike else []
        if len(applied) == 1:
            self._guess = "applied"
            return applied[0]
        return normal_stack_name(os.path.basename(folder))


def _pairs(sets: Iterable[str]) -> dict[str, str]:
    """`--set KEY=VALUE`, the last of a key counting; raises UsageError for another form."""
    found = {}
    for text in sets:
        key, equals, value = text.partition("=")
        if not key or not equals:
            raise UsageError(f"`--set {text}`: expected KEY=VALUE", hint="as in `--set replicas=3`")
        found[key] = value
    return found
