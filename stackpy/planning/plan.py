"""What a plan is made of. The JSON form (render/) is a contract with other programs.

Observed state comes in through `Observation`, which an engine adapter fills; the planner reads nothing else.
"""

from __future__ import annotations

from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, ClassVar, Literal

    from stackpy.dsl.specs import ComponentSpec, Dependency, Fields, Kind, StackSpec


class Action:
    """What happens to a resource: an enumeration, without the module `enum`, whose import costs 4 ms.

    word: the action's name in the JSON plan; symbol: in a printed plan
    """

    __slots__ = ("symbol", "word")

    CREATE: ClassVar[Action]
    MOVE: ClassVar[Action]
    UPDATE: ClassVar[Action]
    REPLACE: ClassVar[Action]
    START: ClassVar[Action]
    RESTART: ClassVar[Action]
    DELETE: ClassVar[Action]
    BUILD: ClassVar[Action]
    PULL: ClassVar[Action]
    PUSH: ClassVar[Action]
    RUN: ClassVar[Action]
    SNAPSHOT: ClassVar[Action]
    RESTORE: ClassVar[Action]

    def __init__(self, word: str, symbol: str) -> None:
        self.word, self.symbol = word, symbol
        setattr(Action, word.upper(), self)

    def __repr__(self) -> str:
        return f"Action.{self.word.upper()}"


for _word, _symbol in {
    "create": "+",
    "move": ">>",
    "update": "~",
    "replace": "-/+",
    "start": "!",
    "restart": "!!",
    "delete": "-",
    "build": "*",
    "pull": "<",
    "push": ">",
    "run": "@",
    "snapshot": "=",
    "restore": "<<",
}.items():
    Action(_word, _symbol)


class Reason(NamedTuple):
    """Why a change is in the plan. `path` is a field (`mem_limit`, `environment.MODE`, `steps[3]`) or "state".

    policy: of a field: what its change does by itself ("in place", "restart", "replace"); "" for all else
    place: FILE:LINE of the user's that says it; "" where nothing does, or where nobody has looked (attribution.py)
    """

    path: str
    old: Any
    new: Any
    text: str
    sensitive: bool = False
    policy: str = ""
    place: str = ""


class Data(NamedTuple):
    """What is in a volume. bytes: on disk; written: seconds since the newest of it was written; 0, 0: nothing is.

    snapshots: how many are kept of it; snapshot_bytes: what those take
    """

    bytes: int
    written: float
    snapshots: int = 0
    snapshot_bytes: int = 0


class Change(NamedTuple):
    """One action on one resource.

    depends_on: addresses whose changes, as far as they stand before this one in the plan, must be finished first
    replicas: the replica numbers acted on, for containers; () means all
    note: what follows the action in the printed plan ("3 of 6 steps", "1 of 3 replicas")
    steps: of an image: what becomes of each step, a line each
    data: what a deletion takes along; None where that is nothing
    snapshots: volumes whose snapshots, changes of their own, are taken within this one, once what it ends has stopped

    One address may have several changes, for different replicas; they are made one after the other, as they stand.
    Replacing a network removes the containers of the stack that are on it first: each has a change that follows.
    """

    address: str
    action: Action
    reasons: tuple[Reason, ...]
    depends_on: tuple[str, ...] = ()
    order: Literal["", "stop-first", "start-first"] = ""
    replicas: tuple[int, ...] = ()
    note: str = ""
    steps: tuple[str, ...] = ()
    data: Data | None = None
    snapshots: tuple[str, ...] = ()


class RecipeStep(NamedTuple):
    """A step of an image as the engine resolved it: ID, text, place in the user's file, hashes by input."""

    id: str
    text: str
    line: str
    inputs: Mapping[str, str]


class Recipe(NamedTuple):
    """An image known before it is built.

    stages: the others that it stands on or takes files from, by name, those first on which others stand
    """

    id: str
    steps: tuple[RecipeStep, ...]
    stages: Mapping[str, Recipe] = {}

    @property
    def step_ids(self) -> frozenset[str]:
        """The IDs of all steps, of its stages too."""
        return frozenset(step.id for each in (self, *self.stages.values()) for step in each.steps)


class Pull(NamedTuple):
    """An image of a registry that a stack's image stands on and that is to be fetched.

    digest: of the manifest or index that is taken for the tag; "": whatever the tag names
    text: why, where it is not just missing
    """

    reference: str
    platform: str = ""
    digest: str = ""
    text: str = ""

    @property
    def shown(self) -> str:
        """The reference, with the platform where it is asked for."""
        return f"{self.reference} for {self.platform}" if self.platform else self.reference


