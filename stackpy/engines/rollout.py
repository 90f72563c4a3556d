"""Changes of containers and jobs: how the replicas of one resource come to be as its spec wants them.

Everything is found by the labels on the engine, so that a change whose first half was made by an apply that was killed
is finished by the next, and what is already as wanted is left alone.
"""

from __future__ import annotations

from stackpy.dsl.specs import engine_name
from stackpy.engines import labels
from stackpy.engines.events import Event
from stackpy.engines.facade import Missing, at_once, explained, last_lines, with_output
from stackpy.engines.removal import remover
from stackpy.engines.replacing import ALIVE, GRACE, Replacing, patience, policy
from stackpy.engines.translation import (
    avoid,
    config_keys,
    container_config,
    container_fields,
    in_place,
    with_chosen,
)
from stackpy.errors import StackpyError
from stackpy.planning.contents import signals
from stackpy.planning.fields import IN_PLACE, RESTART, means_the_same, with_policy
from stackpy.planning.ignoring import kept
from stackpy.planning.plan import Action

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Any

    from stackpy.dsl.specs import Condition, Kind, Spec
    from stackpy.engines.events import Report
    from stackpy.engines.facade import Document, Facade
    from stackpy.planning.plan import Change, Desired


class Rollout:
    """Makes one change of a container or job.

    image_id: the engine's image of an image address
    seen: IDs of the resource's containers when the stack was observed; None where it was not
    stopping: whether nothing new is to be begun any more
    """

    def __init__(
        self,
        engine: Facade,
        change: Change,
        desired: Desired,
        generation: int,
        report: Report,
        image_id: Callable[[str], str],
        seen: Iterable[str] | None = None,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self.engine, self.change, self.desired, self.generation = engine, change, desired, generation
        self.stack = desired.stack.name
        self.image_id = image_id
        self._report, self._stopping = report, stopping
        self.existing = self._find(seen)
        self._held: dict[str, str] | None = None

    def make(self) -> None:
        """Makes the change true; raises StackpyError with the container's last lines where it has some."""
        action = self.change.action
        if action is Action.DELETE:
            # Of a resource that goes as a whole nobody is left for its connections.
            drained = bool(self.change.replicas) and self.change.address in self.desired.stack.resources
            chosen = self._chosen()
            if self.change.snapshots:
                self._keep_data([document for document in chosen if _alive(document)])
            at_once([self._remover(document, drained=drained) for document in chosen])
        elif action is Action.START:
            at_once([self._starter(document) for document in self._chosen() if not _alive(document)])
        elif action is Action.RESTART:
            self._restart()
        elif action is Action.UPDATE:
            for document in self._chosen():
                self._update(document)
        elif action is Action.RUN:
            self._run_job()
        elif action is Action.REPLACE:
            self._replace()
        else:
            at_once([self._creator(index) for index in self._indexes()])

    def _find(self, seen: Iterable[str] | None) -> dict[int, Document]:
        """The existing containers of the resource by replica number.

        With a thousand containers, listing them all for each change would take a thousand times as long as asking for
        those that were seen and those that the change may have made before.
        """
        address = self.change.address
        if seen is None:
            found = [*self.engine.containers(self.stack)]
        else:
            names = [engine_name(self.stack, self._kind, address.partition(".")[2], index) for index in self._indexes()]
            found = [*self.engine.containers_named([*seen, *names])]
        return {
            _index(document): document
            for document in sorted(found, key=_index)
            if document["config"].get("labels", {}).get(labels.STACK) == self.stack
            and document["config"]["labels"].get(labels.RESOURCE) == address
        }

    # --- which ones -----------------------------------------------------------------------------------------------

    def _spec(self) -> Spec:
        return self.desired.stack.resources[self.change.address]

    @property
    def _kind(self) -> Kind:
        return "job" if self.change.address.startswith("job.") else "container"

    def _indexes(self) -> tuple[int, ...]:
        if self.change.replicas or self.change.address not in self.desired.stack.resources:
            return self.change.replicas
        return tuple(range(1, replicas(self._spec()) + 1))

    def _chosen(self) -> list[Document]:
        """The existing replicas that the change is about."""
        numbers = self.change.replicas
        return [document for index, document in self.existing.items() if not numbers or index in numbers]

    def _config(self, index: int, spec: Spec | None = None) -> dict[str, Any]:
        spec = spec or self._spec()
        image = str(spec.fields["image"])
        config = container_config(
            self.stack,
            spec,
            index,
            image=self.image_id(image),
            recipe=self.desired.recipes[image].id,
            generation=self.generation,
            fingerprints=self._fingerprints(spec),
        )
        avoid(config, self.stack, self.desired.stack.resources.values())
        return config

    def _fingerprints(self, spec: Spec) -> dict[str, str]:
        """Of the values that the engine holds, which are those that a container gets, by secret address."""
        if "secrets" not in spec.fields:
            return {}
        if self._held is None:
            self._held = {
                secret["labels"].get(labels.RESOURCE, ""): secret["fingerprint"]
                for secret in self.engine.secrets()
                if secret["labels"].get(labels.STACK) == self.stack
            }
        return self._held

    # --- what is done to one --------------------------------------------------------------------------------------

    def _creator(self, index: int) -> Callable[[], None]:
        def create() -> None:
            config = self._config(index)
            present = self.existing.get(index)
            if present is not None and same(present["config"], config):
                if not _alive(present):
                    self._starter(present)()
                return
            if present is not None:
                self._remover(present)()
            self._up(config)

        return create

    def _up(self, config: Document) -> None:
        try:
            self.engine.up(config)
        except StackpyError as error:
            raise explained(self.engine, config["name"], error) from error
        self._say("output", f"{config['name']} started")

    def _starter(self, document: Document) -> Callable[[], None]:
        def start() -> None:
            paused = document["state"]["status"] == "paused"
            try:
                (self.engine.unpause if paused else self.engine.start)(document["name"])
            except StackpyError as error:
                raise explained(self.engine, document["name"], error) from error
            self._say("output", f"{document['name']} {'goes on' if paused else 'started'}")

        return start

    def _restarter(self, document: Document) -> Callable[[], None]:
        def restart() -> None:
            try:
                self.engine.restart(document["name"])
            except StackpyError as error:
                raise explained(self.engine, document["name"], error) from error
            self._say("output", f"{document['name']} restarted")

        return restart

    def _remover(self, document: Document, *, drained: bool = False) -> Callable[[], None]:
        remove = remover(self.engine, self.change.address, document["id"], document["name"], self._report)

        def drain_and_remove() -> None:
            try:
                self.engine.drain(document["id"], float(document["config"].get("stop_grace_period", GRACE)))
            except Missing:
                return  # somebody else removed it, which is what was wanted
            remove()

        return drain_and_remove if drained and _alive(document) else remove

    def _restart(self) -> None:
        """At once for the sake of something else; one after the other where that changes them."""
        documents = self._chosen()
        changed = []
        for document in documents:
            config, wanted = document["config"], self._wanted(document)
            if self._changes(config, wanted) or _values(config) != _values(wanted):
                changed.append(document)
        unchanged = [document for document in documents if document not in changed]
        at_once([self._restarter(document) for document in unchanged])
        for document in changed:
            name = str(document["name"])
            # In this order: killed on the way, it is stopped, and the next apply finds that it is to be started.
            self.engine.stop(name)
            self._update(document)
            self._starter({**document, "state": {**document["state"], "status": "exited"}})()
            if document is not changed[-1]:
                self._await(name, "healthy", patience(self._wanted(document)))

    def _wanted(self, document: Document) -> dict[str, Any]:
        """The configuration that an existing replica shall have: what its stack file ignores stays as it is."""
        spec = self._spec()
        fields = kept(spec.fields, container_fields(self.stack, document["config"]))
        config = self._config(_index(document), spec._replace(fields=fields))
        config["labels"][labels.SPEC] = labels.dump(spec.fields)
        return config

    def _changes(self, config: Document, wanted: Document) -> dict[str, Any]:
        """What an update sets besides labels."""
        changes = in_place(config, wanted, config_keys(with_policy(IN_PLACE, RESTART)))
        # Said in another way, it is no change: what is set at a start could not take one while the replica runs.
        for key in with_policy(RESTART):
            if key in changes and means_the_same(key, config.get(key), wanted.get(key)):
                del changes[key]
        if "ports" in changes:
            changes["ports"] = with_chosen(wanted.get("ports"), config.get("ports"))
            if changes["ports"] == config.get("ports"):
                del changes["ports"]
        return changes

    def _update(self, document: Document) -> None:
        config = document["config"]
        wanted = self._wanted(document)
        if document["name"] != wanted["name"]:
            self.engine.rename(document["id"], wanted["name"])
            self._say("output", f"{document['name']} is {wanted['name']} again")
        changes = self._changes(config, wanted)
        # what it was made of does not change with its fields
        made_of = {key: config["labels"][key] for key in (labels.RECIPE,) if key in config["labels"]}
        if _values(config) != _values(wanted):
            self.engine.refresh_secrets(document["id"])
        changes["labels"] = {**wanted["labels"], **made_of}
        self.engine.update(document["id"], changes)
        for signal in signals(self._spec().fields, self.change.reasons) if _alive(document) else ():
            self.engine.kill(document["id"], signal)
            self._say("output", f"{document['name']} was sent {signal}")

    def _replace(self) -> None:
        indexes = self._indexes()
        left = []
        for index in indexes:
            present = self.existing.get(index)
            made = present and present["config"]["labels"].get(labels.GENERATION) == str(self.generation)
            # what this very apply made before it was killed stays
            if not (present and made and _alive(present) and same(present["config"], self._config(index))):
                left.append(index)
        if left:
            Replacing(
                self.engine,
                self.stack,
                self.change.address,
                policy=policy(self._spec().fields, self.change.order),
                present=self.existing,
                config=self._config,
                highest=max([*self.existing, *indexes, replicas(self._spec())]),
                say=lambda text: self._say("output", text),
                stopping=self._stopping,
                keep_data=self._keep_data if self.change.snapshots else None,
            ).run(left)

    def _keep_data(self, documents: Sequence[Document]) -> None:
        from stackpy.engines import volume_snapshots  # few stacks ask for any

        volume_snapshots.take_stopped(
            self.engine, self.stack, self.change, self.generation, documents, self._report, self._stopping
        )

    def _run_job(self) -> None:
        config = self._config(1)
        name = str(config["name"])
        present = self.existing.get(1)
        unchanged = present is not None and same(present["config"], config)
        if present is not None and unchanged and present["state"]["status"] == "paused":
            self._starter(present)()
        elif present is None or not _alive(present) or not unchanged:
            if present is not None:
                self._remover(present)()
            self._up(config)
        code = self.engine.wait(name)
        if code:
            message = f"`{self.change.address}` exited with {code}"
            raise StackpyError(
                with_output(message, last_lines(self.engine, name)), hint=f"`stackpy logs {name}` shows all it wrote"
            )

    def _await(self, name: str, condition: Condition, timeout: float) -> None:
        try:
            self.engine.await_state(name, condition, timeout)
        except StackpyError as error:
            raise explained(self.engine, name, error) from error

    def _say(self, kind: str, text: str) -> None:
        self._report(Event(self.change.address, kind, text))


def wait(engine: Facade, stack: str, spec: Spec, condition: Condition, timeout: float, report: Report) -> None:
    """Returns when every replica meets the condition.

    timeout: seconds
    Raises StackpyError with the container's last lines when it cannot any more, or did not in time.
    """

    def waiter(name: str) -> Callable[[], None]:
        def watch() -> None:
            try:
                engine.await_state(name, condition, timeout)
            except StackpyError as error:
                raise explained(engine, name, error) from error

        return watch

    report(Event(spec.address, "waiting", f"until {spec.address} is {condition}"))
    names = [engine_name(stack, spec.kind, spec.name, index) for index in range(1, replicas(spec) + 1)]
    at_once([waiter(name) for name in names])


def replicas(spec: Spec) -> int:
    """How many containers a resource has."""
    return int(spec.fields.get("replicas", 1))


def same(config: Document, wanted: Document) -> bool:
    """Whether a container is as wanted, but for the generation that says when it was made."""
    return _comparable(config) == _comparable(wanted)


def _comparable(config: Document) -> dict[str, Any]:
    own: Mapping[str, str] = config.get("labels", {})
    return {**config, "labels": {key: value for key, value in own.items() if key != labels.GENERATION}}


def _values(config: Document) -> str:
    """The fingerprints of the values of secrets that a container was given."""
    return str(config.get("labels", {}).get(labels.SECRETS, ""))


def _index(document: Document) -> int:
    number = document["config"].get("labels", {}).get(labels.REPLICA, "")
    return int(number) if number.isascii() and number.isdigit() else 1


def _alive(document: Document) -> bool:
    return document["state"]["status"] in ALIVE
