"""Policies: functions of the user's that look at a plan before it is applied, and warn or deny.

A function with @policy in a stack file holds for that stack; one in a module is named by `Stack(policies=[…])` or by
[policies] in stackpy.toml. What it is given is a `PlanView`; what it yields are findings: a text, or a resource and a
text.
"""

from __future__ import annotations

from stackpy.dsl.calls import Call, caller
from stackpy.dsl.session import STACK_MODULE, Place, current
from stackpy.dsl.values import one_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Literal, overload

    from stackpy.problems import Location

    Level = Literal["warn", "deny"]
    Finding = str | tuple["ResourceView", str]
    Check = Callable[["PlanView"], Iterable[Finding] | str | None]

LEVELS = ("warn", "deny")


class ResourceView:
    """A resource as the stack file declares it, with what the plan does to it.

    address, kind, name: `container.web`, "container", "web"
    fields: normalised, under Compose's names, as in the `stackpy plan --format json` reasons
    actions: words of the plan's actions on it ("create", "replace", …), () where nothing is done
    location: the line that declares it; None for what only exists on the engine
    """

    __slots__ = ("actions", "address", "fields", "kind", "location", "name")

    def __init__(
        self, address: str, fields: Mapping[str, Any], actions: tuple[str, ...], location: Location | None
    ) -> None:
        self.address, self.fields, self.actions, self.location = address, fields, actions, location
        self.kind, _, self.name = address.partition(".")

    def get(self, field: str, default: Any = None) -> Any:
        """A field's value, or `default` where the user has not set it."""
        return self.fields.get(field, default)

    def __getitem__(self, field: str) -> Any:
        return self.fields[field]

    def __contains__(self, field: str) -> bool:
        return field in self.fields

    def __repr__(self) -> str:
        return f"<{self.address}>"


class PlanView:
    """What a policy sees.

    stack: the stack's name
    resources: all that it declares, and what the plan deletes besides, by address
    pins: what stackpy.lock says: reference → platform → digest
    """

    __slots__ = ("pins", "resources", "stack")

    def __init__(
        self, stack: str, resources: Mapping[str, ResourceView], pins: Mapping[str, Mapping[str, str]]
    ) -> None:
        self.stack, self.resources, self.pins = stack, resources, pins

    def of_kind(self, *kinds: str) -> list[ResourceView]:
        """The declared resources of some kinds: "container", "job", "image", "network", "volume", "secret"."""
        return [each for each in self.resources.values() if each.kind in kinds and each.location is not None]

    @property
    def containers(self) -> list[ResourceView]:
        """Containers and jobs, which have the same fields."""
        return self.of_kind("container", "job")

    @property
    def images(self) -> list[ResourceView]:
        """Images."""
        return self.of_kind("image")

    def doing(self, *actions: str) -> list[ResourceView]:
        """The resources to which the plan does one of these: "create", "update", "replace", "delete", …"""
        return [each for each in self.resources.values() if any(action in actions for action in each.actions)]


class Policy:
    """A function that judges plans. Calling it calls the function, so that tests need nothing of ours.

    name: as plans show it; level: what its findings do unless stackpy.toml says otherwise
    """

    def __init__(self, function: Check, level: Level, name: str) -> None:
        self.function, self.level, self.name = function, level, name
        self.__doc__ = function.__doc__

    def __call__(self, plan: PlanView) -> Iterable[Finding] | str | None:
        return self.function(plan)

    def at(self, level: Level) -> Policy:
        """The same with another level: `no_unpinned_images.at("warn")`."""
        return Policy(self.function, level, self.name)

    @property
    def place(self) -> Call:
        """Where it is defined."""
        code = self.function.__code__
        return Call(code, 0, code.co_firstlineno)

    def __repr__(self) -> str:
        return f"<policy {self.name}>"


if TYPE_CHECKING:

    @overload
    def policy(function: Check, /) -> Policy: ...
    @overload
    def policy(*, level: Level = ..., name: str = ...) -> Callable[[Check], Policy]: ...


def policy(function: Any = None, /, *, level: Level = "deny", name: str = "") -> Any:
    """Makes a function a policy; in a stack file it holds for the stack.

    level: "deny": a finding makes `plan` fail and `apply` refuse; "warn": it is shown
    name: as plans show it; the function's name with `-` for `_` without it
    """
    place = Place(caller(("function",)), "`policy`")

    def decorate(check: Any) -> Any:
        if function in LEVELS:
            place.report("`policy` is for functions", f'write @policy(level="{function}")')
            return lambda each: each
        if not hasattr(check, "__code__"):
            place.report("`policy` is for functions", "write @policy above a `def`")
            return check
        made = Policy(check, level, name or getattr(check, "__name__", "policy").replace("_", "-"))
        session = current()
        # A module's policies hold where they are named: importing one for the sake of another must not.
        if session is not None and getattr(check, "__module__", "") == STACK_MODULE:
            session.policies.append(made)
        return made

    level = place.item("level").parse(one_of(*LEVELS), level, "deny")
    return decorate if function is None else decorate(function)


def how_to_name(one: object) -> str:
    """What to write where a policy is wanted and something else was given."""
    module = getattr(one, "__name__", "")
    names = [f"{module}.{key}" for key, value in getattr(one, "__dict__", {}).items() if isinstance(value, Policy)]
    return f"name its policies: {', '.join(names)}" if names else "@policy makes one of a function"
