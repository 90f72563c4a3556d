"""`stackpy build` for images of the stack: those named, or all that are not built."""

from __future__ import annotations

from stackpy.cli import stacks
from stackpy.cli.build_results import Again, Reasons, deliver, on_failure, progress, verify
from stackpy.errors import StackpyError, UsageError
from stackpy.planning.targeting import Selection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.build_outputs import Output
    from stackpy.cli.context import Context, Planned
    from stackpy.dsl.specs import Spec, StackSpec


def build(context: Context, arguments: Any) -> int:
    """Builds them, and hands on, verifies and explains as the options say."""
    stack = context.load().stack
    known = [address for address in stack.resources if address.startswith("image.")]
    wanted = [_address(name, known) for name in arguments.image] or known
    if not wanted:
        raise StackpyError(f"the stack `{stack.name}` has no images", hint="declare one: Image.host(...), for example")
    from stackpy.engines.provisioning import image_key

    outputs = _outputs(arguments, stack.name, [stack.resources[address] for address in wanted])
    context.engine().on_failure = on_failure(context, arguments).get("on_failure", "")
    cache = _Cache(context, arguments, stack, wanted)
    with stacks.locked(context, stack.name, "build", arguments.lock_timeout):
        cache.take()
        reasons = Reasons()
        for address in wanted if arguments.explain else ():
            source = stack.resources[address].fields["source"]
            steps = context.engine().image_explain(source, key=image_key(stack.name, address), options={})
            reasons.expect(address, steps, titled=True)
        planned = _without_pushes(context.plan(Selection(targets=tuple(wanted))))
        planned.desired = planned.desired._replace(stack=stack._replace(cache_from=(), cache_to=()))  # `cache` carries
        with reasons:
            code = stacks.execute(context, planned, heard=reasons.heard)
        if code:
            return code
        cache.bring()
        if outputs:
            (spec,) = (stack.resources[address] for address in wanted)
            names = _names(stack.name, spec)
            deliver(context, arguments, names[0], outputs, names)
        return _verify(context, arguments, planned, wanted) if arguments.verify else 0


def _outputs(arguments: Any, stack: str, specs: list[Spec]) -> list[Output]:
    """The outputs of the one image that is built."""
    from stackpy.cli import build_outputs

    outputs = build_outputs.parse(arguments.output, push=arguments.push, load=arguments.load)
    if outputs and len(specs) > 1:
        hint = f"name one of {', '.join(f'`{spec.name}`' for spec in specs)}"
        raise UsageError(f"an output takes one image, and {len(specs)} are built", hint=hint)
    if any(each.names for each in outputs):
        raise UsageError("an image of a stack has the names that its stack file gives it", hint="leave `name=` out")
    if outputs:
        build_outputs.check(outputs, _names(stack, specs[0]))
    return outputs


def _names(stack: str, spec: Spec) -> list[str]:
    """What an image of the stack is called in the store."""
    from stackpy.dsl.references import image_tags

    source = spec.fields["source"]
    if source["base"]["kind"] == "image" and not source["steps"]:
        return [str(source["base"]["reference"])]
    return image_tags(stack, spec)


def _verify(context: Context, arguments: Any, planned: Planned, wanted: list[str]) -> int:
    from stackpy.engines import building

    images = []
    for address in wanted:
        source = planned.stack.resources[address].fields["source"]
        options = building.options(source, planned.stack, planned.project.secrets)
        images.append(Again(address, source, options))
    return verify(context, arguments, images)


def _without_pushes(planned: Planned) -> Planned:
    """What is published leaves this host when the stack is applied."""
    from stackpy.planning.plan import Action

    changes = tuple(change for change in planned.plan.changes if change.action is not Action.PUSH)
    generation = planned.plan.generation if changes or not planned.plan.changes else planned.plan.generation - 1
    planned.plan = planned.plan._replace(changes=changes, generation=generation)
    return planned


class _Cache:
    """The build caches of other hosts, for the images of a stack that are built: the options', else the settings'."""

    def __init__(self, context: Context, arguments: Any, stack: StackSpec, wanted: list[str]) -> None:
        from stackpy.cli.build_options import cache_places_of

        self._context, self._stack, self._wanted = context, stack, wanted
        self._from = cache_places_of("--cache-from", arguments.cache_from) or list(stack.cache_from)
        self._to = cache_places_of("--cache-to", arguments.cache_to) or list(stack.cache_to)

    def take(self) -> None:
        """Takes what others have built, before anything is planned."""
        if self._from:
            self._carry(self._from, [])

    def bring(self) -> None:
        """Brings along what is built."""
        if self._to:
            self._carry([], self._to)

    def _carry(self, take: list[str], bring: list[str]) -> None:
        from stackpy.dsl.references import image_tags
        from stackpy.engines.provisioning import BuildEvents

        with progress(self._context, "auto") as report:
            for address in self._wanted:
                spec = self._stack.resources[address]
                self._context.engine().image_cache(
                    spec.fields["source"],
                    take=take,
                    bring=bring,
                    name=image_tags(self._stack.name, spec)[0],
                    report=BuildEvents(address, report),
                )


def _address(name: str, known: list[str]) -> str:
    address = name if name.startswith("image.") else f"image.{name}"
    if address in known:
        return address
    from stackpy.dsl.values import meant

    names = [each.removeprefix("image.") for each in known]
    raise StackpyError(
        f"the stack has no image `{name}`",
        hint=meant(name, names, f"it has {', '.join(f'`{each}`' for each in names)}; a folder builds its Dockerfile"),
    )
