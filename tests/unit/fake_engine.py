"""A container engine in memory: the façade's documents and nothing of the kernel. Records what it is asked to do."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from stackpy.engines.facade import Missing
from stackpy.errors import StackpyError
from stackpy_runtime.host.requests import AT_START

NOW = "2026-01-31T12:00:00.000000Z"
Document = dict[str, Any]


def container(name: str, *, config: Mapping[str, Any] | None = None, **state: Any) -> Document:
    """A container's document; `state` overrides its state's fields."""
    return {
        "id": f"{abs(hash(name)):064x}",
        "name": name,
        "created": NOW,
        "image_id": "sha256:1",
        "config": {"name": name, "image": "sha256:1", **(config or {})},
        "state": {
            "status": "running",
            "pid": 42,
            "exit_code": None,
            "error": "",
            "oom_killed": False,
            "started_at": NOW,
            "finished_at": "",
            "health": "",
            "restart_count": 0,
            **state,
        },
        "networks": {},
    }


class FakeEngine:
    """See the module. `done` lists the verbs in order: ("up", "shop-web-1").

    exits: name → the code with which a container ends at once
    fails: (verb, name) that fail
    """

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.exits: dict[str, int] = {}
        self.health = ""  # of containers that are made
        self.listens: dict[str, set[int]] = {}  # name → ports
        self.fails: set[tuple[str, str]] = set()
        self.held: dict[str, Document] = {}
        self.nets: dict[str, Document] = {}
        self.vols: dict[str, Document] = {}
        self.snapshots: dict[str, list[Document]] = {}  # volume → its snapshots, oldest first
        self.keys: dict[str, Document] = {}
        self.values: dict[str, bytes] = {}
        self.stored: list[Document] = []
        self.known_recipes: dict[str, Document] = {}
        self._lock = threading.RLock()
        self._ids = itertools.count(1)

    def _do(self, verb: str, name: str) -> None:
        with self._lock:
            self.done.append((verb, name))
            if (verb, name) in self.fails:
                raise StackpyError(f"{verb} of {name} failed", hint="mend it")

    def _one(self, reference: str) -> Document:
        for document in self.held.values():
            if reference in (document["name"], document["id"]):
                return document
        raise Missing(f"no such container: `{reference}`")

    def trim_cache(self, keep: int) -> int:
        self._do("trim", str(keep))
        return 0

    def containers(self, stack: str | None = None) -> list[Document]:
        return [
            _as_it_is(document)
            for document in self.held.values()
            if stack in (None, document["config"].get("labels", {}).get("stackpy.stack"))
        ]

    def container(self, reference: str) -> Document:
        return _as_it_is(self._one(reference))

    def containers_named(self, names: list[str]) -> list[Document]:
        return [
            _as_it_is(document)
            for name in names
            for document in self.held.values()
            if name in (document["name"], document["id"])
        ]

    def images(self) -> list[Document]:
        return self.stored

    def image(self, reference: str) -> Document:
        for image in self.stored:
            if reference in (image["id"], *image["references"]):
                return image
        raise Missing(f"no such image: `{reference}`")

    def image_of(self, reference: str, platform: str) -> Document:
        return self.image(reference)

    def network(self, name: str) -> Document:
        if name not in self.nets:
            raise Missing(f"no such network: `{name}`")
        return self.nets[name]

    def volume(self, name: str) -> Document:
        if name not in self.vols:
            raise Missing(f"no such volume: `{name}`")
        return self.vols[name]

    def expect(self, starts: int, networks: list[str]) -> None:
        self.expected = (starts, networks)

    def networks(self) -> list[Document]:
        return list(self.nets.values())

    def volumes(self) -> list[Document]:
        return list(self.vols.values())

    def secrets(self) -> list[Document]:
        return list(self.keys.values())

    def recipes(self, beginning: str) -> dict[str, Document]:
        return {key: recipe for key, recipe in self.known_recipes.items() if key.startswith(beginning)}

    def built(self, ids: Any) -> set[str]:
        return {step["id"] for recipe in self.known_recipes.values() for step in recipe["steps"]} & set(ids)

    def configure(self, *, registries: Document, pins: Document) -> None:
        self._do("configure", " ".join(pins))

    def bases(self, source: Document) -> list[Document]:
        return list(source.get("bases", []))

    def pull(self, reference: str, *, platform: str, policy: str, digest: str, base: bool, progress: Any) -> Document:
        self._do("pull", f"{reference} {digest}")
        progress({"kind": "download", "text": "layer 1 of 1", "done": 1000000, "total": 2000000})
        progress({"kind": "download", "text": "layer 1 of 1", "done": 2000000, "total": 2000000})
        image = {"id": f"sha256:{digest}", "recipe": "", "references": [reference]}
        self.stored.append(image)
        return image

    def push(self, image: str, reference: str, *, progress: Any) -> str:
        self._do("push", f"{image} {reference}")
        progress({"kind": "state", "text": "layer 1 of 1: already there"})
        return "sha256:pushed"

    def resolve(self, source: Document) -> Document:
        if "fails" in source:
            raise StackpyError(source["fails"], hint="mend it")
        return {"id": source["id"], "steps": [{"id": "s1", "text": "FROM scratch", "line": "", "inputs": {}}]}

    def logs(self, reference: str, *, tail: int | None = None, **_: Any) -> Iterator[Document]:
        yield {"time": NOW, "stream": "stderr", "text": f"last words of {reference}\n"}

    def build(self, source: Document, recipe: Document, *, key: str, tags: list[str], **given: Any) -> Document:
        self._do("build", key)
        progress: Callable[[Document], None] = given["progress"]
        progress({"kind": "step", "text": "FROM scratch", "step": 1, "steps": 2, "cached": True})
        progress({"kind": "output", "text": "half a "})
        progress({"kind": "output", "text": "line\n10%\r20%\r\nrest"})
        progress({"kind": "step", "text": "RUN make", "step": 2, "steps": 2})
        image = {"id": f"sha256:{recipe['id']}", "recipe": recipe["id"], "references": tags}
        self.stored.append(image)
        self.known_recipes[key] = recipe
        return image

    def remove_image(self, reference: str, force: bool = False) -> list[str]:
        self._do("remove image", reference)
        for image in self.stored:
            image["references"] = [each for each in image["references"] if each != reference]
        return [f"untagged: {reference}"]

    def up(self, config: Document) -> str:
        name = config["name"]
        self._do("up", name)
        with self._lock:
            if name in self.held:
                raise StackpyError(f"the name `{name}` is in use")
            document = container(name, config=config, health=self.health)
            document["id"] = f"{next(self._ids):064x}"
            if name in self.exits:
                document["state"] |= {"status": "exited", "exit_code": self.exits[name], "finished_at": NOW}
            self.held[name] = document
        return str(document["id"])

    def start(self, reference: str) -> None:
        document = self._one(reference)
        self._do("start", document["name"])
        document["state"] |= {"status": "running", "exit_code": None}

    def stop(self, reference: str) -> str:
        document = self._one(reference)
        self._do("stop", document["name"])
        document["state"] |= {"status": "exited", "exit_code": 143}
        return ""

    def restart(self, reference: str) -> None:
        document = self._one(reference)
        self._do("restart", document["name"])
        document["state"] |= {"status": "running", "exit_code": None}

    def crashes(self, stack: str) -> list[Document]:
        return []

    def forget_crashes(self, stack: str) -> None:
        self.done.append(("forget", stack))

    def unpause(self, reference: str) -> None:
        document = self._one(reference)
        self._do("unpause", document["name"])
        document["state"] |= {"status": "running"}

    def end(self, name: str) -> None:
        """A container's process ends by itself."""
        self.held[name]["state"] |= {"status": "exited", "exit_code": 143, "finished_at": NOW}

    def down(self, reference: str) -> None:
        document = self._one(reference)
        self._do("down", document["name"])
        del self.held[document["name"]]

    def wait(self, reference: str) -> int:
        document = self._one(reference)
        self._do("wait", document["name"])
        return self.exits.get(document["name"], 0)

    def update(self, reference: str, changes: Document) -> None:
        document = self._one(reference)
        self._do("update", document["name"])
        set_at_start = sorted(set(changes) & set(AT_START))
        if set_at_start and document["state"]["status"] == "running":
            raise StackpyError(f"`{set_at_start[0]}` is set when it starts, and it is running")
        for key, value in changes.items():
            if value is None:
                document["config"].pop(key, None)
            else:
                document["config"][key] = value

    def rename(self, reference: str, name: str, *, labels: dict[str, str] | None = None) -> None:
        document = self._one(reference)
        self._do("rename", f"{document['name']} {name}")
        with self._lock:
            del self.held[document["name"]]
            self.held[name] = document
            document["name"] = name
            # A copy: whoever has read the configuration before sees what it was.
            document["config"] = {**document["config"], "name": name, **({} if labels is None else {"labels": labels})}

    def drain(self, reference: str, timeout: float) -> bool:
        self._do("drain", self._one(reference)["name"])
        return True

    def listening(self, reference: str) -> set[int]:
        return self.listens.get(self._one(reference)["name"], set())

    def await_state(self, reference: str, condition: str, timeout: float | None) -> Document:
        self._do(condition, reference)
        return self._one(reference)

    def create_network(self, config: Document) -> Document:
        self._do("create network", config["name"])
        self.nets[config["name"]] = {"internal": False, "subnet": "10.1.0.0/20", "bridge": "lo", **config}
        return self.nets[config["name"]]

    def label_network(self, name: str, labels: dict[str, str]) -> None:
        self._do("label network", name)
        self.nets[name]["labels"] = labels

    def label_volume(self, name: str, labels: dict[str, str]) -> None:
        self._do("label volume", name)
        self.vols[name]["labels"] = labels

    def forget_recipes(self, beginning: str, images: Iterable[str] = ()) -> None:
        self._do("forget", beginning)

    def remove_network(self, name: str) -> None:
        self._do("remove network", name)
        if self.nets.pop(name, None) is None:
            raise Missing(f"no such network: `{name}`")

    def create_volume(self, name: str, labels: dict[str, str]) -> Document:
        self._do("create volume", name)
        self.vols[name] = {"name": name, "labels": labels, "mountpoint": "/"}
        return self.vols[name]

    def remove_volume(self, name: str) -> None:
        self._do("remove volume", name)
        del self.vols[name]

    def volume_snapshots(self, name: str) -> list[Document]:
        return self.snapshots.get(name, [])

    def snapshot_volume(self, name: str, labels: dict[str, str], go_on: Callable[[], None]) -> Document:
        self._do("snapshot", name)
        go_on()
        taken = {"id": f"s{next(self._ids)}", "created": NOW, "size": 4096, "labels": labels}
        self.snapshots.setdefault(name, []).append(taken)
        return taken

    def remove_volume_snapshot(self, name: str, identity: str) -> None:
        self._do("remove snapshot", identity)
        self.snapshots[name] = [one for one in self.snapshots[name] if one["id"] != identity]

    def restore_volume_snapshot(
        self, name: str, identity: str, labels: dict[str, str], ready: Callable[[], None], go_on: Callable[[], None]
    ) -> Document:
        ready()
        self._do("restore", identity)
        return self.snapshot_volume(name, labels, go_on)

    def put_secret(self, name: str, value: bytes, labels: dict[str, str]) -> None:
        self._do("put secret", name)
        self.values[name] = value
        self.keys[name] = {
            "name": name, "labels": labels, "available": True, "fingerprint": self.fingerprint(value)
        }  # fmt: skip

    def remove_secret(self, name: str) -> None:
        self._do("remove secret", name)
        del self.keys[name]

    def fingerprint(self, value: bytes) -> str:
        return f"fp-{len(value)}"


def _as_it_is(document: Document) -> Document:
    """A document that does not change with the container."""
    return {**document, "state": {**document["state"]}}
