"""A container engine in memory that refuses what a real one would, and fails when a test wants it to."""

from __future__ import annotations

import copy
import hashlib
import json
from random import Random
from typing import Any

from stackpy.engines import labels
from stackpy.engines.embedded import EmbeddedEngine
from stackpy.errors import StackpyError
from stackpy.planning.plan import Observation
from tests.unit.fake_engine import Document, FakeEngine

_RUNS = ("running", "paused")


class StrictEngine(FakeEngine):
    """See the module.

    chance: says when a verb fails, before it does its work; failing: with which probability
    frozen: nothing may be changed
    """

    def __init__(self, chance: Random) -> None:
        super().__init__()
        self.chance, self.failing, self.frozen = chance, 0.0, False

    def _do(self, verb: str, name: str) -> None:
        assert not self.frozen or verb in ("configure", "forget"), f"{verb} of {name} while nothing may change"
        with self._lock:
            self.done.append((verb, name))
            if verb != "configure" and self.chance.random() < self.failing:
                raise StackpyError(f"{verb} of {name} failed")

    def _refuse(self, wrong: bool, text: str) -> None:
        if wrong:
            raise StackpyError(text)

    # --- reading: copies, since others change what is there meanwhile ------------------------------------------------

    def containers(self, stack: str | None = None) -> list[Document]:
        with self._lock:
            return [
                copy.deepcopy(document)
                for document in self.held.values()
                if stack in (None, document["config"].get("labels", {}).get(labels.STACK))
            ]

    def container(self, reference: str) -> Document:
        with self._lock:
            return copy.deepcopy(self._one(reference))

    def containers_named(self, names: list[str]) -> list[Document]:
        with self._lock:
            return copy.deepcopy(super().containers_named(names))

    def images(self) -> list[Document]:
        with self._lock:
            return copy.deepcopy(self.stored)

    def networks(self) -> list[Document]:
        with self._lock:
            return copy.deepcopy([*self.nets.values()])

    def volumes(self) -> list[Document]:
        with self._lock:
            return copy.deepcopy([*self.vols.values()])

    def secrets(self) -> list[Document]:
        with self._lock:
            return copy.deepcopy([*self.keys.values()])

    def resolve(self, source: Document) -> Document:
        digest = hashlib.sha256(json.dumps(source, sort_keys=True, default=repr).encode()).hexdigest()
        return {"id": digest, "steps": [{"id": digest[:12], "text": "all of it", "line": "", "inputs": {}}]}

    def refuse(self, fields: Document, name: str, *, isolation: bool) -> None:
        """Everything can be had here."""

    def cannot_run(self, source: Document, recipe: str) -> str:
        return ""

    def volume_data(self, name: str) -> tuple[int, float]:
        return 0, 0.0

    def written(self, reference: str) -> tuple[int, float]:
        return 0, 0.0

    # --- changing ----------------------------------------------------------------------------------------------------

    def build(self, source: Document, recipe: Document, *, key: str, tags: list[str], **given: Any) -> Document:
        self._do("build", key)
        with self._lock:
            for image in self.stored:
                image["references"] = [each for each in image["references"] if each not in tags]
            identity = f"sha256:{recipe['id']}"
            found = next((image for image in self.stored if image["id"] == identity), None)
            if found is None:
                found = {"id": identity, "recipe": recipe["id"], "references": []}
                self.stored.append(found)
            found["references"] += tags
            self.known_recipes[key] = recipe
            return copy.deepcopy(found)

    def _check(self, config: Document, name: str) -> None:
        """What a container needs to run is there, and what it takes is free."""
        for network in config.get("networks") or {}:
            self._refuse(network not in self.nets, f"no such network: {network}")
        for mount in config.get("mounts") or []:
            self._refuse(mount["type"] == "volume" and mount["source"] not in self.vols, f"no volume {mount}")
        for secret in config.get("secrets") or []:
            self._refuse(secret["secret"] not in self.keys, f"no secret {secret}")
        wanted = {port["published"] for port in config.get("ports") or []} - {0}
        for other in self.held.values():
            if other["name"] != name and other["state"]["status"] in _RUNS and not _same_resource(other, config):
                taken = wanted & {port["published"] for port in other["config"].get("ports") or []}
                self._refuse(bool(taken), f"a port of {name} is taken by {other['name']}: {taken}")

    def _check_before(self, config: Document, name: str) -> None:
        """What a container waits for has come."""
        for dependency in labels.dependencies(config["labels"]):
            if dependency.address.partition(".")[0] not in ("container", "job"):
                continue
            members = [
                each
                for each in self.held.values()
                if each["config"]["labels"].get(labels.RESOURCE) == dependency.address
            ]
            assert members, f"{name} starts before {dependency.address} is there"
            if dependency.condition == "completed":
                assert all(each["state"]["exit_code"] == 0 for each in members), f"{name} does not wait for a job"

    def up(self, config: Document) -> str:
        with self._lock:
            images = [image["id"] for image in self.stored]
            self._refuse(config["image"] not in images, f"no such image: {config['image']}")
            self._check(config, config["name"])
            self._check_before(config, config["name"])
            self.exits = {config["name"]: 0} if config["labels"][labels.RESOURCE].startswith("job.") else {}
            identity = super().up(copy.deepcopy(config))
            self.held[config["name"]]["image_id"] = config["image"]
            return identity

    def start(self, reference: str) -> None:
        with self._lock:
            document = self._one(reference)
            self._refuse(document["state"]["status"] == "paused", "it is paused")
            self._check(document["config"], document["name"])
            self._check_before(document["config"], document["name"])
            super().start(reference)

    def restart(self, reference: str) -> None:
        with self._lock:
            self._check(self._one(reference)["config"], self._one(reference)["name"])
            super().restart(reference)

    def refresh_secrets(self, reference: str) -> None:
        self._do("refresh secrets", self._one(reference)["name"])

    def kill(self, reference: str, signal: str) -> None:
        self._do("kill", self._one(reference)["name"])

    def update(self, reference: str, changes: Document) -> None:
        with self._lock:
            document = self._one(reference)
            if document["state"]["status"] in _RUNS:
                taking = {key: changes.get(key) for key in ("networks", "ports")}
                self._check({**taking, "labels": document["config"]["labels"]}, document["name"])
            document["config"] = dict(document["config"])
            super().update(reference, copy.deepcopy(changes))

    def rename(self, reference: str, name: str, *, labels: dict[str, str] | None = None) -> None:
        with self._lock:
            self._refuse(name in self.held, f"the name {name} is in use")
            super().rename(reference, name, labels=labels)

    def down(self, reference: str) -> None:
        with self._lock:
            super().down(reference)

    def create_network(self, config: Document) -> Document:
        with self._lock:
            self._refuse(config["name"] in self.nets, f"there is a network {config['name']}")
            return super().create_network(config)

    def remove_network(self, name: str) -> None:
        with self._lock:
            inside = [
                each["name"]
                for each in self.held.values()
                if name in (each["config"].get("networks") or {}) and each["state"]["status"] in _RUNS
            ]
            self._refuse(bool(inside), f"network {name} is in use by {inside}")
            super().remove_network(name)

    def remove_volume(self, name: str) -> None:
        with self._lock:
            users = [each["name"] for each in self.held.values() if name in _volumes(each)]
            self._refuse(bool(users), f"volume {name} is in use by {users}")
            super().remove_volume(name)

    def rename_network(self, name: str, new: str) -> None:
        self._do("rename network", f"{name} {new}")
        with self._lock:
            self._refuse(new in self.nets, f"there is a network {new}")
            self.nets[new] = {**self.nets.pop(name), "name": new}
            for each in self.held.values():
                attached = each["config"].get("networks") or {}
                if name in attached:
                    attached = {new if key == name else key: value for key, value in attached.items()}
                    each["config"] = {**each["config"], "networks": attached}

    def rename_volume(self, name: str, new: str) -> None:
        self._do("rename volume", f"{name} {new}")
        with self._lock:
            self._refuse(new in self.vols, f"there is a volume {new}")
            self.vols[new] = {**self.vols.pop(name), "name": new}
            for each in self.held.values():
                for mount in each["config"].get("mounts") or []:
                    if mount.get("source") == name:
                        mount["source"] = new

    def wait(self, reference: str) -> int:
        self._do("wait", reference)
        return int(self.container(reference)["state"]["exit_code"])

    def await_state(self, reference: str, condition: str, timeout: float | None) -> Document:
        with self._lock:
            document = self._one(reference)
            if condition in ("started", "healthy"):
                self._refuse(document["state"]["status"] != "running", f"{reference} does not run")
        return super().await_state(reference, condition, timeout)


def _volumes(document: Document) -> list[str]:
    return [mount["source"] for mount in document["config"].get("mounts") or [] if mount["type"] == "volume"]


def _same_resource(document: Document, config: Document) -> bool:
    """Replicas share a published port."""
    return bool(document["config"]["labels"].get(labels.RESOURCE) == config["labels"][labels.RESOURCE])


class Adapter(EmbeddedEngine):
    """The adapter over a StrictEngine; what it records stays in memory."""

    def __init__(self, engine: StrictEngine) -> None:
        super().__init__("/nonexistent")
        self._connected = engine  # type: ignore[assignment]  # the port is where the tests cut
        self.kept: list[Document] = []

    def observe(self, stack: str) -> Observation:
        return super().observe(stack)._replace(generation=len(self.kept))

    def record(self, stack: str, generation: int, document: Any) -> None:
        self.kept = [*self.kept[: generation - 1], document]

    def recorded(self, stack: str) -> Any:
        return self.kept[-1] if self.kept else None

    def expect(self, plan: Any) -> None:
        """Nothing is made ready."""

    def found(self, stack: str, wanted: Any) -> Any:
        """What outputs ask for; the documents of `inspect` are no matter here."""
        return 1
