"""Makes a container from its configuration: everything that can be wrong is found here, before anything runs."""

from __future__ import annotations

import base64
import os
import re
import time

from stackpy_runtime import labels, volume
from stackpy_runtime.container import confinement, plan, resources, restart, security, state
from stackpy_runtime.container.timestamps import timestamp
from stackpy_runtime.errors import InvalidConfig, NotFound
from stackpy_runtime.host import checks
from stackpy_runtime.store import trees

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import (
        Container,
        ContainerConfig,
        Image,
        Mount,
        NetworkConfig,
        Volume,
    )
    from stackpy_runtime.store.store import Store

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,127}")
LINK = re.compile(r"[^/:\s\x00]{1,15}")
# The network of containers that name none, made when the first needs it and removed after the last.
BRIDGE = "bridge"
_FOLDERS = ("upper", "work", "etc")  # of a container


def random_name() -> str:
    """A name for a container that has been given none."""
    first = "able bold calm deft fair glad keen kind neat prim quick sage swift warm wise".split()
    second = "ant bee cod doe eel fox hen ibis jay kite lark mole newt owl ray seal tern vole wren yak".split()
    number = int.from_bytes(os.urandom(4), "big")
    return f"{first[number % len(first)]}_{second[number // 64 % len(second)]}_{number % 10000}"


def check(config: ContainerConfig, image: Image) -> None:
    """Raises InvalidConfig for what no start could carry out."""
    if not NAME.fullmatch(config["name"]):
        raise InvalidConfig(
            f"`{config['name']}` is not a container name",
            hint="letters, digits, `_`, `.` and `-`, a letter or digit first",
        )
    plan.argv(config, image["config"])
    security.capabilities(config.get("cap_add", []), config.get("cap_drop", []))
    confinement.check(config)
    restart.check(config.get("restart", "no"))
    if (
        (check := config.get("healthcheck"))
        and not checks.asks(check)
        and not checks.effective(config, image["config"])
    ):
        raise InvalidConfig(
            "it has times of a health check, but neither it nor its image has one",
            hint="say what is asked: a command, http or tcp",
        )
    resources.check(config)
    if config.get("network_mode") and config.get("networks"):
        raise InvalidConfig(f"network_mode {config.get('network_mode')} and networks exclude each other")
    if config.get("network_mode") and config.get("ports"):
        raise InvalidConfig(f"ports cannot be published with network_mode {config.get('network_mode')}")
    if config.get("auto_remove") and config.get("restart", "no") != "no":
        raise InvalidConfig("a restart policy and removal at exit exclude each other")
    hostname = config.get("hostname", "")
    if len(hostname) > 63 or "\0" in hostname or "/" in hostname:
        raise InvalidConfig(f"`{hostname[:70]}` is not a host name", hint="at most 63 characters")
    for secret in config.get("secrets", []):
        if "/" in secret["target"] or secret["target"] in ("", ".", ".."):
            raise InvalidConfig(f"secret target `{secret['target']}` is not a file name")
    for file in config.get("files", []):
        plan.check_target(file["target"])


