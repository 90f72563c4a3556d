"""The part of the engine's façade that is about registries."""

from __future__ import annotations

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from typing import Any

    from stackpy_runtime.image.registry.connections import Connections
    from stackpy_runtime.image.registry.looking import Found
    from stackpy_runtime.model import Base, Image, ImageConfig, ImageSource, Progress
    from stackpy_runtime.store.store import Store

    Report = Callable[[Progress], None]


class RegistryVerbs:
    """Mixed into Engine."""

    root: str
    registries: Mapping[str, Mapping[str, Any]] = {}
    """What a stack says of registries, by host: mirrors, ca, insecure; set before the first use."""
    pins: Mapping[str, Mapping[str, str]] = {}
    """Reference, as it is written or with its tag → platform → the manifest's digest that is taken for the tag."""
    policies: Mapping[str, float | None] = {}
    """Reference → seconds after which its registry is asked again what it is; None: it is never asked."""
    _connections: Connections | None = None
    _resolved: tuple[ImageSource, ImageSource] | None = None  # the last one, and what it is without Dockerfiles
    _found: dict[tuple[str, str], Found]
    _configs: dict[str, ImageConfig]

    if TYPE_CHECKING:

        @property
        def store(self) -> Store:
            """The store, for reading."""

        def _tell(self, action: str, image: Image, name: str = "") -> None:
            """Notes what has happened to an image."""

        def _writable(self) -> Store:
            """The store, created when there is none."""

        def _plain(self, source: ImageSource) -> ImageSource:
            """A source with what its Dockerfiles say in their places."""

    @property
    def _registry(self) -> Connections:
        if self._connections is None:
            from stackpy_runtime.image.registry.connections import Connections

            self._connections = Connections(self.root, self.registries)
        return self._connections

    def configure(
        self,
        *,
        registries: Mapping[str, Mapping[str, Any]] | None = None,
        pins: Mapping[str, Mapping[str, str]] | None = None,
        policies: Mapping[str, float | None] | None = None,
    ) -> None:
        """Takes what a stack says: `registries`, `pins` and `policies` as above; None leaves what is."""
        if policies is not None and policies != self.policies:
            self.policies = policies
            self.__dict__.pop("_found", None)
        if registries is not None and registries != self.registries:
            self.registries, self._connections = registries, None
        if pins is not None and pins != self.pins:
            self.pins = pins
            self.__dict__.pop("_found", None)

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        policy: str = "missing",
        digest: str = "",
        base: bool = False,
        progress: Report | None = None,
    ) -> Image:
        """Brings an image from its registry into the store; layers that are there are not downloaded.

        platform: "linux/arm64"; "" means this machine's
        policy: "missing" asks no registry where the store has the image for that platform, "always" does, and "never"
            raises where it has not
        digest: of the manifest to take, whatever the tag names now; the image is called `reference` all the same
        base: for a build: an image of another platform leaves the name to this machine's, and stands beside it

        Raises NotFound, InvalidConfig for an image that is damaged or lies, EngineError for what the registry refuses.
        """
        from stackpy_runtime import platforms
        from stackpy_runtime.container.timestamps import timestamp
        from stackpy_runtime.errors import InvalidConfig, NotFound
        from stackpy_runtime.image import references
        from stackpy_runtime.image.registry import pulling
        from stackpy_runtime.store import layers

        parsed = references.parse(reference)
        if policy not in ("missing", "always", "never"):
            raise InvalidConfig(f"`{policy}` is no policy for pulls", hint="it is `missing`, `always` or `never`")
        store = self._writable()
        beside = base and bool(platform) and platforms.parse(platform) != platforms.machine()
        if policy == "missing" and beside:
            held = self._held(reference, platform)
            if held is not None and all(layers.exists(store.root, layer) for layer in held["layers"]):
                return held
        elif policy != "always":
            try:
                image = store.image(f"{parsed.name}@{digest}" if digest else str(parsed))
                if platforms.is_for(image["architecture"], platform) and all(
                    layers.exists(store.root, layer) for layer in image["layers"]
                ):
                    if digest:
                        store.tag(str(parsed), image["id"])
                    return store.image(image["id"])
            except NotFound:
                pass
            if policy == "never":
                wanted = f" for {platforms.parse(platform)}" if platform else ""
                raise NotFound(f"no such image: `{reference}`{wanted}", hint="`stackpy image ls` lists them")
        asked = parsed._replace(digest=digest) if digest else parsed
        image = pulling.pull(
            store, self._registry, asked, name=str(parsed), platform=platform, beside=beside, progress=progress
        )
        image = {**image, "pulled": timestamp(time.time())}
        store.put_image(image)
        self._tell("pull", image, str(parsed))
        return image

    def push(self, image: str, reference: str = "", *, progress: Report | None = None) -> str:
        """Gives an image to a registry, where `reference` (or, without it, `image`) names it then.

        Returns the manifest's digest. Raises NotFound, InvalidConfig, EngineError for what the registry refuses.
        """
        from stackpy_runtime.image import references
        from stackpy_runtime.image.registry import pushing

        target = references.parse(reference or image)
        found = self.store.image(image)
        digest = pushing.push(self.store, self._registry, found, target, progress=progress)
        self._tell("push", found, str(target))
        return digest

    def look_up(self, reference: str, *, platform: str = "") -> dict[str, Any]:
        """What a registry has under a reference: {id, digest, index, size}; downloads no layer.

        id: the image's ID, once it is in the store; digest: the manifest's for the platform; index: "" without one
        size: of all layers, compressed
        """
        found = self._look_up(reference, platform)
        index = "" if found.top.digest == found.manifest.digest else found.top.digest
        return {"id": found.image_id, "digest": found.manifest.digest, "index": index, "size": found.size}

    def registry_digest(self, reference: str, *, platform: str = "") -> str:
        """The digest of the manifest that a reference names in its registry, for a platform; raises NotFound."""
        from stackpy_runtime import platforms
        from stackpy_runtime.image import references
        from stackpy_runtime.image.registry import looking

        found = looking.find(self._registry, references.parse(reference), platforms.parse(platform))
        return found.manifest.digest

    def published_digest(self, reference: str) -> str:
        """The digest that a tag has in its registry now; "" where there is none. One request."""
        from stackpy_runtime.image import references

        parsed = references.parse(reference)
        (client,) = self._registry.clients(parsed.registry, mirrors=False)
        return client.manifest_digest(parsed.repository, parsed.digest or parsed.tag)

    def registry_tags(self, name: str) -> list[str]:
        """The tags of a repository in its registry; raises NotFound."""
        from stackpy_runtime.image import references
        from stackpy_runtime.image.registry import listing

        return listing.tags(self._registry, references.parse(name))

    def login(self, registry: str, username: str, password: str) -> str:
        """Asks a registry whether it takes these credentials, and keeps them as docker does.

        Returns where: the path of docker's config.json, or the helper's program. Raises EngineError where it refuses.
        """
        from stackpy_runtime.image.registry import login

        return login.login(self._registry, registry, username, password)

    def logout(self, registry: str) -> bool:
        """Forgets the credentials for a registry; returns whether there were any."""
        from stackpy_runtime.image.registry import login

        return login.logout(self._registry, registry)

    # --- bases that are not here yet ---------------------------------------------------------------------------------

    def missing_bases(self, source: ImageSource) -> list[tuple[str, str]]:
        """The images, with their platforms, that a build of `source` takes from registries, since the store lacks them.

        source: without Dockerfiles
        """
        wanted = dict.fromkeys(_images(source))
        return [(reference, platform) for reference, platform in wanted if self._held(reference, platform) is None]

    def base_references(self, source: ImageSource) -> list[tuple[str, str]]:
        """The images that a source stands on or takes files from, with the platforms that are asked for.

        Dockerfiles in it are read.
        """
        return list(dict.fromkeys(_images(self._plain(source))))

    def bases(self, source: ImageSource) -> list[dict[str, Any]]:
        """The images that a source takes from registries: {reference, platform, runs_on, digest, missing, differs}.

        source: Dockerfiles in it are read
        platform: as it was asked for, or ""; runs_on: `linux/amd64`, what is meant by it
        digest: the manifest's; "" for an image that came from no registry
        missing: whether it is to be pulled; differs: why, where the store has another
        """
        resolved, self._resolved = self._resolved, None
        plain = resolved[1] if resolved is not None and resolved[0] is source else self._plain(source)
        found = []
        for reference, platform in dict.fromkeys(_images(plain)):
            from stackpy_runtime import platforms  # many images stand on none of a registry

            pinned, image = self._pin(reference, platform), self._held(reference, platform)
            if image is None:
                digest = pinned or self._look_up(reference, platform).manifest.digest
            else:
                digest = image.get("manifest", "") if image.get("origins") else ""
            row = {"reference": reference, "platform": platform, "runs_on": str(platforms.parse(platform))}
            differs = ""
            if image is None and pinned and self._named(reference, platform) is not None:
                due = self.policies and self._is_due(reference, platform)
                differs = "its registry has another now" if due else "stackpy.lock names another digest"
            found.append({**row, "digest": digest, "missing": image is None, "differs": differs})
        return found

    def _held(self, reference: str, platform: str) -> Image | None:
        """The store's image of this name, unless another is pinned."""
        image = self._named(reference, platform)
        pin = self._pin(reference, platform) if image is not None else ""
        if image is None:
            return None
        return image if not pin or any(name.endswith(f"@{pin}") for name in image.get("origins", ())) else None

    def _named(self, reference: str, platform: str) -> Image | None:
        from stackpy_runtime.errors import NotFound

        try:
            return self.store.of_platform(reference, platform) if platform else self.store.image(reference)
        except NotFound:
            return None

    def _pin(self, reference: str, platform: str) -> str:
        if self.policies and self._is_due(reference, platform):
            return self._look_up(reference, platform).manifest.digest
        if not self.pins or "@" in reference:
            return ""
        from stackpy_runtime import platforms
        from stackpy_runtime.store.images import with_tag

        found = self.pins.get(reference) or self.pins.get(with_tag(reference)) or {}
        wanted = platforms.parse(platform)
        plain = f"{wanted.os}/{wanted.architecture}"
        # The last is how files of earlier versions have arm64.
        return next((found[name] for name in (str(wanted), plain, f"{plain}/v8") if name in found), "")

    def _is_due(self, reference: str, platform: str) -> bool:
        """Whether the registry is asked what an image is now, though the store has one, and whatever is pinned."""
        period = self.policies.get(reference)
        if period is None or "@" in reference:
            return False
        image = self._named(reference, platform)
        if not period or image is None:
            return True
        return is_old(str(image.get("pulled", "")), period, time.time())

    def _look_up(self, reference: str, platform: str) -> Found:
        from stackpy_runtime import platforms
        from stackpy_runtime.image import references
        from stackpy_runtime.image.registry import looking

        known = self.__dict__.setdefault("_found", {})
        key = (reference, platform)
        if key not in known:
            parsed = references.parse(reference)
            if reference in self.policies and self.policies[reference] is None:
                from stackpy_runtime.errors import NotFound

                raise NotFound(
                    f"`{reference}` is not in the store, and its pull_policy is `never`",
                    hint=f"`stackpy pull {reference}` brings it",
                )
            pin = "" if self.policies and self._is_due(reference, platform) else self._pin(reference, platform)
            asked = parsed._replace(digest=pin) if pin else parsed
            known[key] = looking.find(self._registry, asked, platforms.parse(platform))
        found: Found = known[key]
        return found

    def _remote_config(self, base: Base) -> ImageConfig:
        """The configuration of an image that the store lacks, from its registry."""
        from stackpy_runtime import platforms
        from stackpy_runtime.image import manifests
        from stackpy_runtime.image.registry import looking

        platform = base.get("platform", "")
        found = self._look_up(base["reference"], platform)
        known = self.__dict__.setdefault("_configs", {})
        if found.image_id not in known:
            wanted, limits = platforms.parse(platform), self._registry.limits
            _, document = looking.configuration(found, wanted, asked=bool(platform), limits=limits)
            known[found.image_id] = manifests.image_config(document)
        config: ImageConfig = known[found.image_id]
        return config

    def _seen(self, source: ImageSource) -> Store:
        """The store with the images that a build of `source` would pull: to resolve with, not to write to."""
        missing = frozenset(self.missing_bases(source))
        return Beside(self.store, missing, self._look_up) if missing else self.store  # type: ignore[return-value]

    def _pull_bases(self, source: ImageSource, progress: Report) -> None:
        """Pulls what a build of `source` needs, as it was when the source was resolved."""
        for reference, platform in self.missing_bases(source):
            found = self._look_up(reference, platform)
            digest = "" if "@" in reference else found.manifest.digest
            progress({"kind": "state", "text": f"pulling {reference}"})
            self.pull(reference, platform=platform, digest=digest, base=True, progress=progress)


