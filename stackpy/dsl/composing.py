"""What of a stack is made of its parts: components, outputs of other stacks, values that are known after the apply."""

from __future__ import annotations

from stackpy.dsl.deferred import has_marker, markers
from stackpy.dsl.session import Place
from stackpy.dsl.specs import ComponentSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.dsl.deferred import Wanted
    from stackpy.dsl.session import Session
    from stackpy.dsl.specs import Spec, StackSpec


def composed(session: Session, stack: StackSpec) -> StackSpec:
    """The stack with its components and with what it reads of others; what cannot be is reported."""
    if session.defers:
        _report_deferred(session, stack)
    components = {
        one.name: ComponentSpec(one.kind, one.doc, tuple(child.address for child in one.children))
        for one in session.components
    }
    return stack._replace(references=dict(session.references), components=components)


def _report_deferred(session: Session, stack: StackSpec) -> None:
    """What is known only after the apply cannot decide what is applied, and must be of something that is there."""
    calls = {f"{one.kind}.{one.name}": one.call for one in session.declarations}
    for address, spec in stack.resources.items():
        for field, value in spec.fields.items() if address in calls else ():
            if has_marker(value):
                Place(calls[address], address, (field,)).report(
                    f"`{field}` of {address} holds a value that is known only after the apply",
                    "only outputs may; containers find each other by name on their networks",
                )
    for name, value in stack.outputs.items():
        for wanted in markers(value):
            other = stack.resources.get(wanted.address)
            why = "" if other is None else _not_there(wanted, other)
            if why:
                place = Place(session.outputs[name][1], f"output `{name}`", ("value",))
                place.report(f"output `{name}`: {wanted.address} {why}")


def _not_there(wanted: Wanted, spec: Spec) -> str:
    """Why a container will not have what an output waits for; "" where it will."""
    if wanted.replica > int(spec.fields.get("replicas", 1)):
        return f"has no replica {wanted.replica}"
    if wanted.what == "port":
        known = [f"{port['target']}/{port['protocol']}" for port in spec.fields.get("ports", ())]
        told = f"it publishes {', '.join(known)}" if known else "it publishes none"
        return "" if wanted.argument in known else f"does not publish port {wanted.argument}: {told}"
    networks = spec.fields.get("networks") or {}
    told = f"it is on {', '.join(networks)}" if networks else "it is on none"
    return "" if wanted.argument in networks else f"is not on network `{wanted.argument}`: {told}"
