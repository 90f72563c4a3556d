"""What a stack is made of besides containers and images: networks, volumes, secrets, outputs, and the stack itself."""

from __future__ import annotations

from _collections_abc import Mapping, Sequence

from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.keeping import ignored
from stackpy.dsl.session import Declaration, Place, current
from stackpy.dsl.values import Invalid, command, flag, labels, resource_name, show, stack_name, text, wrong

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, ClassVar, Self

    from stackpy.dsl.calls import Call
    from stackpy.dsl.deferred import Deferred
    from stackpy.dsl.policies import Policy

Labels = Mapping[str, str | int | float | bool | None] | Sequence[str]


class Frozen:
    """An object that never changes after its construction."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"{self!r} cannot be changed: give `{name}` when it is made")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"{self!r} cannot be changed")


class Resource(Frozen):
    """A named part of a stack."""

    __slots__ = ("name",)
    kind: ClassVar[str]
    name: str

    def __new__(cls, *_args: object, **_fields: object) -> Self:
        """A nameless one, which is what stays of a call that cannot be understood."""
        self = object.__new__(cls)
        object.__setattr__(self, "name", "")
        return self

    @property
    def address(self) -> str:
        """The resource's address in the stack: `volume.data`."""
        return f"{self.kind}.{self.name}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({show(self.name)})"

    def _declare(self, name: object, call: Call, fields: dict[str, Any]) -> None:
        """Names the object and adds it to the stack that is being loaded."""
        valid = Place(call, f"this {self.kind}", ("name",)).parse(resource_name, name)
        if valid is None:
            return
        session = current()
        if session is not None and session.scopes:
            scope = session.scopes[-1]
            valid = f"{scope.name}-{valid}" if scope.name else valid
            scope.take(self)
        object.__setattr__(self, "name", valid)
        if session is not None:
            session.declarations.append(Declaration(self.kind, valid, call, fields))


def deferred(resource: Resource, what: str, argument: str, replica: object) -> Deferred:
    """A value of a container that is known after the apply."""
    from stackpy.dsl.deferred import Deferred, Wanted  # few stacks ask for one

    place = Place(caller(("argument", "replica")), f"`{what}` of {resource.address}")
    number = replica if isinstance(replica, int) and not isinstance(replica, bool) and replica > 0 else 0
    if not number:
        place.item("replica").refuse(wrong("the number of a replica, from 1", replica))
    session = current()
    if session is not None:
        session.defers = True
    return Deferred(Wanted(resource.address, what, argument, number or 1))


def subject(kind: str, name: object) -> str:
    """How messages name a resource, on one line."""
    return f"{kind} `{name}`" if isinstance(name, str) and name and name.isprintable() else f"this {kind}"


class Network(Resource):
    """A bridge network; the members find each other by name."""

    __slots__ = ()
    kind: ClassVar[str] = "network"

    @checked("network")
    def __init__(
        self,
        name: str,
        *,
        internal: bool | None = None,
        subnet: str | None = None,
        labels: Labels | None = None,
        protect: bool | None = None,
        ignore_changes: Sequence[str] | None = None,
    ) -> None:
        """Declares a network.

        internal: no way out, and no way in but from its members
        subnet: the IPv4 addresses to use, as in "10.5.0.0/24"; a free range is chosen without it
        protect: no plan may delete or replace it
        ignore_changes: fields whose differences are somebody else's business
        """
        call = caller(("name",))
        given = {
            "internal": (flag, internal),
            "subnet": (cidr, subnet),
            "labels": (_labels, labels),
            "protect": (flag, protect),
            "ignore_changes": (ignored(("internal", "subnet", "labels")), ignore_changes),
        }
        self._declare(name, call, _parse(Place(call, subject("network", name)), given))


class Volume(Resource):
    """Named storage that outlives the containers; `destroy` keeps it unless told otherwise."""

    __slots__ = ()
    kind: ClassVar[str] = "volume"

    @checked("volume")
    def __init__(
        self,
        name: str,
        *,
        labels: Labels | None = None,
        protect: bool | None = None,
        snapshot: bool | None = None,
        ignore_changes: Sequence[str] | None = None,
    ) -> None:
        """Declares a volume.

        protect: no plan may delete it
        snapshot: what it holds is kept before a container that writes it is replaced, or a job that does runs
        ignore_changes: fields whose differences are somebody else's business
        """
        call = caller(("name",))
        given = {
            "labels": (_labels, labels),
            "protect": (flag, protect),
            "snapshot": (flag, snapshot),
            "ignore_changes": (ignored(("labels",)), ignore_changes),
        }
        self._declare(name, call, _parse(Place(call, subject("volume", name)), given))


