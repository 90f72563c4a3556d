"""What policies say of a plan. A policy that fails denies: what cannot be judged is not let through."""

from __future__ import annotations

from stackpy.dsl.policies import PlanView, ResourceView
from stackpy.errors import StackpyError
from stackpy.planning.plan import Verdict
from stackpy.planning.quantities import plural

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from stackpy.dsl.policies import Policy
    from stackpy.dsl.specs import StackSpec
    from stackpy.planning.plan import Observation, Plan
    from stackpy.problems import Location


def judged(plan: Plan, stack: StackSpec, observation: Observation) -> Plan:
    """The plan with the verdicts of the stack's policies, each once."""
    view = _view(plan, stack, observation)
    found = dict.fromkeys(verdict for policy in stack.policies for verdict in _verdicts(policy, view, stack.folder))
    return plan._replace(verdicts=tuple(found))


def refuse_denied(plan: Plan) -> None:
    """Raises StackpyError where a policy denies the plan."""
    denials = plan.denials
    if denials:
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(verdict.policy for verdict in denials))
        raise StackpyError(
            f"denied by {names}: {plural(len(denials), 'finding')}, and nothing was changed",
            hint="mend what the plan shows as denied, or have who answers for the policy change it",
        )


def _view(plan: Plan, stack: StackSpec, observation: Observation) -> PlanView:
    actions: dict[str, list[str]] = {}
    for change in plan.changes:
        actions.setdefault(change.address, []).append(change.action.word)
    resources = {
        address: ResourceView(address, spec.fields, tuple(actions.get(address, ())), spec.location)
        for address, spec in stack.resources.items()
    }
    for address, words in actions.items():
        if address not in resources:
            observed = observation.resources.get(address)
            fields = {} if observed is None else observed.live
            resources[address] = ResourceView(address, fields, tuple(words), None)
    return PlanView(stack.name, resources, stack.pins)


def _verdicts(policy: Policy, view: PlanView, folder: str) -> Iterable[Verdict]:
    where = policy.place
    try:
        findings: Any = policy(view)
        if findings is None:
            return
        for finding in [findings] if isinstance(findings, (str, tuple)) else list(findings):
            resource, text = finding if isinstance(finding, tuple) and len(finding) == 2 else (None, finding)
            if not isinstance(text, str) or not (resource is None or isinstance(resource, (ResourceView, str))):
                raise TypeError(f"a finding is a text, or a resource and a text, not {finding!r}")
            known = view.resources.get(resource) if isinstance(resource, str) else resource
            address = resource if isinstance(resource, str) else "" if resource is None else resource.address
            place = known.location if known is not None else None
            yield Verdict(policy.name, policy.level, address, text, _place(place, folder))
    except Exception as error:  # whatever a user's code may raise
        text = f"the policy itself failed: {type(error).__name__}: {error}"
        yield Verdict(
            policy.name, "deny", "", text, f"{_relative(where.file, folder)}:{_line(error, where.file) or where.line}"
        )


def _line(error: BaseException, file: str) -> int:
    """The last line of the policy's file that ran; 0 where its findings are what is wrong."""
    line, trace = 0, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == file:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _place(location: Location | None, folder: str) -> str:
    return "" if location is None else f"{_relative(location.file, folder)}:{location.line}"


def _relative(path: str, folder: str) -> str:
    return path.removeprefix(f"{folder}/")