class Beside:
    """A store in which images of registries are seen by their IDs, beside all that it has."""

    def __init__(self, store: Store, missing: frozenset[tuple[str, str]], look_up: Callable[[str, str], Found]) -> None:
        self._store, self._missing, self._look_up = store, missing, look_up

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def image(self, reference: str) -> Any:
        """The image; of one that is not here its ID alone."""
        if (reference, "") in self._missing:
            return {"id": self._look_up(reference, "").image_id}
        return self._store.image(reference)

    def of_platform(self, reference: str, platform: str) -> Any:
        """The image that a reference names for a platform; of one that is not here its ID alone."""
        if (reference, platform) in self._missing:
            return {"id": self._look_up(reference, platform).image_id}
        return self._store.of_platform(reference, platform)


def _images(source: ImageSource) -> Iterator[tuple[str, str]]:
    """The references that a source stands on or takes files from, with their platforms."""
    for stage in (source, *source.get("stages", {}).values()):
        if stage["base"]["kind"] == "image":
            yield stage["base"]["reference"], stage["base"].get("platform", "")
        for step in stage["steps"]:
            for place in (step, *step.get("mounts", ())):
                if reference := place.get("from_image"):
                    yield str(reference), str(place.get("from_platform", ""))


def is_old(pulled: str, period: float, now: float) -> bool:
    """Whether what was pulled then is more than a period of seconds old at `now`, or from a clock that was set back."""
    from stackpy_runtime.container.timestamps import timestamp

    return not timestamp(now - period) <= pulled <= timestamp(now)