class Secret(Resource):
    """A value that reaches containers as a file on tmpfs and nothing else."""

    __slots__ = ()
    kind: ClassVar[str] = "secret"

    @checked("secret")
    def __init__(
        self,
        name: str,
        *,
        env: str | None = None,
        file: str | None = None,
        command: str | Sequence[str] | None = None,
        protect: bool | None = None,
    ) -> None:
        """Declares a secret with exactly one source.

        env: the environment variable of stackpy that holds the value
        file: the file that holds it, relative to the file that says so
        command: a program that prints it (one newline at the end is cut off)
        protect: no plan may delete it
        """
        call = caller(("name",))
        place = Place(call, subject("secret", name))
        sources = {"env": (_variable, env), "file": (text, file), "command": (_command, command)}
        given = [key for key, (_, value) in sources.items() if value is not None]
        source = _parse(place, sources)
        if len(given) != 1:
            what = "has no source" if not given else "has more than one source"
            target = place.item(given[1]) if given else place
            target.report(f"{place.subject} {what}", "give exactly one of `env`, `file` and `command`", key=True)
            source = {}
        self._declare(name, call, {"source": source, **_parse(place, {"protect": (flag, protect)})})

    @property
    def path(self) -> str:
        """Where containers that use the secret find it."""
        return f"/run/secrets/{self.name}"


class Output(Frozen):
    """A value that `apply` and `output` show."""

    __slots__ = ()

    @checked("output")
    def __init__(self, name: str, value: Any) -> None:
        """Declares an output; the value is JSON: text, numbers, lists, mappings with text as keys.

        It may hold what is known only after the apply: `web.port(80)`, `web.ip("back")`.
        """
        call = caller(("name", "value"))
        place = Place(call, f"output `{name}`" if isinstance(name, str) else "this output")
        valid = place.item("name").parse(_output_name, name)
        content = place.item("value").parse(_json, value)
        session = current()
        if session is None or valid is None:
            return
        if session.scopes and session.scopes[-1].name:
            valid = f"{session.scopes[-1].name}-{valid}"
        if valid in session.outputs:
            place.report(f"output `{valid}` is declared twice", f"the first is at {_where(session.outputs[valid][1])}")
            return
        session.outputs[valid] = (content, call)


class Stack(Frozen):
    """The stack itself; without it the stack has its folder's name."""

    __slots__ = ("name",)
    name: str

    @checked("stack")
    def __init__(self, name: str, *, policies: Sequence[Policy] = ()) -> None:
        """Names the stack; `name` in stackpy.toml goes before.

        policies: of modules, which hold for this stack; those that its file defines hold anyway
        """
        call = caller(("name",))
        place = Place(call, "this stack")
        valid = place.item("name").parse(stack_name, name, "")
        session = current()
        object.__setattr__(self, "name", valid if session is None else session.name or valid)
        if session is None or not valid:
            return
        if session.stack is not None:
            place.report("the stack is named twice", f"the first time at {_where(session.stack[1])}")
            return
        session.stack = (valid, call)
        if policies:
            from stackpy.dsl.policies import Policy, how_to_name  # few stacks have any

            for index, one in enumerate(policies):
                if isinstance(one, Policy):
                    session.policies.append(one)
                else:
                    inner = place.item("policies").item(index)
                    inner.report(f"{inner.name} must be a policy, not {show(one)}", how_to_name(one))

    def __repr__(self) -> str:
        return f"Stack({show(getattr(self, 'name', ''))})"


def _parse(place: Place, given: Mapping[str, tuple[Any, object]]) -> dict[str, Any]:
    """The fields that are set and valid."""
    result = {}
    for key, (parser, value) in given.items():
        if value is not None:
            parsed = place.item(key).parse(parser, value)
            if parsed is not None:
                result[key] = parsed
    return result


def _where(call: Call) -> str:
    return f"line {call.line} of {call.file.rpartition('/')[2]}"


def cidr(value: object) -> str:
    """The addresses of a network: `10.5.0.0/24`; raises Invalid."""
    # ipaddress costs 5 ms to import; few networks name their subnet
    from ipaddress import IPv4Network

    expected = 'an IPv4 network such as "10.5.0.0/24"'
    if not isinstance(value, str) or "/" not in value:
        raise wrong(expected, value)
    try:
        network = IPv4Network(value, strict=False)
    except ValueError:
        raise wrong(expected, value) from None
    if str(network) != value:
        raise wrong(expected, value, f'its first address is "{network}"')
    if network.prefixlen > 29:
        raise Invalid(f"has no room for containers: {value}", "use a prefix of 29 or shorter")
    return value


def _variable(value: object) -> str:
    if not isinstance(value, str) or not value or set("=\0 ") & set(value):
        raise wrong("the name of an environment variable", value)
    return value


def _command(value: object) -> list[str]:
    vector = command(value)
    if not vector or not vector[0]:
        raise Invalid("is empty")
    return vector


_labels = labels


def _output_name(value: object) -> str:
    if not isinstance(value, str) or not value.replace("_", "a").replace("-", "a").replace(".", "a").isalnum():
        raise wrong("letters, digits, `_`, `.` and `-`", value)
    return value


def _json(value: object, path: tuple[str | int, ...] = ()) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    if isinstance(value, list | tuple):
        return [_json(item, (*path, index)) for index, item in enumerate(value)]
    if isinstance(value, Mapping):
        result = {}
        for key, item in value.items():
            if not isinstance(key, str):
                raise Invalid(f"has a key that is not a string: {show(key)}", path=path)
            result[key] = _json(item, (*path, key))
        return result
    from stackpy.dsl.deferred import Deferred  # few outputs come so far

    if isinstance(value, Deferred):
        return str(value)
    hint = "a secret is never shown; its `path` is where containers find it" if isinstance(value, Secret) else ""
    raise Invalid(f"must be text, a number, a list or a mapping, not {show(value)}", hint, path)
