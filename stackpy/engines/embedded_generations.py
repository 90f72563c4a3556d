"""Generations of our own engine behind the port; mixed into EmbeddedEngine."""

from __future__ import annotations

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stackpy.dsl.specs import Spec, StackSpec
    from stackpy.engines.facade import Facade
    from stackpy.planning.plan import Desired
    from stackpy.planning.snapshots import Snapshot
    from stackpy_runtime.engine import Engine

    Document = dict[str, Any]


class EmbeddedGenerations:
    """Implements GenerationEngine, and `adopt`, which makes a generation of what there is."""

    root: str
    name: str
    generations_keep = 10
    _built = False  # by this command, so that the build cache has grown
    _revived: Mapping[str, str] = {}  # recipe ID → image ID, of a generation that is brought back

    if TYPE_CHECKING:

        @property
        def _engine(self) -> Engine:
            """The engine, its errors turned into ours."""

        @property
        def _facade(self) -> Facade:
            """The same, with its documents typed as mappings."""

        def _image_id(self, desired: Desired, address: str) -> str:
            """The image that a recipe has become."""

        def _trim(self) -> None:
            """Keeps the build cache to its size, after a build."""

    def begin(self, stack: str, document: Mapping[str, Any]) -> None:
        """See GenerationEngine."""
        from stackpy.engines import generations

        generations.begin(self.root, stack, document)

    def _keep_killed(self, stack: str) -> None:
        """Keeps an apply that did not come to its end as a generation: whoever holds the stack now is not it."""
        from stackpy.engines import generations

        document = generations.begun(self.root, stack)
        if document is None:
            return
        number = int(document["generation"])
        if number in generations.numbers(self.root, stack):
            generations.forget_begun(self.root, stack)  # it was killed when it had all but ended
            return
        outputs = (self.recorded(stack) or {}).get("outputs", {})
        try:
            self.record(stack, number, {**document, "outputs": outputs})
        except StackpyError:
            pass  # a full disk keeps nobody from applying what may free it

    def record(self, stack: str, generation: int, document: Mapping[str, Any]) -> None:
        """See GenerationEngine."""
        from stackpy.engines import generations, labels, plan_keys

        # What a rollback to this generation would need, so that no prune takes it away.
        engine = self._engine
        containers = engine.containers(stack)
        images = sorted({container["image_id"] for container in containers})
        own = [container["config"].get("labels", {}) for container in containers]
        own += [each["labels"] for each in (*engine.networks(), *engine.volumes(), *engine.secrets())]
        # What there was afterwards, so that `drift` misses what has gone.
        resources = sorted({each[labels.RESOURCE] for each in own if each.get(labels.STACK) == stack})
        image_ids = generations.image_ids(document, containers)
        document = {**document, "images": images, "image_ids": image_ids, "resources": resources}
        generations.write(self.root, stack, generation, document, self.generations_keep)
        plan_keys.ensure(self.root)
        if any(address.startswith("volume.") for address in resources):
            self._prune_snapshots(stack, generations.numbers(self.root, stack))
        if self._built:
            self._built = False
            self._trim()

    def _prune_snapshots(self, stack: str, kept: list[int]) -> None:
        from stackpy.engines import volume_snapshots

        try:
            volume_snapshots.prune(self._facade, stack, kept)
        except StackpyError:
            pass  # what was asked for is done; the next generation tries again

    def snapshots(self, stack: str) -> list[Snapshot]:
        """See GenerationEngine."""
        from stackpy.engines import volume_snapshots

        return volume_snapshots.held(self._facade, stack)

    def recorded(self, stack: str) -> Mapping[str, Any] | None:
        """See GenerationEngine."""
        from stackpy.engines import generations

        return generations.last(self.root, stack)

    def generation(self, stack: str, number: int) -> Mapping[str, Any] | None:
        """See GenerationEngine."""
        from stackpy.engines import generations

        return generations.read(self.root, stack, number)

    def history(self, stack: str) -> list[Mapping[str, Any]]:
        """See GenerationEngine."""
        from stackpy.engines import generations

        numbers = generations.numbers(self.root, stack)
        found = [generations.read(self.root, stack, number) for number in numbers]
        begun = generations.begun(self.root, stack)
        if begun is not None and begun["generation"] not in numbers:
            from stackpy.engines.stacklock import holder

            # Else it is the engine that holds it for one that was killed, or nobody.
            runs = holder(self.root, stack).startswith("`")
            found.append({**begun, "outcome": "running"} if runs else begun)
        return [document for document in found if document is not None]

    def took(self, stack: str) -> Callable[[str, str], float | None]:
        """See GenerationEngine."""
        from stackpy.engines.durations import Durations

        return Durations(self.root, stack).last

    def plan_key(self) -> bytes:
        """See GenerationEngine."""
        from stackpy.engines import plan_keys

        return plan_keys.read(self.root)

    def revive(self, desired: Desired, images: Mapping[str, str]) -> None:
        """See GenerationEngine."""
        present = {image["id"] for image in self._engine.images()}
        used = {str(spec.fields["image"]) for spec in desired.stack.resources.values() if "image" in spec.fields}
        for address in sorted(used):
            if address not in images:
                raise StackpyError(f"no container came to run `{address}` as it was then")
            if images[address] not in present:
                raise StackpyError(f"`{address}` as it was then ({images[address][:19]}) was removed from the store")
        self._revived = {recipe.id: images[address] for address, recipe in desired.recipes.items() if address in images}

    def stacks(self) -> list[Document]:
        """See GenerationEngine."""
        from stackpy.engines import generations, listings

        engine = self._engine
        numbers = {stack: generations.numbers(self.root, stack) for stack in generations.stacks(self.root)}
        return listings.stacks(
            self.name,
            engine.containers(),
            [*engine.networks(), *engine.volumes(), *engine.secrets()],
            {stack: found[-1] for stack, found in numbers.items() if found},
        )

    def applied_from(self, folder: str) -> list[str]:
        """See GenerationEngine."""
        from stackpy.engines import generations

        return generations.applied_from(self.root, folder)

    def remove_images(self, stack: str) -> list[str]:
        """See GenerationEngine."""
        from stackpy.engines import generations

        engine, beginning = self._engine, f"{stack}/"
        recipes = engine.recipes("")
        own = {recipe["id"] for key, recipe in recipes.items() if key.startswith(beginning)}
        shared = {recipe["id"] for key, recipe in recipes.items() if not key.startswith(beginning)}
        # an equal recipe of another stack is the same image: only our own name of it goes
        gone = [
            reference
            for image in engine.images()
            if image["recipe"] in own
            for reference in image["references"]
            if image["recipe"] not in shared or reference.startswith(beginning)
        ]
        for reference in gone:
            engine.remove_image(reference)
        earlier = generations.images(self.history(stack))
        # First, so that it keeps none of them.
        generations.forget(self.root, stack)
        ids = [image["id"] for image in engine.images() if earlier.intersection((image["id"], image["recipe"]))]
        engine.forget_recipes(beginning, ids)
        self._prune_snapshots(stack, [])
        engine.forget_crashes(stack)
        return gone

    def adopt(self, stack: StackSpec, spec: Spec, name: str, circumstances: Mapping[str, str]) -> str:
        """See StackEngine."""
        import time

        from stackpy.engines import adopting, generations, observation
        from stackpy.planning.plan import Desired

        numbers = generations.numbers(self.root, stack.name)
        generation = numbers[-1] + 1 if numbers else 1
        image = ("", "")
        if "image" in spec.fields:
            address = str(spec.fields["image"])
            recipe = observation.recipe(self._engine.resolve(stack.resources[address].fields["source"]))
            try:
                image = (self._image_id(Desired(stack, {address: recipe}, {}), address), recipe.id)
            except StackpyError:
                pass  # it is not in the store, so that the container is of another
        now = adopting.adopt(self._facade, stack.name, spec, name, generation, image)
        before = self.recorded(stack.name) or {}
        document = {
            "format": 1,
            "stack": stack.name,
            "generation": generation,
            "outcome": "adopted",
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "seconds": 0.0,
            **circumstances,
            "changes": [],
            "adopted": {spec.address: name},
            "failures": {},
            "outputs": before.get("outputs", {}),
        }
        self.record(stack.name, generation, document)
        return now
