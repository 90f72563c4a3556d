"""Our own engine behind the port. The only file that imports stackpy_runtime; its errors end here."""

from __future__ import annotations

import os

from stackpy.engines.border import Border
from stackpy.engines.embedded_containers import EmbeddedContainers
from stackpy.engines.embedded_executions import EmbeddedExecutions
from stackpy.engines.embedded_generations import EmbeddedGenerations
from stackpy.engines.embedded_images import EmbeddedImages
from stackpy.engines.embedded_networks import EmbeddedNetworks
from stackpy.engines.facade import NoRights
from stackpy.errors import StackFileError, StackpyError

# `run` and `exec` come through here too: what only stacks need is imported where they need it.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from stackpy.dsl.deferred import Wanted
    from stackpy.dsl.specs import Condition, Spec, StackSpec
    from stackpy.engines.base import SecretValues
    from stackpy.engines.events import Report
    from stackpy.engines.facade import Facade
    from stackpy.engines.from_running import Written
    from stackpy.engines.stacklock import StackLock
    from stackpy.planning.plan import Change, Data, Desired, Observation, Plan, Pull, Recipe
    from stackpy.problems import Problem
    from stackpy_runtime.engine import Engine
    from stackpy_runtime.execution_verbs import ExecutionVerbs

    Document = dict[str, Any]

LITTLE = 1 << 20  # bytes: what every container writes, into caches and for the mounts in it


