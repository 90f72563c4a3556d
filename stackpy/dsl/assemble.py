"""From what a stack file declared to specs: looks up what resources say of each other, and checks the whole."""

from __future__ import annotations

import os

from stackpy.dsl import contents, ports, values, variable_files
from stackpy.dsl.container_fields import AS_PARSED
from stackpy.dsl.cycles import report_cycles
from stackpy.dsl.recipes import Recipes
from stackpy.dsl.resources import subject
from stackpy.dsl.session import Declaration, Place
from stackpy.dsl.specs import (
    DEFAULT_NETWORK,
    Dependency,
    Spec,
    StackSpec,
    partners,
)
from stackpy.dsl.uses import Use
from stackpy.dsl.values import meant
from stackpy.problems import Location

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.dsl.calls import Call
    from stackpy.dsl.reader import Reader
    from stackpy.dsl.session import Session
    from stackpy.dsl.specs import Kind
    from stackpy.dsl.variable_files import VariableFile

_WORKLOADS = ("container", "job")
_ARTICLES = {"network": "Network", "volume": "Volume", "secret": "Secret", "container": "Container", "": "Container"}


class Assembly:
    """One stack being put together; everything wrong goes to the session.

    folder: of the stack file
    publish: the host address of published ports that name none
    """

    def __init__(self, session: Session, reader: Reader, folder: str, publish: str) -> None:
        self._session, self._reader, self._folder, self._publish = session, reader, folder, publish
        self._declared: dict[tuple[str, str], Declaration] = {}
        self._edges: dict[str, list[tuple[str, Place]]] = {}
        self._ports: dict[tuple[int, str], list[tuple[str, dict[str, Any]]]] = {}

    def stack(self, name: str, *, whole: bool = True) -> StackSpec:
        """The stack's spec, which is of use only when the session has no findings.

        whole: the stack file ran to its end, so that a name which is not declared is a mistake
        """
        for declaration in self._session.declarations:
            self._index(declaration)
        recipes = Recipes(self._session, self._reader, self._folder)
        specs = [
            spec
            for declaration in self._session.declarations
            if self._declared.get(_space(declaration.kind, declaration.name)) is declaration
            for spec in self._specs(declaration, recipes, whole)
        ]
        resources: dict[str, Spec] = {}
        for spec in (*recipes.specs(), *specs):
            resources.setdefault(spec.address, spec)
        if whole:
            report_cycles(self._edges)
            _report_overlaps(self._session.declarations)
            if any(_asks_for_address(declaration) for declaration in self._declared.values()):
                from stackpy.dsl import addresses  # few have any

                addresses.report(self._declared)
        outputs = {key: value for key, (value, _) in self._session.outputs.items()}
        moves: dict[str, str] = {}
        if self._session.moves:
            from stackpy.dsl.moves import resolved  # few stacks have any

            moves = resolved(self._session.moves, resources, whole=whole)
        stack = StackSpec(name, resources, outputs, self._folder, moved=moves, hidden=tuple(self._session.hidden))
        if self._session.defers or self._session.references or self._session.components:
            from stackpy.dsl.composing import composed  # likewise

            stack = composed(self._session, stack)
        return stack

    def _index(self, declaration: Declaration) -> None:
        space = _space(declaration.kind, declaration.name)
        first = self._declared.setdefault(space, declaration)
        if first is declaration:
            return
        what = f"{declaration.kind} `{declaration.name}` is declared twice"
        if first.kind != declaration.kind:
            what = f"`{declaration.name}` is declared twice, as {first.kind} and as {declaration.kind}"
        Place(declaration.call, subject(declaration.kind, declaration.name), ("name",)).report(
            what,
            f"the first is at line {first.call.line} of {os.path.basename(first.call.file)}",
        )

    def _specs(self, declaration: Declaration, recipes: Recipes, whole: bool) -> list[Spec]:
        kind, name, fields = declaration.kind, declaration.name, declaration.fields
        if kind in _WORKLOADS:
            return self._workload(declaration, recipes, whole)
        if kind == "secret":
            fields = {**fields, "source": self._secret_source(fields["source"], declaration.call)}
        return [_spec(kind, name, fields, (), declaration.call)]

    def _secret_source(self, source: dict[str, Any], call: Call) -> dict[str, Any]:
        # the value is not read here: a source may have none now
        if "file" in source:
            path = self._reader.absolute(call.folder, source["file"])
            self._reader.watch(path)
            return {"file": path}
        if "env" in source:
            self._reader.variable(source["env"])
        return source

    def _workload(self, declaration: Declaration, recipes: Recipes, whole: bool) -> list[Spec]:
        parsed, name, call = declaration.fields, declaration.name, declaration.call
        place = Place(call, subject(declaration.kind, name))
        fields: dict[str, Any] = {}
        dependencies: dict[Dependency, None] = {}
        result: list[Spec] = []
        if parsed.get("image") is not None:
            fields["image"] = recipes.address(parsed["image"], name)
            dependencies[Dependency(fields["image"], "started")] = None
        fields |= {key: parsed[key] for key in AS_PARSED if key in parsed}
        variables = self._environment(place, parsed)
        if variables:
            fields["environment"] = variables
        if "label_file" in parsed:
            fields["labels"] = {**self._label_files(parsed["label_file"]), **fields.get("labels", {})}
        uses: list[Use] = parsed.get("networks") or []
        if uses:
            fields["networks"] = {use.name: use.fields["attachment"] for use in uses}
        elif "network_mode" not in parsed:
            fields["networks"] = {DEFAULT_NETWORK: {"aliases": []}}
        if DEFAULT_NETWORK in fields.get("networks", {}):
            if ("network", DEFAULT_NETWORK) not in self._declared:
                result.append(_spec("network", DEFAULT_NETWORK, {}, (), call))
            dependencies[Dependency(f"network.{DEFAULT_NETWORK}", "started")] = None
        mounts = [self._mount(*mount) for mount in (*parsed.get("volumes", ()), *parsed.get("tmpfs", ()))]
        for mount, _ in mounts:
            if mount and mount["type"] == "volume" and not mount["source"]:
                volume = self._unnamed(place, declaration, mount["target"])
                mount["source"] = volume.name
                result.append(volume)
                dependencies[Dependency(volume.address, "started")] = None
        if mounts:
            fields["volumes"] = sorted((mount for mount, _ in mounts if mount), key=lambda mount: mount["target"])
        secrets: list[Use] = parsed.get("secrets") or []
        if secrets:
            entries = [
                {
                    "secret": use.name,
                    "target": use.fields.get("target", use.name),
                    **({"on_change": use.fields["on_change"]} if "on_change" in use.fields else {}),
                }
                for use in secrets
            ]
            fields["secrets"] = sorted(entries, key=lambda entry: entry["target"])
        if parsed.get("ports"):
            fields["ports"] = self._publish_all(place, declaration, parsed["ports"])
        files = {target: contents.resolve(item, self._reader) for target, item in parsed.get("files", {}).items()}
        for target, item in parsed.get("files", {}).items():
            if item.on_change and (file := files[target]) is not None:
                file["on_change"] = item.on_change
        if files:
            fields["files"] = files
        if "security_opt" in parsed:
            fields["security_opt"] = self._security_options(place.item("security_opt"), parsed["security_opt"])
        # As Compose has it: it begins after the other, and anew when the other does.
        shared = [Use(place.item(key), "container", partner, False, {}) for key, partner in partners(fields)]
        for use in shared:
            self._check_partner(use, declaration)
        for use in (*uses, *(use for _, use in mounts if use), *secrets, *parsed.get("depends_on", ()), *shared):
            address = self._look_up(use, whole)
            if address:
                dependencies[_dependency(address, use)] = None
                if address.startswith(("container.", "job.")):
                    self._edges.setdefault(f"{declaration.kind}.{name}", []).append((address, use.place))
        for partner in dict.fromkeys(use.name for use in shared):
            known = [one for one in dependencies if one.address == f"container.{partner}"]
            for one in known:
                del dependencies[one]
            if known:
                stricter = next((one for one in known if one.condition != "started"), known[0])
                dependencies[stricter._replace(restart=True, required=True)] = None
        result.append(_spec(declaration.kind, name, fields, tuple(dependencies), call))
        return result

    def _check_partner(self, use: Use, declaration: Declaration) -> None:
        """What a container whose namespace is shared must be, as far as it is declared."""
        found = self._declared.get(_space("container", use.name))
        if found is None:
            return
        if found.kind == "job":
            use.place.report(f"{use.place.name}: job `{use.name}` ends, and its namespaces with it", "name a container")
        elif found is declaration:
            use.place.report(f"{use.place.name} names the container itself")
        elif found.fields.get("replicas", 1) < declaration.fields.get("replicas", 1):
            use.place.report(
                f"{use.place.name}: `{use.name}` has fewer replicas, and each of {use.place.subject} shares one's",
                "give both as many",
            )
        elif use.place.path == ("ipc",) and found.fields.get("ipc") != "shareable":
            use.place.report(
                f"{use.place.name}: `{use.name}` does not share its memory", f'give `{use.name}` ipc="shareable"'
            )

    def _security_options(self, place: Place, options: list[str]) -> list[str]:
        """With the profile that a file holds in place of its path."""
        from stackpy.dsl import isolation_fields

        result = []
        for option in options:
            if path := isolation_fields.profile_path(option):
                found = contents.read(self._reader, place, path, self._reader.absolute(place.call.folder, path))
                if found is None:
                    continue
                try:
                    option = f"seccomp={isolation_fields.profile(found[0].decode())}"
                except (ValueError, RecursionError) as error:
                    place.report(f"{place.name}: `{path}` is no seccomp profile: {str(error)[:100].lower()}")
            result.append(option)
        return result

    def _environment(self, place: Place, parsed: dict[str, Any]) -> dict[str, str]:
        result: dict[str, str] = {}
        for file in parsed.get("env_file", ()):
            self._merge(result, file.place, variable_files.read(self._reader, file), file.path)
        inner = place.item("environment")
        self._merge(result, inner, parsed.get("environment", {}), "")
        return result

    def _label_files(self, files: list[VariableFile]) -> dict[str, str]:
        """The labels of files; a later file's win."""
        result: dict[str, str] = {}
        for file in files:
            found = variable_files.read(self._reader, file)
            labels = {key: content or "" for key, content in found.items()}
            result |= file.place.parse(values.labels, [f"{key}={content}" for key, content in labels.items()], {})
        return result

    def _merge(self, result: dict[str, str], place: Place, given: dict[str, str | None], path: str) -> None:
        for key, value in given.items():
            content = self._reader.variable(key) if value is None else value
            if content is not None:
                result[key] = content
                continue
            inner = place if path else place.item(key)
            where = f"`{key}` in `{path}`" if path else inner.name
            inner.report(
                f"{where} takes its value from the environment of stackpy, where `{key}` is not set",
                f"set {key}, or give it a value here",
            )

    def _mount(self, place: Place, mount: dict[str, Any], given: bool) -> tuple[dict[str, Any] | None, Use | None]:
        if mount["type"] == "bind":
            path = self._reader.absolute(place.call.folder, mount["source"])
            # a relative path is part of the project; an absolute one is the engine's host's, and checked there
            if not mount["source"].startswith("/") and not self._reader.exists(path):
                contents.missing(self._reader, place, mount["source"], path)
                return None, None
            return {**mount, "source": path}, None
        if mount["type"] == "volume" and mount["source"]:
            return mount, Use(place, "volume", mount["source"], given, {})
        return dict(mount), None

    def _unnamed(self, place: Place, declaration: Declaration, target: str) -> Spec:
        """A volume of the stack for a mount that names none: "/cache" of `web` is volume `web-cache`."""
        if declaration.fields.get("replicas", 1) > 1:
            place.item("volumes").report(
                f"{place.subject} has replicas, which would share the volume without a name at {target}",
                f'declare it, if they are to share it: Volume("{target.rpartition("/")[2]}")',
            )
        letters = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in target)
        name = f"{declaration.name}{letters}"[:63]
        while ("volume", name) in self._declared:
            name = f"{name[:62]}_"
        self._declared["volume", name] = Declaration("volume", name, declaration.call, {})
        return _spec("volume", name, {}, (), declaration.call)

    def _publish_all(self, place: Place, declaration: Declaration, given: list[Any]) -> list[dict[str, Any]]:
        result = []
        for inner, binding in given:
            full = {**binding, "host_ip": binding["host_ip"] or self._publish}
            others = self._ports.setdefault((full["published"], full["protocol"]), [])
            for owner, other in others:
                if ports.overlap(full, other):
                    what = f"{full['host_ip']}:{full['published']}/{full['protocol']}"
                    inner.report(f"{inner.name} publishes {what}, which {owner} publishes too", "choose another port")
                    break
            else:
                others.append((place.subject, full))
                result.append(full)
        return sorted(result, key=lambda one: (one["published"], one["protocol"], one["host_ip"], one["target"]))

    def _look_up(self, use: Use, whole: bool) -> str:
        """The address of what is meant; "" after reporting that there is no such thing."""
        kind = use.kind or "container"
        found = self._declared.get(_space(kind, use.name))
        if kind == "network" and use.name == DEFAULT_NETWORK:
            return f"network.{DEFAULT_NETWORK}"
        if found is None:
            if whole and not use.given and use.fields.get("required", True):
                names = [name for space, name in self._declared if space == _space(kind, "")[0]]
                what = use.kind or "container or job"
                hint = meant(use.name, names, f'declare it: {_ARTICLES[use.kind]}("{use.name}")')
                inside = len(use.place.path) > 1
                use.place.report(f"{use.place.name}: no {what} `{use.name}` in this stack", hint, key=inside)
            return ""
        if found.kind == "job" and use.fields.get("condition") == "healthy":
            use.place.report(
                f"{use.place.name}: job `{use.name}` has no health to wait for", "a job is `completed` when it is done"
            )
            return ""
        return f"{found.kind}.{found.name}"