def create(store: Store, config: ContainerConfig, identity: str = "") -> Container:
    """Makes the container's folder and row. Raises InvalidConfig, NotFound or Conflict and leaves nothing then.

    identity: its ID, which whoever asks has chosen
    """
    image = store.image(config["image"])
    config.setdefault("name", "")
    config["name"] = config["name"] or random_name()
    check(config, image)
    anonymous = [*_own_volumes(config), *_image_volumes(config, image)]
    plan.mounts(config, {m["source"]: "" for m in config.get("mounts", []) if m["type"] == "volume"})
    for mount in config.get("mounts", []):
        if mount["type"] == "bind" and not os.path.exists(mount["source"]):
            raise InvalidConfig(
                f"bind source {mount['source']} does not exist", hint="make it first, or use a named volume"
            )
    if any("propagation" in mount for mount in config.get("mounts", [])):
        from stackpy_runtime.container import propagation

        propagation.check_all(config)
    _check_links(config)
    for name in config.get("networks", {}):
        if name != BRIDGE:
            store.network(name)
    for field, reference in confinement.shared_with(config).items():
        try:
            store.container(reference)
        except NotFound as error:
            raise NotFound(f"{field}: there is no container `{reference}`", hint="make it first") from error
    for secret in config.get("secrets", []):
        store.secret(secret["secret"])
    identity = identity or os.urandom(32).hex()
    folder = f"{store.root.containers}/{identity}"
    volumes: list[Volume] = []
    try:
        os.mkdir(folder, 0o755)
        for name in _FOLDERS:
            os.mkdir(f"{folder}/{name}", 0o755)
        if "storage_opt" in config:
            from stackpy_runtime.host import storage_size

            storage_size.bound(folder, config["storage_opt"]["size"])
        stage_files(config, folder)
        container: Container = {
            "id": identity,
            "name": config["name"],
            "created": timestamp(time.time()),
            "image_id": image["id"],
            "config": config,
            "state": state.initial(),
            "networks": {},
        }
        for mount in config.get("mounts", []):
            name = mount["source"]
            if mount["type"] == "volume" and (name in anonymous or not _has_volume(store, name)):
                own = {labels.ANONYMOUS: identity} if name in anonymous else {}
                volumes.append(volume.prepare(store, name, own))
        # Both or none: a volume that is there for a container that is not would be nobody's.
        store.insert_container(container, volumes)
        try:
            # A prune may have taken it since it was looked up; from now on it is in use.
            store.image_config(image["id"])
        except NotFound:
            store.delete_container(identity)
            raise
    except BaseException:
        trees.remove(folder)
        for each in volumes:
            volume.withdraw(store, each["name"])
        raise
    for each in volumes:
        volume.created(store, each)
    return container


def restore(store: Store, container: Container) -> None:
    """Makes what a power cut has taken of a container's folder anew: the index is on the disk before any of it is.

    What the container itself had written there is lost with it, as on any machine whose power is cut.
    """
    folder = f"{store.root.containers}/{container['id']}"
    for name in _FOLDERS:
        os.makedirs(f"{folder}/{name}", 0o755, exist_ok=True)
    stage_files(container["config"], folder)


def _check_links(config: ContainerConfig) -> None:
    """Raises InvalidConfig for names of links that no two can have, or that none can have (dev_valid_name in Linux)."""
    names = [name for each in config.get("networks", {}).values() if (name := each.get("interface_name"))]
    for name in names:
        if not LINK.fullmatch(name) or name in ("lo", ".", ".."):
            raise InvalidConfig(f"`{name}` cannot be the name of a link", hint="at most 15 letters, such as eth7")
        if names.count(name) > 1:
            raise InvalidConfig(f"two networks with a link `{name}`", hint="give each another name")


def stage_files(config: ContainerConfig, folder: str) -> None:
    """Puts the contents of `files` on disk, where the sandbox reads them; the configuration keeps them too."""
    files = config.get("files", [])
    if files:
        os.makedirs(f"{folder}/files", 0o755, exist_ok=True)
    for index, file in enumerate(files):
        try:
            content = base64.b64decode(file["content"], validate=True)
        except ValueError:
            raise InvalidConfig(f"content of {file['target']} is not base64") from None
        with open(f"{folder}/files/{index}", "wb") as staged:
            staged.write(content)


def _own_volumes(config: ContainerConfig) -> list[str]:
    """Names the volumes that have no name and are this container's alone; returns the names."""
    made: list[str] = []
    for mount in config.get("mounts", []):
        if mount["type"] == "volume" and not mount["source"]:
            mount["source"] = os.urandom(32).hex()
            made.append(mount["source"])
    return made


def _image_volumes(config: ContainerConfig, image: Image) -> list[str]:
    """Adds a volume for each VOLUME of the image that nothing is mounted on; returns their names."""
    covered = {mount["target"].rstrip("/") for mount in config.get("mounts", [])}
    made = []
    for target in image["config"].get("Volumes", {}):
        path = plan.check_target(target)
        if path.rstrip("/") in covered:
            continue
        name = os.urandom(32).hex()
        mount: Mount = {"type": "volume", "source": name, "target": path, "read_only": False}
        config.setdefault("mounts", []).append(mount)
        made.append(name)
    return made


def _has_volume(store: Store, name: str) -> bool:
    """Whether there is a volume of this name; one that is missing is made, as docker run does."""
    try:
        store.volume(name)
    except NotFound:
        return False
    return True


def bridge_config() -> NetworkConfig:
    """The configuration of the network of containers that name none."""
    return {"name": BRIDGE, "labels": {}}
