"""The engine's façade: the one name that stackpy imports.

Reading opens the store directly and needs no process; changing goes through the supervisor, which is started on demand.
Modules are imported where they are used: `run` needs neither the store nor the builder, `plan` no client.
"""

from __future__ import annotations

from stackpy_runtime.container_verbs import ContainerVerbs
from stackpy_runtime.copy_verbs import CopyVerbs
from stackpy_runtime.execution_verbs import ExecutionVerbs
from stackpy_runtime.image_verbs import ImageVerbs
from stackpy_runtime.registry_verbs import RegistryVerbs
from stackpy_runtime.volume_verbs import VolumeVerbs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from stackpy_runtime.build.cache_places import Place
    from stackpy_runtime.build.context import Walks
    from stackpy_runtime.dockerfile import Compiled
    from stackpy_runtime.host.client import Client
    from stackpy_runtime.model import (
        Base,
        BuildOptions,
        Check,
        Image,
        ImageConfig,
        ImageSource,
        Network,
        NetworkConfig,
        Progress,
        Recipe,
        Secret,
        Unlike,
    )
    from stackpy_runtime.store.store import Store


class Engine(ExecutionVerbs, ContainerVerbs, CopyVerbs, ImageVerbs, RegistryVerbs, VolumeVerbs):
    """One engine root. Making an Engine starts and creates nothing; it may be used from several threads.

    root: folder with everything that the engine stores
    read_only: nothing can be changed through it, not even what it remembers of files that it has read
    waiting: told in words when the engine's processes do not come up
    """

    def __init__(
        self, root: str, *, read_only: bool = False, waiting: Callable[[str], None] = lambda text: None
    ) -> None:
        super().__init__(root, waiting=waiting)
        self.read_only = read_only
        self._store: Store | None = None
        self._walks: dict[str, Walks] = {}  # recipe ID → what it copies from contexts, until it is built
        self._plain_sources: dict[str, ImageSource] = {}  # recipe ID → what it was resolved from, without Dockerfiles
        self._last_compiled: tuple[Base, Compiled] | None = None  # by `resolve`, for who asks what was to be said of it

    @property
    def client(self) -> Client:
        """The line to the supervisor; Denied where this engine is for reading."""
        self._refuse_reader()
        return super().client

    def _refuse_reader(self) -> None:
        if self.read_only:
            from stackpy_runtime.errors import Denied

            raise Denied("this engine was opened for reading, and nothing was changed")

    @property
    def store(self) -> Store:
        """The store, for reading; it is not created by being read."""
        if self._store is None:
            from stackpy_runtime.store.store import Store

            self._store = Store(self.root, read_only=self.read_only)
        return self._store

    def _writable(self) -> Store:
        """The store, created when there is none: for what the caller writes itself (images, layers)."""
        self._refuse_reader()
        if not self.store.root.exists():
            from stackpy_runtime.store.store import Store

            Store(self.root, create=True).close()
        return self.store

    # --- reading -----------------------------------------------------------------------------------------------------

    def images(self) -> list[Image]:
        """All images of the store."""
        return self.store.images()

    def image(self, reference: str) -> Image:
        """An image by reference, ID or unambiguous ID prefix; raises NotFound."""
        return self.store.image(reference)

    def networks(self) -> list[Network]:
        """All networks."""
        return self.store.networks()

    def network(self, name: str) -> Network:
        """A network by name or ID; raises NotFound."""
        return self.store.network(name)

    def addresses(self, network: str) -> dict[str, str]:
        """The containers' IDs by their addresses on a network; raises NotFound."""
        return self.store.addresses(self.store.network(network)["id"])

    def secrets(self) -> list[Secret]:
        """All secrets; `available` says whether the value is held now."""
        from stackpy_runtime.host import secret_fingerprints

        root = self.store.root
        return [
            {**secret, "available": secret_fingerprints.available(root, secret["name"])}
            for secret in self.store.secrets()
        ]

    # --- images ------------------------------------------------------------------------------------------------------

    def resolve(self, source: ImageSource) -> Recipe:
        """The recipe of an image: hashes what it copies; changes nothing. Raises InvalidConfig and NotFound.

        Of images that the store lacks it asks their registries what they are.
        """
        from stackpy_runtime.build.context import Walks
        from stackpy_runtime.build.recipe import resolve

        if self.read_only:
            from stackpy_runtime.build.stat_cache import StatCache

            # Of the whole process, which does nothing else: what it has learnt of files goes with it.
            StatCache.writes = False
        plain = self._plain(source)
        walks = Walks()
        recipe = resolve(plain, self._seen(plain), walks)
        self._walks[recipe["id"]] = walks
        if any("platform" in each["base"] for each in (plain, *plain.get("stages", {}).values())):
            from stackpy_runtime.build import foreign

            foreign.refuse(plain, recipe, self.store)
        if plain is not source:
            self._plain_sources[recipe["id"]] = plain
        self._resolved = (source, plain)
        return recipe

    def image_of(self, reference: str, platform: str) -> Image:
        """The image that a reference names for a platform, "" meaning whatever it names; raises NotFound."""
        return self.store.of_platform(reference, platform) if platform else self.store.image(reference)

    def cannot_run(self, source: ImageSource, recipe: str) -> str:
        """The platform of an image whose programs this machine cannot run; "" where it can.

        recipe: the ID of its recipe, which was resolved before
        """
        from stackpy_runtime.build import foreign

        platform = foreign.platform_of(self._plain_sources.get(recipe, source))
        return platform if platform and not foreign.runs(platform) else ""

    def read_dockerfile(self, base: Base, *, check: bool = False) -> Compiled:
        """A Dockerfile compiled, with its warnings; builds nothing. Raises InvalidConfig for all its errors at once.

        Right after `resolve` it is what that has read, once.

        check: asks no registry, and looks at all stages where the base names no target
        """
        from stackpy_runtime.build.dockerfiles import compiled

        last, self._last_compiled = self._last_compiled, None
        if last is not None and last[0] == base and not check:
            return last[1]
        every = check and "target" not in base
        config_of = self._local_config if check else self._base_config
        return compiled(base, config_of, every=every, platform_of=self._platform_at_hand)

    def _compile(self, base: Base) -> Compiled:
        self._last_compiled = None
        made = self.read_dockerfile(base)
        self._last_compiled = (base, made)
        return made

    def _plain(self, source: ImageSource) -> ImageSource:
        """A source with what its Dockerfiles say in their places."""
        from stackpy_runtime.build import dockerfiles

        if dockerfiles.present(source) or self._has_triggers(source):
            return dockerfiles.expanded(source, self._base_config, self._compile)
        return source

    def _has_triggers(self, source: ImageSource) -> bool:
        """Whether one of the images that steps stand on has ONBUILD; what cannot be told is said by `resolve`."""
        from stackpy_runtime.errors import EngineError

        for each in (source, *source.get("stages", {}).values()):
            if each["base"]["kind"] == "image" and each["steps"]:
                try:
                    if self._base_config(each["base"]).get("OnBuild"):
                        return True
                except EngineError:
                    continue
        return False

    def _platform_at_hand(self, base: Base) -> str:
        """What the store's image of a base's name is for, where a build would take it, or could not; "" without one."""
        image = self._held(base["reference"], base.get("platform", "")) or self._named(base["reference"], "")
        return f"linux/{image['architecture']}" if image is not None and image["architecture"] else ""

    def _base_config(self, base: Base) -> ImageConfig:
        found = self._local_config(base)
        return self._remote_config(base) if found is None else found

    def _local_config(self, base: Base) -> ImageConfig | None:
        found = self._held(base["reference"], base.get("platform", ""))
        return None if found is None else found["config"]

    def built(self, ids: Iterable[str]) -> set[str]:
        """Those of these step IDs whose result is in the store."""
        return self.store.steps_present(ids)

    def last_recipe(self, key: str) -> Recipe | None:
        """What `key` (`stack/image.web`) was last built from."""
        return self.store.recipe(key)

    def recipes(self, beginning: str = "") -> dict[str, Recipe]:
        """What every key that begins so was last built from: `shop/` for a stack's."""
        return self.store.recipes(beginning)

    def forget_recipes(self, beginning: str, images: Iterable[str] = ()) -> None:
        """Forgets them, and the build cache that no other key has; images with a name, or in use, stay.

        images: IDs of earlier builds, which go with their build cache where they have no name
        """
        from stackpy_runtime.store import pruning

        if self.store.root.exists():
            pruning.forget(self.store, beginning, images)

    def build(
        self,
        source: ImageSource,
        recipe: Recipe,
        *,
        key: str,
        tags: list[str],
        labels: dict[str, str],
        progress: Callable[[Progress], None],
        options: BuildOptions | None = None,
    ) -> Image:
        """Builds what of a recipe is not in the store. Raises ProcessFailed with a failing step's output."""
        from stackpy_runtime.build.cache_options import carried
        from stackpy_runtime.build.execute import build
        from stackpy_runtime.build.shortage import explained

        if options and options.get("limits"):
            from stackpy_runtime.container import resources

            resources.check(options["limits"])
        plain = self._plain_sources.get(recipe["id"])
        if plain is None:
            plain = self._plain(source)
            if plain is not source and self.resolve(source)["id"] != recipe["id"]:
                from stackpy_runtime.errors import Conflict

                raise Conflict("the Dockerfile, or what it copies, changed since the plan was made", hint="plan again")
        store = self._writable()
        self._expect_runs(plain, recipe, options or {})
        name = tags[0] if tags else "image"
        cache = carried(store, plain, recipe, options or {}, name=name, opened=self._cache_place, progress=progress)
        with explained(store):
            self._pull_bases(plain, progress)
            with cache:
                image = build(
                    store,
                    plain,
                    recipe,
                    key=key,
                    tags=tags,
                    labels=labels,
                    runner=self._run_step,
                    progress=progress,
                    options=options,
                    walks=self._walks.pop(recipe["id"], None),
                )
        for tag in tags:
            self._tell("tag", image, tag)
        return image

    def _expect_runs(self, source: ImageSource, recipe: Recipe, options: BuildOptions) -> None:
        """Has processes made ready for the RUN steps, while the steps before them are carried out."""
        from stackpy_runtime.build.recipe import run_steps

        runs = run_steps(source, recipe)
        starts = len(runs if options.get("no_cache") else runs - self.built(runs))
        if starts > 1:
            from _thread import start_new_thread

            start_new_thread(self._expect_quietly, (starts,))

    def _expect_quietly(self, starts: int) -> None:
        from stackpy_runtime.errors import EngineError

        try:
            self.expect(starts, [])
        except EngineError:
            pass  # the step itself will say what is wrong

    def carry_cache(
        self,
        source: ImageSource,
        recipe: Recipe,
        options: BuildOptions,
        *,
        name: str = "image",
        progress: Callable[[Progress], None],
    ) -> None:
        """Takes a recipe's results from `cache_from`, and brings those that are here to `cache_to`; builds nothing.

        name: under which the places keep them
        """
        from stackpy_runtime.build.cache_options import carried

        store, plain = self._writable(), self._plain_sources.get(recipe["id"]) or self._plain(source)
        with carried(store, plain, recipe, options, name=name, opened=self._cache_place, progress=progress):
            pass

    def verify_build(
        self,
        source: ImageSource,
        recipe: Recipe,
        image: Image,
        *,
        progress: Callable[[Progress], None],
        options: BuildOptions | None = None,
    ) -> list[Unlike]:
        """Makes the steps of a built image once more, keeps nothing, and returns the files that differ."""
        from stackpy_runtime.build.shortage import explained
        from stackpy_runtime.build.verifying import verify

        store, plain = self._writable(), self._plain_sources.get(recipe["id"]) or self._plain(source)
        with explained(store):
            return verify(store, plain, recipe, image, runner=self._run_step, progress=progress, options=options or {})

    def _cache_place(self, name: str) -> Place:
        """What `cache_from` and `cache_to` of a build call so."""
        from stackpy_runtime.build.cache_places import Folder

        if not name.startswith("docker://"):
            return Folder(name)
        from stackpy_runtime.build.cache_registry import Registry
        from stackpy_runtime.image import references

        return Registry(self._registry, references.parse(name.removeprefix("docker://")), self._writable().root)

    def _run_step(self, step: Any, output: Callable[[str], None]) -> int:
        """Runs a RUN step in the sandbox; `output` gets what it prints, as it comes."""
        from stackpy_runtime.host import step_client

        return step_client.run(self.client, step, output)

    def tag(self, reference: str, name: str) -> None:
        """Gives an image another name; raises InvalidConfig for what is no reference."""
        from stackpy_runtime.image import references  # its grammar is compiled only where a name is given

        given = str(references.parse(name))
        self.store.tag(given, self.store.image(reference)["id"])
        self._tell("tag", self.store.image(given), given)

    def remove_image(self, reference: str, force: bool = False) -> list[str]:
        """Takes a name away, and the image when it was its last and no container uses it; returns a line for each."""
        from stackpy_runtime.store import pruning

        image = self.store.image(reference)
        lines = pruning.image(self.store, reference, force=force)
        for line in lines:
            done, _, name = line.partition(": ")
            self._tell("delete" if done == "deleted" else "untag", image, name)
        return lines

    # --- what is asked for under a lock ------------------------------------------------------------------------------

    def hold(self, *locks: int) -> None:
        """From now on the engine has these descriptors open while it does what we ask for; none: not any more.

        A flock on one of them is then held for as long as anything goes on that was asked for under it, also where
        whoever has asked is killed: who takes it next finds no change half made.
        """
        self._locks[:] = locks

    # --- networks, secrets --------------------------------------------------------------------------------------------

    def expect(self, starts: int, networks: list[str]) -> None:
        """Tells what comes, so that it can be prepared: containers to start, and networks to be removed. A hint only.

        A network's bridge then goes as soon as nothing runs on it any more.
        """
        self.client.call("expect", {"starts": starts, "networks": networks})

    def create_network(self, config: NetworkConfig) -> Network:
        """Makes a network."""
        network: Network = self.client.call("create_network", {"config": config})
        return network

    def label_network(self, name: str, labels: dict[str, str]) -> None:
        """Gives a network other labels; raises NotFound."""
        self.store.update_network({**self.store.network(name), "labels": labels})

    def remove_network(self, name: str) -> None:
        """Removes a network that no container is on."""
        self.client.call("remove_network", {"name": name})

    def restore_network(self, name: str) -> None:
        """Makes the bridge of a network anew, and its filter, where somebody has deleted them."""
        self.client.call("restore_network", {"name": name})

    def rename_network(self, name: str, new: str) -> None:
        """Gives a network another name; the containers on it go on."""
        self.client.call("rename_network", {"name": name, "new": new})

    def put_secret(self, name: str, value: bytes, labels: dict[str, str]) -> None:
        """Holds a secret's value in memory; replaces the one before."""
        import base64

        encoded = base64.b64encode(value).decode()
        self.client.call("put_secret", {"name": name, "value": encoded, "labels": labels})

    def remove_secret(self, name: str) -> None:
        """Forgets a secret that no container mounts."""
        self.client.call("remove_secret", {"name": name})

    def fingerprint(self, value: bytes) -> str:
        """The keyed HMAC of a value, as `secrets` shows it; "" while this root has held no secret yet."""
        from stackpy_runtime.host import secret_fingerprints

        return secret_fingerprints.fingerprint(self.store.root, value)

    def tidy(self) -> None:
        """Takes away what was made on demand and nothing uses: the network of containers that name none."""
        self.client.call("tidy")

    def wake(self) -> None:
        """Starts our processes, which start what its restart policy says; nothing where there is no container."""
        if self.store.containers():
            self.client.call("ping")

    def halt(self, *, host: bool) -> list[str]:
        """Stops all that runs, as long as our processes are away; the containers' names. host: it is shut down

        Each gets its own stop signal and grace period. Returns when our processes have left.
        """
        if not any(each["state"]["status"] in ("running", "paused", "restarting") for each in self.containers()):
            return []
        names: list[str] = self.client.call("halt", {"host": host})
        self.client.call("tidy")
        self.client.await_leaving()
        return names

    def info(self) -> dict[str, Any]:
        """What this engine is, holds and runs on, as Docker's SystemInfo."""
        from stackpy_runtime.host.facts import facts

        return facts(self.store, self.containers())

    def check(self) -> list[Check]:
        """What this host can and cannot do for the engine."""
        from stackpy_runtime.host.checking import check

        return check(self.root)