def _space(kind: str, name: str) -> tuple[str, str]:
    """Where names must differ: a container and a job of one name would have one name on the engine."""
    return ("container" if kind in _WORKLOADS else kind, name)


def _dependency(address: str, use: Use) -> Dependency:
    given = use.fields
    return Dependency(
        address, given.get("condition", "started"), given.get("restart", False), given.get("required", True)
    )


def _spec(kind: str, name: str, fields: dict[str, Any], dependencies: tuple[Dependency, ...], call: Call) -> Spec:
    known: Kind = kind  # type: ignore[assignment]
    return Spec(known, name, fields, dependencies, Location(call.file, call.line))


def _asks_for_address(declaration: Declaration) -> bool:
    uses: list[Use] = declaration.fields.get("networks") or [] if declaration.kind in _WORKLOADS else []
    return any("ipv4_address" in use.fields["attachment"] for use in uses)


def _report_overlaps(declarations: list[Declaration]) -> None:
    """Networks of one host cannot share addresses."""
    with_subnet = [one for one in declarations if one.kind == "network" and "subnet" in one.fields]
    if len(with_subnet) < 2:
        return
    # ipaddress costs 5 ms to import
    from ipaddress import IPv4Network

    seen: list[tuple[IPv4Network, Declaration]] = []
    for one in with_subnet:
        subnet = IPv4Network(one.fields["subnet"])
        for other, declaration in seen:
            if subnet.overlaps(other) and declaration.name != one.name:
                place = Place(one.call, subject("network", one.name), ("subnet",))
                place.report(f"{place.name} overlaps that of network `{declaration.name}`: {subnet} and {other}")
        seen.append((subnet, one))
