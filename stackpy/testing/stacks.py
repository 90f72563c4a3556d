"""A stack as a test sees it, and what a plan of it would do."""

from __future__ import annotations

import os
import sys

from stackpy.errors import StackFileError
from stackpy.planning.comparison import diff
from stackpy.planning.destroy import destroy_plan
from stackpy.planning.targeting import Selection
from stackpy.testing import imagined

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from stackpy.dsl.specs import Spec, StackSpec
    from stackpy.planning.plan import Change, Plan, Verdict

_ENGINE = "imagined"


class Resource:
    """A resource that a stack declares: `stack["container.web"]`.

    fields: normalised, under Compose's names, only what the stack file sets: sizes in bytes, times in seconds
    depends_on: address → condition
    """

    def __init__(self, spec: Spec) -> None:
        self.address, self.kind, self.name, self.fields = spec.address, spec.kind, spec.name, spec.fields
        self.depends_on = {each.address: each.condition for each in spec.dependencies}
        self.file, self.line = spec.location.file, spec.location.line

    def __getitem__(self, field: str) -> Any:
        if field not in self.fields:
            known = ", ".join(self.fields) or "no fields"
            raise KeyError(f"{self.address} does not set `{field}`; it sets {known}")
        return self.fields[field]

    def get(self, field: str, default: Any = None) -> Any:
        """A field's value, or `default` where the stack file does not set it."""
        return self.fields.get(field, default)

    def __contains__(self, field: str) -> bool:
        return field in self.fields

    def __repr__(self) -> str:
        return f"<{self.address} at {os.path.basename(self.file)}:{self.line}>"


class PlanOutcome:
    """What a plan would do.

    actions: address → words of what is done to it, in order: {"container.web": ["replace"]}
    changes: the changes themselves; notes: what people are told; verdicts: of policies
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.changes: tuple[Change, ...] = plan.changes
        self.notes: tuple[str, ...] = plan.notes
        self.verdicts: tuple[Verdict, ...] = plan.verdicts
        self.actions: dict[str, list[str]] = {}
        for change in plan.changes:
            self.actions.setdefault(change.address, []).append(change.action.word)

    def doing(self, action: str) -> list[str]:
        """The addresses to which it does this: `plan.doing("replace")`."""
        return [address for address, words in self.actions.items() if action in words]

    def reasons(self, address: str) -> list[str]:
        """Why something is done to a resource, a line each."""
        return [reason.text for change in self.changes if change.address == address for reason in change.reasons]

    @property
    def denied(self) -> list[str]:
        """What policies deny, a line each."""
        return [
            f"{verdict.policy}: {f'{verdict.address} ' if verdict.address else ''}{verdict.text}"
            for verdict in self._plan.denials
        ]

    @property
    def text(self) -> str:
        """As `stackpy plan` prints it."""
        from stackpy.render.plan_text import plan_text

        return plan_text(self._plan)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __repr__(self) -> str:
        return f"<plan {self.actions}>"


class DeclaredStack:
    """A stack that was loaded. Indexing gives a resource, iterating the addresses."""

    def __init__(self, spec: StackSpec) -> None:
        self._spec = spec
        self.name = spec.name
        self.outputs: Mapping[str, Any] = spec.outputs

    def __getitem__(self, address: str) -> Resource:
        spec = self._spec.resources.get(address)
        if spec is None:
            raise KeyError(f"no `{address}` in stack {self.name}; it has {', '.join(self._spec.resources)}")
        return Resource(spec)

    def __contains__(self, address: str) -> bool:
        return address in self._spec.resources

    def __iter__(self) -> Iterator[str]:
        return iter(self._spec.resources)

    def __len__(self) -> int:
        return len(self._spec.resources)

    def of_kind(self, kind: str) -> list[Resource]:
        """The resources of a kind: "container", "job", "image", "network", "volume", "secret"."""
        return [Resource(spec) for spec in self._spec.resources.values() if spec.kind == kind]

    def plan(
        self,
        *,
        after: DeclaredStack | None = None,
        target: Sequence[str] = (),
        exclude: Sequence[str] = (),
        replace: Sequence[str] = (),
    ) -> PlanOutcome:
        """What an apply would do.

        after: the stack as it was applied before, and runs; None: it was never applied
        target, exclude, replace: as the options of `stackpy plan`
        """
        wanted = imagined.desired(self._spec)
        before = imagined.nothing(self.name, _ENGINE)
        if after is not None:
            before = imagined.applied(imagined.desired(after._spec), _ENGINE)._replace(stack=self.name)
        plan = diff(wanted, before, Selection(tuple(target), tuple(exclude), tuple(replace)))
        return PlanOutcome(self._judged(plan, before))

    def destruction(self, *, volumes: bool = False) -> PlanOutcome:
        """What `stackpy destroy` would do to the stack, were it applied."""
        before = imagined.applied(imagined.desired(self._spec), _ENGINE)
        return PlanOutcome(self._judged(destroy_plan(before, volumes=volumes), before))

    def _judged(self, plan: Plan, before: Any) -> Plan:
        from stackpy.planning.judging import judged

        return judged(plan, self._spec, before)

    def __repr__(self) -> str:
        return f"<stack {self.name}: {', '.join(self._spec.resources)}>"


def load_stack(
    path: str = "",
    *,
    environment: str = "",
    sets: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
) -> DeclaredStack:
    """The stack of a folder or a file.

    path: without it, the stack.py or stackpy.toml nearest to the file that calls, upwards
    environment: of stackpy.toml, as `-e`; sets: values of variables, as `--set`
    env: variables of the environment while it loads, besides those that are there
    Raises StackFileError with all that is wrong in the stack file.
    """
    from stackpy.project.loader import load

    place = os.path.abspath(path) if path else _nearest(sys._getframe(1).f_code.co_filename)
    before = {name: os.environ.get(name) for name in env or ()}
    os.environ.update(env or {})
    try:
        loaded = load(
            place,
            environment=environment or None,
            sets={name: _text(value) for name, value in (sets or {}).items()},
        )
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
    return DeclaredStack(loaded.stack)


def problems_of(path: str = "", **options: Any) -> list[str]:
    """The messages of all that is wrong with a stack file, [] where nothing is; arguments as of load_stack."""
    place = path or _nearest(sys._getframe(1).f_code.co_filename)
    try:
        load_stack(place, **options)
    except StackFileError as error:
        return [problem.message for problem in error.problems]
    return []


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _nearest(file: str) -> str:
    """The folder of the stack that a test belongs to."""
    folder = os.path.dirname(os.path.abspath(file))
    while True:
        if any(os.path.exists(os.path.join(folder, name)) for name in ("stack.py", "stackpy.toml")):
            return folder
        above = os.path.dirname(folder)
        if above == folder:
            raise FileNotFoundError(f"no stack.py beside {file} or above it: give load_stack its path")
        folder = above
