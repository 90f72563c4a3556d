"""The image verbs of our own engine behind the port; mixed into EmbeddedEngine, which knows the engine."""

from __future__ import annotations

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from stackpy.engines.base_containers import Sink
    from stackpy.planning.steps import Explained

    Document = dict[str, Any]
    Report = Callable[[Document], None]
    Label = tuple[str, str | None, bool]


CACHE_KEEP = 10 << 30  # bytes of build cache, where stackpy.toml says nothing


class EmbeddedImages:
    """Implements ImageEngine."""

    cache_keep = CACHE_KEEP

    if TYPE_CHECKING:

        @property
        def _engine(self) -> Any:
            """stackpy_runtime.engine.Engine, its errors turned into ours."""

    def images(self, pattern: str = "", filters: Sequence[tuple[str, str]] = ()) -> list[Document]:
        """See ImageEngine."""
        from stackpy.engines import listings

        return listings.images(self._engine.images(), pattern, filters)

    def image_inspect(self, reference: str) -> Document:
        """See ImageEngine."""
        from stackpy.engines import documents

        engine = self._engine
        return documents.image(engine.image(reference), engine.image_digests(reference))

    def image_remove(self, reference: str, force: bool) -> list[str]:
        """See ImageEngine."""
        lines: list[str] = self._engine.remove_image(reference, force)
        return lines

    def image_tag(self, reference: str, name: str) -> None:
        """See ImageEngine."""
        self._engine.tag(reference, name)

    def image_history(self, reference: str) -> list[Document]:
        """See ImageEngine."""
        lines: list[Document] = self._engine.image_history(reference)
        return lines

    def image_save(self, references: list[str], out: Sink, form: str, called: list[str] | None = None) -> None:
        """See ImageEngine."""
        self._engine.save_images(references, out, form=form, called=called)

    def image_save_layout(self, references: list[str], folder: str, called: list[str] | None = None) -> None:
        """See ImageEngine."""
        self._engine.save_layout(references, folder, called=called)

    def image_save_tree(self, reference: str, out: Sink) -> None:
        """See ImageEngine."""
        self._engine.save_tree(reference, out)

    def image_write_tree(self, reference: str, folder: str) -> list[str]:
        """See ImageEngine."""
        left = self._engine.write_tree(reference, folder)
        lines = []
        for paths, what in ((left.devices, "no devices are written"), (left.bits, "set-id bits are not kept")):
            if paths:
                more = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
                lines.append(f"{what} in a folder of this host: `{paths[0]}`{more}")
        return lines

    def image_metadata(self, reference: str, pushed: bool) -> Document:
        """See ImageEngine."""
        manifest, config = self._engine.image_descriptors(reference, pushed=pushed)
        return {
            "containerimage.config.digest": config["digest"],
            "containerimage.descriptor": dict(manifest),
            "containerimage.digest": manifest["digest"],
        }

    def image_load(self, path: str, report: Report | None) -> list[Document]:
        """See ImageEngine."""
        loaded: list[Document] = self._engine.load_images(path, report)
        return loaded

    def image_pull(self, reference: str, *, platform: str, policy: str, report: Report | None) -> Document:
        """See ImageEngine."""
        from stackpy.dsl.references import with_tag
        from stackpy.engines.facade import Missing

        engine = self._engine
        try:
            before = engine.image(reference)["id"]
        except Missing:
            before = ""
        image: Document = engine.pull(reference, platform=platform, policy=policy, progress=report)
        origin = next(iter(image.get("origins", ())), "")
        return {
            "id": image["id"],
            "reference": with_tag(reference),
            "digest": origin.partition("@")[2],
            "new": image["id"] != before,
        }

    def image_push(self, reference: str, report: Report | None) -> str:
        """See ImageEngine."""
        digest: str = self._engine.push(reference, reference, progress=report)
        return digest

    def login(self, registry: str, username: str, password: str) -> str:
        """See ImageEngine."""
        kept: str = self._engine.login(registry, username, password)
        return kept

    def logout(self, registry: str) -> bool:
        """See ImageEngine."""
        return bool(self._engine.logout(registry))

    def registry_digest(self, name: str, platform: str) -> str:
        """See ImageEngine."""
        digest: str = self._engine.registry_digest(name, platform=platform)
        return digest

    def registry_tags(self, name: str) -> list[str]:
        """See ImageEngine."""
        tags: list[str] = self._engine.registry_tags(name)
        return tags

    def image_import(
        self, path: str, *, reference: str, instructions: list[str], message: str, platform: str
    ) -> Document:
        """See ImageEngine."""

        def make(name: str) -> Document:
            made: Document = self._engine.import_image(
                name, reference=reference, instructions=instructions, message=message, platform=platform
            )
            return made

        if not path.startswith(("http://", "https://")):
            return make(path)
        from stackpy.engines.downloading import downloaded

        with downloaded(path) as name:
            return make(name)

    def dockerfile(self, base: Document, check: bool) -> Document:
        """See ImageEngine."""
        made = self._engine.read_dockerfile(base, check=check)
        fields = ("rule", "file", "line", "message", "source", "url")
        return {
            "warnings": [
                {**{field: getattr(warning, field) for field in fields}, "text": str(warning)}
                for warning in made.warnings
            ],
            "unused": sorted(base.get("args", {}).keys() - made.used_args),
        }

    def image_build(
        self, source: Document, *, key: str, tags: list[str], pull: bool, options: Document, report: Report
    ) -> Document:
        """See ImageEngine."""
        engine = self._engine
        for reference, platform in engine.base_references(source) if pull else ():
            engine.pull(reference, platform=platform, policy="always", base=True, progress=report)
        recipe = engine.resolve(source)
        made: Document = engine.build(source, recipe, key=key, tags=tags, labels={}, progress=report, options=options)
        self._trim()
        return made

    def _trim(self) -> None:
        """Keeps the build cache to its size, after a build."""
        try:
            self._engine.trim_cache(self.cache_keep)
        except StackpyError:
            pass  # what was asked for is done; the next build tries again

    def image_explain(self, source: Document, *, key: str, options: Document) -> tuple[Explained, ...]:
        """See ImageEngine."""
        from stackpy.engines.observation import recipe as as_recipe
        from stackpy.planning.steps import explained

        engine = self._engine
        resolved = engine.resolve(source)
        if options.get("cache_from"):
            taken = {"cache_from": options["cache_from"]}
            engine.carry_cache(source, resolved, taken, progress=lambda event: None)
        recipe = as_recipe(resolved)
        earlier = {name: as_recipe(document) for name, document in engine.recipes("").items()}
        last = earlier.pop(key, None)
        if not options.get("no_cache"):
            return explained(recipe, earlier.values(), engine.built(recipe.step_ids), last)
        why = "nothing is taken from the cache"
        return tuple(
            step if step.cached else step._replace(why=why) for step in explained(recipe, earlier.values(), set(), last)
        )

    def image_cache(self, source: Document, *, take: list[str], bring: list[str], name: str, report: Report) -> None:
        """See ImageEngine."""
        engine = self._engine
        options = {"cache_from": take, "cache_to": bring}
        engine.carry_cache(source, engine.resolve(source), options, name=name, progress=report)

    def image_verify(self, source: Document, *, options: Document, report: Report) -> list[Document]:
        """See ImageEngine."""
        engine = self._engine
        recipe = engine.resolve(source)
        image = engine.build(source, recipe, key="", tags=[], labels={}, progress=lambda event: None, options=options)
        found: list[Document] = engine.verify_build(source, recipe, image, progress=report, options=options)
        return found

    def container_export(self, name: str, out: Sink) -> None:
        """See ImageEngine."""
        self._engine.export_container(name, out)

    def differences(self, name: str) -> list[Document]:
        """See ImageEngine."""
        found: list[Document] = self._engine.differences(name)
        return found

    def commit(
        self, name: str, *, reference: str, instructions: list[str], message: str, author: str, pause: bool
    ) -> Document:
        """See ImageEngine."""
        made: Document = self._engine.commit(
            name, reference=reference, instructions=instructions, message=message, author=author, pause=pause
        )
        return made

    def system_info(self) -> Document:
        """See ImageEngine."""
        info: Document = self._engine.info()
        return info

    def system_df(self) -> Document:
        """See ImageEngine."""
        from stackpy.engines import disk

        usage: Document = self._engine.disk_usage()
        return {"summary": disk.summary(usage), **usage}

    def kept_for(self, beginning: str) -> list[Document]:
        """See ImageEngine."""
        return [dict(keeping) for keeping in self._engine.keepings(beginning)]

    def images_prune(self, every: bool, until: str, labels: list[Label]) -> Document:
        """See ImageEngine."""
        images, freed = self._engine.prune_images(every=every, until=until, labels=labels)
        return {"images": [{"id": image["id"], "references": image["references"]} for image in images], "freed": freed}

    def cache_prune(self, keep: int, until: str, mounts: bool) -> list[Document]:
        """See ImageEngine."""
        from stackpy.engines.observation import seconds

        limit = seconds(until) if until else float("inf")
        gone: list[Document] = self._engine.prune_cache(keep=keep, until=limit, mounts=mounts)
        return gone

    def system_prune(self, every: bool, volumes: bool, until: str, labels: list[Label]) -> Document:
        """See ImageEngine."""
        from stackpy.engines import pruning

        engine = self._engine
        before = engine.disk_usage()
        # First what takes no writing to the index, which a full disk refuses.
        cache = [] if labels else self.cache_prune(0, until, every)
        containers = pruning.containers(engine, until, labels)
        networks = pruning.networks(engine, until, labels)
        removed = pruning.volumes(engine, labels) if volumes else []
        images = self.images_prune(every, until, labels)
        cache += [] if labels else self.cache_prune(0, until, every)
        gone = {*containers, *removed}
        freed = sum(row["size"] for key in ("containers", "volumes") for row in before[key] if row["name"] in gone)
        return {
            "containers": containers,
            "networks": networks,
            "volumes": removed,
            "images": images["images"],
            "cache": cache,
            "freed": freed + images["freed"] + sum(row["size"] for row in cache),
        }
