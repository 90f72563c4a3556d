"""`adopt`: an object of the engine that was made elsewhere becomes a resource of a stack, as it is and in use.

It gets the stack's name and labels. What it is made of is noted as what the user had set, so that the next plan shows
each difference from the stack file, those too that the file does not mention.
"""

from __future__ import annotations

from stackpy.dsl.specs import engine_name
from stackpy.engines import labels
from stackpy.engines.observation import network_fields, with_labels
from stackpy.engines.translation import container_fields, resource_labels
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from stackpy.dsl.specs import Spec
    from stackpy.engines.facade import Document, Facade


def adopt(engine: Facade, stack: str, spec: Spec, name: str, generation: int, image: tuple[str, str] = ("", "")) -> str:
    """Takes a container, network or volume into a stack as a resource of it; returns the name that it has now.

    name: the engine's, or of a container its ID
    image: of a container: the ID of the image that the stack file names, and what the planner knows it by

    Raises StackpyError where it is a stack's already, or where the
    resource exists.
    """
    if spec.kind == "container":
        return _container(engine, stack, spec, name, generation, image)
    documents = engine.networks() if spec.kind == "network" else engine.volumes()
    document = _one(documents, name, spec.kind)
    _is_free(document["labels"], stack, spec, name)
    wanted = engine_name(stack, spec.kind, spec.name)
    _is_unused(documents, wanted, name, spec)
    live = network_fields(document) if spec.kind == "network" else with_labels(document, {})
    if spec.kind == "network" and "subnet" not in spec.fields:
        live.pop("subnet", None)  # chosen by the engine, as the stack file leaves it
    if document["name"] != wanted:
        (engine.rename_network if spec.kind == "network" else engine.rename_volume)(document["name"], wanted)
    given = {**_labels(document["labels"], stack, spec, generation), labels.SPEC: labels.dump(live)}
    (engine.label_network if spec.kind == "network" else engine.label_volume)(wanted, given)
    return wanted


def _container(engine: Facade, stack: str, spec: Spec, name: str, generation: int, image: tuple[str, str]) -> str:
    document = engine.container(name)
    config = document["config"]
    own: Mapping[str, str] = config.get("labels", {})
    _is_free(own, stack, spec, document["name"])
    taken = {
        each["config"]["labels"].get(labels.REPLICA)
        for each in engine.containers(stack)
        if each["config"]["labels"].get(labels.RESOURCE) == spec.address
    }
    replicas = int(spec.fields.get("replicas", 1))
    index = next((number for number in range(1, replicas + 1) if str(number) not in taken), 0)
    if not index:
        raise StackpyError(
            f"{spec.address} has all of its {replicas} replicas" if replicas > 1 else f"{spec.address} exists already",
            hint="give it more replicas, or remove one",
        )
    wanted = engine_name(stack, "container", spec.name, index)
    live = {key: value for key, value in container_fields(stack, config).items() if key not in ("labels", "image")}
    if users := labels.users(own):
        live["labels"] = users
    if "volumes" in live:
        # Volumes without a name are its own, whatever the stack file says.
        live["volumes"] = [volume for volume in live["volumes"] if not is_anonymous(volume)]
    if document["name"] != wanted:
        engine.rename(document["id"], wanted)
    given = _labels(own, stack, spec, generation)
    if document["image_id"] == image[0]:
        given[labels.RECIPE] = image[1]
    given |= {labels.REPLICA: str(index), labels.SPEC: labels.dump({"image": spec.fields["image"], **live})}
    changes: dict[str, Any] = {"labels": given}
    if networks := config.get("networks"):
        changes["networks"] = {
            network: {**attachment, "aliases": _aliases(spec.name, wanted, attachment["aliases"])}
            for network, attachment in networks.items()
        }
    engine.update(document["id"], changes)
    return wanted


def is_anonymous(mount: Mapping[str, Any]) -> bool:
    """Whether it mounts a volume that was made for this container, which has 64 digits for a name."""
    return mount["type"] == "volume" and len(mount["source"]) == 64


def _labels(own: Mapping[str, str], stack: str, spec: Spec, generation: int) -> dict[str, str]:
    """Ours, and the user's that it has: the plan shows which others it should have."""
    ours = resource_labels(stack, spec, generation)
    return {**labels.users(own), **{key: value for key, value in ours.items() if key.startswith(labels.PREFIX)}}


def _aliases(resource: str, name: str, present: Sequence[str]) -> list[str]:
    """The aliases that the adapter adds stand first."""
    return [resource, name, *(alias for alias in present if alias not in (resource, name))]


def _one(documents: Sequence[Document], name: str, kind: str) -> Document:
    for document in documents:
        if document["name"] == name:
            return document
    from stackpy.dsl.values import meant

    near = meant(name, [document["name"] for document in documents], f"`stackpy {kind} ls` lists them")
    raise StackpyError(f"no such {kind}: `{name}`", hint=near)


def _is_free(own: Mapping[str, str], stack: str, spec: Spec, name: str) -> None:
    owner = own.get(labels.STACK)
    if not owner:
        return
    resource = own.get(labels.RESOURCE, "")
    if owner == stack and resource == spec.address:
        raise StackpyError(f"`{name}` is {spec.address} already", hint="`stackpy plan` shows what differs")
    hint = f'moved(old="{resource}", new="{spec.address}") renames it' if owner == stack else "destroy that one first"
    raise StackpyError(f"`{name}` is {resource} of stack `{owner}`", hint=hint)


def _is_unused(documents: Sequence[Document], wanted: str, name: str, spec: Spec) -> None:
    if wanted != name and any(document["name"] == wanted for document in documents):
        raise StackpyError(f"{spec.address} exists already: `{wanted}`", hint="remove one of the two")
