"""Changes of images, networks, volumes and secrets."""

from __future__ import annotations

from stackpy.dsl.references import image_tags
from stackpy.dsl.specs import engine_name
from stackpy.engines import labels
from stackpy.engines.events import Event
from stackpy.engines.facade import Missing, at_once
from stackpy.engines.translation import resource_labels
from stackpy.errors import StackpyError
from stackpy.planning import hiding
from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy.dsl.specs import Kind, Spec
    from stackpy.engines.base import SecretValues
    from stackpy.engines.events import Report
    from stackpy.engines.facade import Document, Facade
    from stackpy.planning.plan import Change, Desired, Plan, Recipe


def build(
    engine: Facade, change: Change, desired: Desired, secrets: SecretValues, report: Report, on_failure: str
) -> str:
    """Builds an image that is not in the store, or names one that is; returns its ID.

    on_failure: see StackEngine
    """
    from stackpy.engines import building

    spec = desired.stack.resources[change.address]
    recipe = desired.recipes[change.address]
    image = engine.build(
        spec.fields["source"],
        recipe_document(recipe),
        key=image_key(desired.stack.name, change.address),
        tags=image_tags(desired.stack.name, spec),
        labels={},
        progress=BuildEvents(change.address, report, desired.stack.hidden),
        options={
            **building.options(spec.fields["source"], desired.stack, secrets),
            "on_failure": on_failure,
            "cache_from": list(desired.stack.cache_from),
            "cache_to": list(desired.stack.cache_to),
        },
    )
    return str(image["id"])


def pull(engine: Facade, change: Change, desired: Desired, report: Report) -> None:
    """Fetches an image that another stands on, or that is used as it comes; the one that the plan was made with."""
    wanted = next(each for each in desired.pulls[change.address] if each.shown == change.note)
    events = TransferEvents(change.address, report)
    engine.pull(
        wanted.reference,
        platform=wanted.platform,
        digest=wanted.digest,
        policy="missing",
        base=True,
        progress=events,
    )


def push(engine: Facade, change: Change, image: str, report: Report) -> None:
    """Gives an image to the registry that the change's note names."""
    engine.push(image, change.note, progress=TransferEvents(change.address, report))


def rename_image(engine: Facade, change: Change, desired: Desired, image: str) -> None:
    """Has the stack's names of an image mean one that is there."""
    for tag in image_tags(desired.stack.name, desired.stack.resources[change.address]):
        engine.tag(image, tag)


def image_key(stack: str, address: str) -> str:
    """The name under which the engine remembers what an image was last built from."""
    return f"{stack}/{address}"


def recipe_document(recipe: Recipe) -> dict[str, Any]:
    """A recipe as the engine's document."""
    steps = [{**step._asdict(), "inputs": dict(step.inputs)} for step in recipe.steps]
    stages = {name: recipe_document(stage) for name, stage in recipe.stages.items()}
    return {"id": recipe.id, "steps": steps, **({"stages": stages} if stages else {})}


class BuildEvents:
    """Turns the engine's progress into events; output comes in pieces and leaves in lines."""

    def __init__(self, address: str, report: Report, hidden: tuple[str, ...] = ()) -> None:
        self.address, self.report, self.hidden, self.rest = address, report, hidden, ""

    def __call__(self, progress: Document) -> None:
        text = str(progress["text"])
        if progress["kind"] == "step":
            self._flush()
            place = (progress.get("step", 0), progress.get("steps", 0), progress.get("cached", False))
            self.report(Event(self.address, "step", hiding.step(text, self.hidden), *place))
        elif progress["kind"] == "output":
            *lines, self.rest = (self.rest + text).split("\n")
            for line in lines:
                self._line(line)
        else:
            self._line(text)

    def _flush(self) -> None:
        if self.rest:
            self._line(self.rest)
            self.rest = ""

    def _line(self, line: str) -> None:
        # of a line that was drawn over again and again, as progress bars do, the last state counts
        shown = line.rstrip("\r").rpartition("\r")[2]
        if shown.strip():
            self.report(Event(self.address, "output", shown))


class TransferEvents:
    """Turns the progress of a pull or a push into events."""

    def __init__(self, address: str, report: Report) -> None:
        self.address, self.report = address, report

    def __call__(self, progress: Document) -> None:
        text = str(progress["text"])
        if "total" not in progress:
            self.report(Event(self.address, "output", text))
            return
        done, total = int(progress["done"]), int(progress["total"])
        whole = f"{total / 1e6:.1f} MB"
        if done < total:
            self.report(Event(self.address, "transfer", f"{text}: {done / 1e6:.1f} of {whole}"))
        else:
            self.report(Event(self.address, "output", f"{text}: {whole}"))