class EmbeddedEngine(EmbeddedExecutions, EmbeddedContainers, EmbeddedNetworks, EmbeddedImages, EmbeddedGenerations):
    """Implements StackEngine, ContainerEngine and ImageEngine over stackpy_runtime.engine.Engine.

    root: the engine root's path
    read_only: nothing can be changed through it
    waiting: told in words when the engine's processes do not come up
    """

    name = "embedded"
    keeps_volumes = True

    def __init__(
        self, root: str, *, read_only: bool = False, waiting: Callable[[str], None] = lambda text: None
    ) -> None:
        super().__init__(root, waiting=waiting)
        self._read_only = read_only
        self._resolved: dict[str, frozenset[str]] = {}  # stack → the IDs of the steps of its recipes
        # stack → address → its containers as last observed, name by ID
        self._seen: dict[str, dict[str, dict[str, str]]] = {}
        self._image_ids: dict[str, str] = {}  # recipe ID → image ID, for images built or found by this command
        self._connected: Border | None = None
        self.on_failure = ""
        self.stopping: Callable[[], bool] = lambda: False

    @property
    def _engine(self) -> Engine:
        """The engine, its errors turned into ours. The import stands here because `--help` needs none of it."""
        if self._connected is None:
            from stackpy_runtime.engine import Engine
            from stackpy_runtime.errors import EngineError, NotFound

            engine = Engine(self.root, read_only=self._read_only, waiting=self._waiting)
            self._connected = Border(engine, EngineError, NotFound)
        return self._connected  # type: ignore[return-value]  # it has every method of the engine

    @property
    def _executions(self) -> ExecutionVerbs:
        return self._engine

    @property
    def _facade(self) -> Facade:
        return self._engine  # type: ignore[return-value]  # with its documents typed, which are mappings

    # --- stacks ---------------------------------------------------------------------------------------------------

    def resolve(self, stack: StackSpec, secrets: SecretValues) -> Desired:
        """See StackEngine."""
        from stackpy.dsl.specs import ISOLATION, LIMITS, SURROUNDINGS
        from stackpy.engines import observation
        from stackpy.planning.plan import Desired
        from stackpy.problems import Problem

        problems: list[Problem] = []
        recipes: dict[str, Recipe] = {}
        fingerprints: dict[str, str] = {}
        pulls: dict[str, tuple[Pull, ...]] = {}
        locked: dict[str, dict[str, str]] = {}
        held: set[str] | None = None
        self._engine.configure(registries=stack.registries, pins=stack.pins, **_policies(stack))
        for spec in stack.resources.values():
            try:
                if spec.kind == "image":
                    recipes[spec.address] = observation.recipe(self._engine.resolve(spec.fields["source"]))
                    pulls[spec.address] = observation.pulls(self._engine.bases(spec.fields["source"]), locked)
                elif spec.kind == "secret":
                    value = secrets.get(spec.name)
                    if value is not None:
                        fingerprints[spec.address] = self._engine.fingerprint(value)
                        continue
                    if held is None:
                        held = {secret["name"] for secret in self._engine.secrets() if secret["available"]}
                    if f"{stack.name}_{spec.name}" not in held:
                        from stackpy.engines.provisioning import missing_source

                        why, remedy = missing_source(spec)
                        problems.append(Problem(f"secret `{spec.name}` has no value: {why}", spec.location, remedy))
                elif spec.kind in ("container", "job"):
                    asked: Any = {
                        key: spec.fields[key] for key in (*LIMITS, *SURROUNDINGS, *ISOLATION) if key in spec.fields
                    }
                    if spreading := [one for one in spec.fields.get("volumes", ()) if "propagation" in one]:
                        asked["mounts"] = spreading
                    if asked:
                        for key in ("network_mode", "ipc", "pid", "uts", "hostname", "cap_add", "cap_drop"):
                            value = spec.fields.get(key)
                            asked[key] = value.replace("service:", "container:", 1) if isinstance(value, str) else value
                        apart = any(key in spec.fields for key in ISOLATION)
                        self._engine.refuse(asked, spec.name, isolation=apart)
            except NoRights:
                raise  # nothing in the stack file mends that
            except StackFileError as error:
                problems += error.problems
            except StackpyError as error:
                problems.append(Problem(error.message, error.location or spec.location, error.hint))
        problems += self._foreign(stack, recipes)
        if problems:
            raise StackFileError(problems)
        self._resolved[stack.name] = frozenset().union(*(recipe.step_ids for recipe in recipes.values()))
        return Desired(stack, recipes, fingerprints, pulls, locked)

    def _foreign(self, stack: StackSpec, recipes: Mapping[str, Recipe]) -> list[Problem]:
        """Containers whose image is for a platform that this machine runs no programs of."""
        found: list[Problem] = []
        for spec in stack.resources.values():
            recipe = recipes.get(str(spec.fields.get("image", "")))
            if recipe is None or spec.kind not in ("container", "job"):
                continue
            source = stack.resources[str(spec.fields["image"])].fields["source"]
            # Only these name platforms.
            if "platform" not in source["base"] and source["base"]["kind"] != "dockerfile":
                continue
            if platform := self._engine.cannot_run(source, recipe.id):
                from stackpy.problems import Problem

                text = f"`{spec.address}` cannot run here: its image is for {platform}, and there is no emulator"
                hint = "register one (qemu-user-static with binfmt-support), or take an image for this machine"
                found.append(Problem(text, spec.location, hint))
        return found

    def observe(self, stack: str) -> Observation:
        """See StackEngine."""
        import time

        from stackpy.engines import generations, labels, links, observation
        from stackpy.planning.plan import Observation

        engine = self._engine
        images = engine.images()
        present = {image["recipe"] or image["id"] for image in images}
        recipes = {
            key.partition("/")[2]: observation.recipe(document)
            for key, document in engine.recipes(f"{stack}/").items()
            if document["id"] in present
        }
        steps = frozenset[str]().union(*(recipe.step_ids for recipe in recipes.values()))
        numbers = generations.numbers(self.root, stack)
        containers, networks, volumes = engine.containers(stack), engine.networks(), engine.volumes()
        own_networks = [network for network in networks if network["labels"].get(labels.STACK) == stack]
        own_volumes = [volume for volume in volumes if volume["labels"].get(labels.STACK) == stack]
        resources = observation.resources(
            stack,
            containers=containers,
            networks=networks,
            volumes=volumes,
            lost={
                *links.missing_bridges(own_networks, containers),
                *(volume["name"] for volume in own_volumes if not os.path.isdir(volume["mountpoint"])),
            },
            unlinked=links.missing_links(own_networks, containers),
            secrets=engine.secrets(),
            image_recipes={image["id"]: image["recipe"] for image in images if image["recipe"]},
            now=time.time(),
        )
        self._seen[stack] = {
            address: {replica.id: replica.name for replica in found.replicas}
            for address, found in resources.items()
            if found.replicas
        }
        return Observation(
            stack=stack,
            engine=self.name,
            generation=numbers[-1] if numbers else 0,
            resources=resources,
            images=recipes,
            built=frozenset(engine.built(steps | self._resolved.get(stack, frozenset()))),
            tags=observation.tags(images),
            published=observation.published(images),
            crashes=observation.crashes(reports, time.time()) if (reports := engine.crashes(stack)) else {},
        )

    def foreign(self, stack: str, names: Sequence[tuple[str, str]]) -> Mapping[tuple[str, str], str]:
        """See StackEngine."""
        from stackpy.engines import foreign

        return foreign.found(self._facade, stack, names)

    def stack_of_running(self, stack: str, only: Sequence[str]) -> Written:
        """See StackEngine."""
        from stackpy.engines import from_running

        return from_running.of_engine(self._facade, stack, only)

    def data(self, stack: str, addresses: Sequence[str]) -> Mapping[str, Data]:
        """See StackEngine."""
        import time

        from stackpy.dsl.specs import engine_name
        from stackpy.planning.plan import Data

        found = {}
        for address in addresses:
            kind, _, name = address.partition(".")
            if kind == "volume":
                known = engine_name(stack, "volume", name)
                size, newest, least = *self._engine.volume_data(known), 0
                kept = self._engine.volume_snapshots(known)
                if kept:
                    held = sum(one["size"] for one in kept)
                    written = max(0.0, time.time() - newest) if newest else 0.0
                    found[address] = Data(size if newest else 0, written, len(kept), held)
                    continue
            else:
                each = [self._engine.written(identity) for identity in self._seen.get(stack, {}).get(address, ())]
                size, newest = sum(one[0] for one in each), max((one[1] for one in each), default=0.0)
                least = LITTLE
            if newest and size >= least:
                found[address] = Data(size, max(0.0, time.time() - newest))
        return found

    def expect(self, plan: Plan) -> None:
        """See StackEngine."""
        from _thread import start_new_thread

        from stackpy.engines.provisioning import expected

        starts, networks = expected(plan)
        if networks:
            # First: what is done about the ends of containers depends on it.
            self._expect(starts, networks)
        elif starts:
            start_new_thread(self._expect, (starts, networks))

    def _expect(self, starts: int, networks: list[str]) -> None:
        try:
            self._engine.expect(starts, networks)
        except StackpyError:
            pass  # the change itself will say what is wrong

    def perform(self, change: Change, desired: Desired, secrets: SecretValues, generation: int, report: Report) -> None:
        """See StackEngine."""
        from stackpy.engines import provisioning
        from stackpy.planning.plan import Action

        kind, engine = change.address.partition(".")[0], self._facade
        if change.action is Action.MOVE:
            from stackpy.engines import moving  # few stacks have moves

            moving.move(engine, change, desired, generation)
            seen_before = self._seen.get(desired.stack.name, {})
            moved = seen_before.pop(change.reasons[0].old, {})
            seen_before[change.address] = {**seen_before.get(change.address, {}), **moved}
        elif kind == "image":
            if change.action is Action.DELETE:
                raise StackpyError("images are removed by `destroy --images` and `image rm` alone")
            if change.action is Action.PULL:
                provisioning.pull(engine, change, desired, report)
                return
            if change.action is Action.PUSH:
                provisioning.push(engine, change, self._image_id(desired, change.address), report)
                return
            if change.action is Action.UPDATE:
                provisioning.rename_image(engine, change, desired, self._image_id(desired, change.address))
                return
            image = provisioning.build(engine, change, desired, secrets, report, self.on_failure)
            self._built = True
            self._image_ids[desired.recipes[change.address].id] = image
        elif kind == "network":
            provisioning.network(engine, change, desired, generation)
        elif change.action in (Action.SNAPSHOT, Action.RESTORE):
            from stackpy.engines import volume_snapshots  # few stacks ask for any

            act = volume_snapshots.take if change.action is Action.SNAPSHOT else volume_snapshots.restore
            act(engine, desired.stack.name, change, generation, report, self.stopping)
        elif kind == "volume":
            provisioning.volume(engine, change, desired, generation)
        elif kind == "secret":
            provisioning.secret(engine, change, desired, secrets, generation)
        else:
            stack = self._seen.get(desired.stack.name)
            seen = None if stack is None else stack.get(change.address, {})
            gone = change.action is Action.DELETE and change.address not in desired.stack.resources
            if gone and seen and not change.replicas and not change.snapshots:
                from stackpy.engines import removal

                removal.remove(engine, change.address, seen, report)
                return
            from stackpy.engines.rollout import Rollout

            Rollout(
                engine,
                change,
                desired,
                generation,
                report,
                lambda address: self._image_id(desired, address),
                seen,
                self.stopping,
            ).make()

    def _image_id(self, desired: Desired, address: str) -> str:
        recipe, source = desired.recipes[address].id, desired.stack.resources[address].fields["source"]
        if recipe in self._revived:
            return self._revived[recipe]
        if source["base"]["kind"] == "image" and not source["steps"]:
            # As it comes: nothing was built.
            return self._engine.image_of(source["base"]["reference"], source["base"].get("platform", ""))["id"]
        if recipe not in self._image_ids:
            for image in self._engine.images():
                self._image_ids[image["recipe"] or image["id"]] = image["id"]
        if recipe not in self._image_ids:
            raise StackpyError(f"`{address}` is not in the store any more", hint="apply again: it will be built")
        return self._image_ids[recipe]

    def one_off(self, desired: Desired, address: str) -> Document:
        """See StackEngine."""
        from stackpy.engines.translation import avoid, one_off_config

        spec = desired.stack.resources[address]
        image = str(spec.fields["image"])
        recipe = desired.recipes[image].id
        config = one_off_config(desired.stack.name, spec, image=self._image_id(desired, image), recipe=recipe)
        avoid(config, desired.stack.name, desired.stack.resources.values())
        return config

    def wait(self, stack: str, spec: Spec, condition: Condition, timeout: float, report: Report) -> None:
        """See StackEngine."""
        from stackpy.engines import rollout

        rollout.wait(self._facade, stack, spec, condition, timeout, report)

    def held_by(self, stack: str) -> str:
        """See StackEngine."""
        from stackpy.engines import stacklock

        return stacklock.holder(self.root, stack)

    def lock(self, stack: str, command: str, timeout: float | None, waiting: Callable[[str], None]) -> StackLock:
        """See StackEngine."""
        from stackpy.engines.border import require_rights
        from stackpy.engines.stacklock import StackLock

        require_rights()

        def held(*locks: int) -> None:
            self._engine.hold(*locks)
            if locks:
                self._keep_killed(stack)

        return StackLock(self.root, stack, command, timeout, waiting, held)

    def found(self, stack: str, wanted: Wanted) -> Any:
        """See StackEngine."""
        from stackpy.dsl.specs import engine_name
        from stackpy.engines.facade import Missing

        kind, _, name = wanted.address.partition(".")
        try:
            settings = self.inspect(engine_name(stack, kind, name, wanted.replica))["NetworkSettings"]
        except Missing:
            return None
        if wanted.what == "port":
            bindings = settings["Ports"].get(wanted.argument) or ()
            return next((int(each["HostPort"]) for each in bindings if each["HostPort"].isdigit()), None)
        network = settings["Networks"].get(engine_name(stack, "network", wanted.argument)) or {}
        return network.get("IPAddress") or None

    def tidy(self) -> None:
        """See StackEngine."""
        self._engine.tidy()

    def check(self) -> list[Document]:
        """See StackEngine."""
        return [dict(finding) for finding in self._engine.check()]

    def system_start(self) -> None:
        """See StackEngine."""
        self._engine.wake()

    def system_stop(self, *, host: bool) -> list[str]:
        """See StackEngine."""
        stopped: list[str] = self._engine.halt(host=host)
        return stopped


def _policies(stack: StackSpec) -> dict[str, Any]:
    """When the registries of the stack's images are asked, where a container says so."""
    if not any("pull_policy" in spec.fields for spec in stack.resources.values()):
        return {}
    from stackpy import pins
    from stackpy.dsl.pulling import period

    return {"policies": {name: period(policy) for name, policy in pins.policies(stack).items()}}
