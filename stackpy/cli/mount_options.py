"""The flags of `run` and `create` about mounts, as docker's: -v, --mount, --tmpfs, --volumes-from."""

from __future__ import annotations

import os

from stackpy.cli.grammar import Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.engines.base_containers import ContainerEngine

OPTIONS = [
    Option(
        "-v",
        "--volume",
        metavar="[SOURCE:]TARGET[:OPTIONS]",
        many=True,
        help="a volume by name, a folder of this host, or one of its own: ro, rslave, nocopy",
        words="file",
    ),
    Option(
        "--mount",
        metavar="type=TYPE,KEY=VALUE",
        many=True,
        help="a bind, volume or tmpfs: source, target, readonly, volume-subpath, tmpfs-size, …",
    ),
    Option("--tmpfs", metavar="TARGET[:OPTIONS]", many=True, help="a file system in memory: size=64m,mode=1777,exec"),
    Option(
        "--volumes-from", metavar="CONTAINER[:ro]", many=True, help="mounts of another container", words="container"
    ),
]
# docker's names and ours: the key, within the mapping of the long form that has it
_NAMES = {
    "src": ("source",),
    "dst": ("target",),
    "destination": ("target",),
    "readonly": ("read_only",),
    "ro": ("read_only",),
    "bind-propagation": ("bind", "propagation"),
    "bind-recursive": ("bind", "recursive"),
    "bind-create-host-path": ("bind", "create_host_path"),
    "volume-nocopy": ("volume", "nocopy"),
    "volume-subpath": ("volume", "subpath"),
    "tmpfs-size": ("tmpfs", "size"),
    "tmpfs-mode": ("tmpfs", "mode"),
}
_SWITCHES = ("read_only", "nocopy", "create_host_path")  # what stands for true where it is alone
_REFUSED = {
    "volume-driver": "volumes are folders of this host: leave it out",
    "volume-opt": "volumes are folders of this host: leave it out",
    "volume-label": "`stackpy volume create --label` makes a volume with labels",
    "consistency": "Docker Desktop has it: leave it out",
    "bind-nonrecursive": "write bind-recursive=disabled",
    "image-subpath": "image mounts are not offered: COPY --from takes files of another image",
}


def add(document: dict[str, Any], arguments: Any) -> None:
    """Adds what the flags say; raises UsageError naming the flag whose value is wrong."""
    mounts = [_volume(text) for text in arguments.volume] + [_mount(text) for text in arguments.mount]
    if arguments.tmpfs:
        from stackpy.cli.run_config import parsed
        from stackpy.dsl.mounts import tmpfs

        mounts += [parsed("--tmpfs", tmpfs, text) for text in arguments.tmpfs]
    if mounts:
        document["mounts"] = mounts


def add_from(document: dict[str, Any], names: list[str], engine: ContainerEngine) -> None:
    """Adds the mounts of other containers; the container's own win. Raises UsageError."""
    if not names:
        return
    own = document.setdefault("mounts", [])
    taken = {mount["target"] for mount in own}
    for text in names:
        name, _, mode = text.partition(":")
        if mode not in ("", "ro", "rw"):
            raise UsageError(f"`--volumes-from {text}`: unknown mode `{mode}`", hint="the modes are `ro` and `rw`")
        for mount in engine.mounts(name):
            if mount["target"] not in taken:
                taken.add(mount["target"])
                own.append({**mount, "read_only": mount["read_only"] or mode == "ro"})


def _volume(text: str) -> dict[str, Any]:
    from stackpy.cli.run_config import parsed
    from stackpy.dsl.mounts import short

    mount: dict[str, Any] = parsed("--volume", short, text)
    return _located(mount, f"--volume {text}")


def _mount(text: str) -> dict[str, Any]:
    """`type=bind,source=/a,target=/b,readonly`: docker's form, with the keys of Compose's mapping too."""
    from csv import reader

    from stackpy.cli.run_config import parsed
    from stackpy.dsl.mounts import long

    given: dict[str, Any] = {"type": "volume"}
    for part in next(reader([text]), []):
        word, equals, value = part.strip().partition("=")
        if word in _REFUSED and not (word == "volume-driver" and value == "local"):
            raise UsageError(f"`--mount {text}`: there is no `{word}`", hint=_REFUSED[word])
        if word == "volume-driver":
            continue
        *place, key = _NAMES.get(word, (word,))
        content: Any = value
        if key in _SWITCHES:
            if value not in ("", "true", "1", "false", "0"):
                raise UsageError(f"`--mount {text}`: `{word}` must be true or false, not `{value}`")
            content = value not in ("false", "0")
        elif not equals:
            raise UsageError(
                f"`--mount {text}`: `{part}` must be KEY=VALUE", hint="type=bind,source=/data,target=/data"
            )
        (given.setdefault(place[0], {}) if place else given)[key] = content
    mount: dict[str, Any] = parsed("--mount", lambda _: long(given), text)
    return _located(mount, f"--mount {text}")


def _located(mount: dict[str, Any], flag: str) -> dict[str, Any]:
    """A bind's source made absolute; it must be there."""
    if mount["type"] == "bind":
        mount["source"] = os.path.abspath(os.path.expanduser(mount["source"]))
        if not os.path.exists(mount["source"]):
            raise UsageError(
                f"`{flag}`: there is no `{mount['source']}` on this host",
                hint="create it first; a named volume is written without a slash",
            )
    return mount