def expected(plan: Plan) -> tuple[int, list[str]]:
    """How many containers a plan starts, and the engine's names of the networks that it removes."""
    starting = (Action.CREATE, Action.REPLACE, Action.START, Action.RUN)
    starts = sum(
        max(1, len(change.replicas))
        for change in plan.changes
        if change.action in starting and change.address.startswith(("container.", "job."))
    )
    leaving = [
        change.address.removeprefix("network.")
        for change in plan.changes
        if change.action is Action.DELETE and change.address.startswith("network.")
    ]
    return starts, [engine_name(plan.stack, "network", name) for name in leaving]


def network(engine: Facade, change: Change, desired: Desired, generation: int) -> None:
    """Creates, relabels, replaces or removes a network."""
    name, present = _named(engine.network, change, desired.stack.name)
    if change.action is Action.DELETE:
        if present is not None:
            _gone(lambda: engine.remove_network(name))
        return
    spec = desired.stack.resources[change.address]
    if present is not None and change.action is Action.REPLACE:
        _clear(engine, desired.stack.name, name)
        _gone(lambda: engine.remove_network(name))
        present = None
    given = resource_labels(desired.stack.name, spec, generation)
    if present is not None:
        if change.action is Action.CREATE:
            engine.restore_network(name)
        engine.label_network(name, given)
        return
    config: dict[str, Any] = {key: spec.fields[key] for key in ("internal", "subnet") if key in spec.fields}
    engine.create_network({**config, "name": name, "labels": given})


def volume(engine: Facade, change: Change, desired: Desired, generation: int) -> None:
    """Creates, relabels or removes a volume."""
    name, present = _named(engine.volume, change, desired.stack.name)
    if change.action is Action.DELETE:
        if present is not None:
            _gone(lambda: engine.remove_volume(name))
        return
    if change.action is Action.REPLACE:
        raise StackpyError(f"volume `{name}` is never replaced, since its data would be lost")
    spec = desired.stack.resources[change.address]
    given = resource_labels(desired.stack.name, spec, generation)
    if present is not None:
        if change.action is Action.CREATE:
            engine.restore_volume(name)
        engine.label_volume(name, given)
    else:
        engine.create_volume(name, given)


def secret(engine: Facade, change: Change, desired: Desired, secrets: SecretValues, generation: int) -> None:
    """Gives the engine a secret's value, or takes it away."""

    def find(wanted: str) -> Document:
        for document in engine.secrets():
            if document["name"] == wanted:
                return document
        raise Missing(f"no such secret: `{wanted}`")

    name, present = _named(find, change, desired.stack.name)
    if change.action is Action.DELETE:
        if present is not None:
            _gone(lambda: engine.remove_secret(name))
        return
    spec = desired.stack.resources[change.address]
    value = secrets.get(spec.name)
    if value is None:
        if present is not None and present["available"]:
            return  # held already
        why, remedy = missing_source(spec)
        raise StackpyError(f"secret `{spec.name}` has no value: {why}", hint=remedy)
    engine.put_secret(name, value, resource_labels(desired.stack.name, spec, generation))


def missing_source(spec: Spec) -> tuple[str, str]:
    """Why a secret has no value now, and what to do."""
    source = spec.fields["source"]
    if "env" in source:
        remedy = f"set {source['env']}; under sudo: `sudo --preserve-env={source['env']} stackpy …`"
        return f"environment variable `{source['env']}` is not set", remedy
    if "file" in source:
        return f"`{source['file']}` cannot be read", "write the value into that file"
    return f"`{' '.join(source['command'])}` gave none", "run it by hand to see why"


def _named(find: Callable[[str], Document], change: Change, stack: str) -> tuple[str, Document | None]:
    """The engine's name of the resource, and what is there under it; that must be the stack's own."""
    kind, _, resource = change.address.partition(".")
    known: dict[str, Kind] = {"network": "network", "volume": "volume", "secret": "secret"}
    name = engine_name(stack, known[kind], resource)
    try:
        present = find(name)
    except Missing:
        return name, None
    if present["name"] != name:
        return name, None  # found by its ID
    owner = present["labels"].get(labels.STACK, "")
    if owner != stack:
        whose = f"belongs to stack `{owner}`" if owner else f"is not stack `{stack}`'s"
        hint = f"give the {kind} or one of the stacks another name"
        if not owner and kind != "secret":
            hint = f"`stackpy adopt {change.address} {name}` takes it into the stack"
        raise StackpyError(f"{kind} `{name}` {whose}", hint=hint)
    return name, present


def _clear(engine: Facade, stack: str, network_name: str) -> None:
    """Removes the stack's containers that are on a network; each has a change of its own that makes it again.

    A job that is over stays: it holds no address any more, and without it the next plan would run the job again.
    """

    def remover(document: Document) -> Callable[[], None]:
        return lambda: _gone(lambda: engine.down(document["id"]))

    inside = [
        each
        for each in engine.containers(stack)
        if network_name in each["config"].get("networks", {})
        and not (each["state"]["status"] == "exited" and each["config"]["labels"][labels.RESOURCE].startswith("job."))
    ]
    at_once([remover(document) for document in inside])


def _gone(remove: Callable[[], None]) -> None:
    try:
        remove()
    except Missing:
        pass  # somebody else removed it, which is what was wanted