class Desired(NamedTuple):
    """The stack with what only the engine can compute of it.

    recipes: by image address
    fingerprints: keyed HMAC of each secret's value, by secret address; absent where the source has no value now
    pulls: what is to be fetched before an image can be built, or used, by image address
    locked: what the images of registries are: reference → platform → digest
    """

    stack: StackSpec
    recipes: Mapping[str, Recipe]
    fingerprints: Mapping[str, str]
    pulls: Mapping[str, tuple[Pull, ...]] = {}
    locked: Mapping[str, Mapping[str, str]] = {}


class Replica(NamedTuple):
    """One container of a container or job resource, as it is now."""

    index: int  # type: ignore[assignment]  # the word for it; nobody searches a replica with tuple.index
    id: str
    name: str
    status: str  # created running paused restarting exited
    health: str  # "" starting healthy unhealthy
    exit_code: int | None
    ended: float  # seconds since it ended; 0 while it runs
    image: str  # recipe ID or image ID that it was made of
    live: Fields  # its fields now, in the spec's vocabulary
    applied: Fields  # the fields that the user had set when it was applied
    why: str = ""  # it ended, where its exit code does not say it
    unlinked: tuple[str, ...] = ()  # networks on the engine to which it has lost its link


class Observed(NamedTuple):
    """A resource of the stack that exists on the engine.

    live, applied: of networks and volumes their fields, and in live as "lost" the bridge or folder that is gone; of a
        secret live is {"fingerprint", "available"}; of containers and jobs the fields of the resource as a whole
        (`replicas` is read from applied), the rest is in the replicas
    dependencies: those it had at the last apply, so that a resource that left the stack file is removed in order

    In a replica's live["secrets"] an entry may carry "fingerprint": of the value that it was created with.
    """

    kind: Kind
    name: str
    live: Fields
    applied: Fields
    replicas: tuple[Replica, ...] = ()
    dependencies: tuple[Dependency, ...] = ()

    @property
    def address(self) -> str:
        """The resource's address."""
        return f"{self.kind}.{self.name}"


class Observation(NamedTuple):
    """Everything of one stack on one engine, read at one moment.

    generation: number of the last apply; 0: never
    images: image address → the recipe it was last built from; only images of this stack that are in the store
    built: IDs of steps whose result is in the store
    tags: reference → recipe ID or image ID that it names now
    published: reference → recipe ID or image ID that was last pushed there from here
    crashes: container or job address → when and why the last one of its runs crashed that did
    """

    stack: str
    engine: str
    generation: int
    resources: Mapping[str, Observed]
    images: Mapping[str, Recipe]
    built: frozenset[str]
    tags: Mapping[str, str]
    published: Mapping[str, str] = {}
    crashes: Mapping[str, str] = {}


class Cost(NamedTuple):
    """What a change takes.

    stops: how many of the resource's containers do not run for a while; of: how many it has
    seconds: how long the same took last time; None: not known
    gaps: published ports that do not answer meanwhile, as HOST:PORT/PROTOCOL; kept: those that go on answering
    """

    address: str
    action: Action
    stops: int = 0
    of: int = 0
    seconds: float | None = None
    gaps: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()


class Verdict(NamedTuple):
    """What a policy says of the plan. address: of the resource, or ""; place: FILE:LINE of what it is said of."""

    policy: str
    level: Literal["warn", "deny"]
    address: str
    text: str
    place: str = ""


class Refusal(NamedTuple):
    """What stands against a plan: the address of what it is about, why, and what to do."""

    address: str
    text: str
    hint: str = ""


class Plan(NamedTuple):
    """The graph of all changes, in an order in which they can be made; () when nothing is to be done.

    generation: the one that applying makes; the present one when nothing is to be done
    notes: lines that people should read before they agree: what is reachable from where, what is kept
    costs: of the changes that cost something; verdicts: of policies
    outputs: those that it would put out otherwise than the last apply did, by their names
    saved: digest of the file that it was saved in and is applied from; "" otherwise
    components: those that its changes are part of, by name, with the addresses that it changes (attribution.py)
    refusals: why it will not be carried out; () where it may be
    """

    stack: str
    engine: str
    generation: int
    changes: tuple[Change, ...]
    notes: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = ()
    costs: tuple[Cost, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    saved: str = ""
    outputs: tuple[Reason, ...] = ()
    components: Mapping[str, ComponentSpec] = {}

    @property
    def denials(self) -> tuple[Verdict, ...]:
        """The verdicts for which it must not be applied."""
        return tuple(verdict for verdict in self.verdicts if verdict.level == "deny")
