"""The stack that is being loaded: what its file has declared so far, and all that is wrong with it.

Constructors never raise while a stack file runs: they report here and leave an object that causes no second error.
Outside a load (a REPL, a user's own test) there is no session, and the first problem is raised.
"""

from __future__ import annotations

from stackpy.dsl.values import Invalid, show
from stackpy.errors import StackFileError
from stackpy.problems import Location, Problem

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from stackpy.dsl.calls import Call
    from stackpy.dsl.images import Image
    from stackpy.dsl.policies import Policy
    from stackpy.dsl.resources import Resource

    Given = tuple[Any, str]  # a variable's value and where it was given

# Stands in text for a variable that has no value. A message that contains it follows from the variable's own problem.
UNKNOWN_TEXT = "\ufdd0"
STACK_MODULE = "__stack__"  # the name of the module that a stack file is

Key = str | int


class Finding:
    """Something wrong, before its columns are known.

    path: from the call's argument inwards: ("ports", 1)
    key: the name of the argument is meant, not its value
    """

    __slots__ = ("call", "hint", "key", "message", "path")

    def __init__(self, message: str, hint: str, call: Call, path: tuple[Key, ...], key: bool) -> None:
        self.message, self.hint, self.call, self.path, self.key = message, hint, call, path, key


class Declaration:
    """One resource as its constructor left it: `fields` are parsed, but other resources were not looked up yet."""

    __slots__ = ("call", "fields", "kind", "name")

    def __init__(self, kind: str, name: str, call: Call, fields: dict[str, Any]) -> None:
        self.kind, self.name, self.call, self.fields = kind, name, call, fields


class Scope:
    """A component: what is declared inside has names that begin with its own.

    kind: of its class or function; doc: the first line of its documentation; outer: the component that it is inside
    """

    __slots__ = ("children", "doc", "kind", "name", "outer")

    def __init__(self, name: str, kind: str, doc: str, outer: Scope | None) -> None:
        self.name, self.kind, self.doc, self.outer = name, kind, doc, outer
        self.children: list[Resource] = []

    def take(self, resource: Resource) -> None:
        """Adds a resource to this component and to those around it."""
        scope: Scope | None = self
        while scope is not None:
            scope.children.append(resource)
            scope = scope.outer


class Session:
    """What one run of a stack file declares.

    given: a variable's value from the command line, the environment or stackpy.toml
    name: the stack's name where settings fix it, else ""
    outputs_of: another stack's generation and outputs at its last apply; None where it was not applied
    """

    def __init__(
        self,
        given: Callable[[str], Given | None],
        name: str = "",
        outputs_of: Callable[[str], tuple[int, Mapping[str, Any]] | None] = lambda stack: None,
    ) -> None:
        self.given = given
        self.name = name
        self.outputs_of = outputs_of
        self.references: dict[tuple[str, str], int] = {}  # stack and output that were read → its generation; 0: none
        self.scopes: list[Scope] = []  # the components that are being made, the innermost last
        self.components: list[Scope] = []
        self.defers = False  # something was asked for that is known only after an apply
        self.stack: tuple[str, Call] | None = None
        self.declarations: list[Declaration] = []
        self.tagged: list[Image] = []
        self.outputs: dict[str, tuple[Any, Call]] = {}
        self.moves: list[tuple[str, str, Call]] = []  # former address, address of now
        self.variables: dict[str, Call] = {}
        self.hidden: list[str] = []  # values of variables whose names say that they are secrets
        self.policies: list[Policy] = []
        self.findings: list[Finding | Problem] = []
        # while a call is made without arguments that were not understood: that something lacks is no news
        self.incomplete = False

    def report(self, finding: Finding | Problem) -> None:
        """Keeps a problem for the end of the load, unless it follows from another."""
        if self.incomplete and isinstance(finding, Finding) and not finding.path:
            return
        # escaped where a value went through repr()
        if UNKNOWN_TEXT not in finding.message and repr(UNKNOWN_TEXT)[1:-1] not in finding.message:
            self.findings.append(finding)

    def report_at(self, message: str, location: Location, hint: str = "") -> None:
        """Keeps a problem of a file that is not Python."""
        self.report(Problem(message, location, hint))


_current: Session | None = None


def current() -> Session | None:
    """The session of the load that is running."""
    return _current


def activate(session: Session | None) -> Session | None:
    """Makes a session the current one; returns the one before."""
    global _current
    before, _current = _current, session
    return before


class Place:
    """An argument of a call, or a part of one: knows how to name itself in a message.

    subject: whose argument it is, as in "container `web`"
    """

    __slots__ = ("call", "path", "subject")

    def __init__(self, call: Call, subject: str, path: tuple[Key, ...] = ()) -> None:
        self.call, self.subject, self.path = call, subject, path

    def item(self, key: Key) -> Place:
        """The part `key` of this argument."""
        return Place(self.call, self.subject, (*self.path, key))

    @property
    def name(self) -> str:
        """`ports[1]` of container `web`."""
        if not self.path or isinstance(self.path[0], int):
            return self.subject
        field = str(self.path[0])
        for key in self.path[1:]:
            if isinstance(key, int):
                field += f"[{key}]"
            else:
                field += f".{key}" if key.replace("-", "_").isidentifier() else f"[{show(key)}]"
        return f"`{field}` of {self.subject}"

    def report(self, message: str, hint: str = "", *, key: bool = False) -> None:
        """Reports `message` here; raises StackFileError when no stack file is being loaded."""
        session = _current
        if session is None:
            raise StackFileError([Problem(message, Location(self.call.file, self.call.line), hint)])
        session.report(Finding(message, hint, self.call, self.path, key))

    def refuse(self, invalid: Invalid) -> None:
        """Reports what a parser said of the value here."""
        for one in invalid.each:
            place = self
            for key in one.path:
                place = place.item(key)
            # a name that is wrong is not a part: the message is of what holds it
            holder = Place(self.call, self.subject, place.path[:-1]) if one.key and one.path else place
            place.report(f"{holder.name} {one.message}", one.hint, key=one.key)

    def parse(self, parser: Callable[[Any], Any], value: Any, otherwise: Any = None) -> Any:
        """The parsed value, or `otherwise` after reporting why it is wrong."""
        try:
            return parser(value)
        except Invalid as invalid:
            self.refuse(invalid)
            return otherwise if invalid.rest is None else invalid.rest
