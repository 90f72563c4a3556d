"""stackpy history."""

from __future__ import annotations

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from stackpy.cli.context import Context
    from stackpy.planning.snapshots import Snapshot

STACK = Option("--stack", metavar="NAME", help="a stack by name; no stack file is needed", words="stack")
_OPEN = ("running", "killed")  # nobody has told what was done
GENERATION = Argument("GENERATION", help="its number", optional=True)


def run(context: Context, arguments: Any) -> int:
    """Lists the generations that are kept, or shows one."""
    context.read_only = True
    name, engine = stack(context, arguments), context.engine()
    documents, held = engine.history(name), engine.snapshots(name)
    if arguments.generation is not None:
        from stackpy.applying import reviving

        wanted = number(arguments.generation)
        documents = [reviving.numbered(documents, wanted)]
        if not context.json:
            _show(documents[0], held)
            return 0
    from stackpy.cli.rows import column, print_rows

    rows = [_row(document, held) for document in reversed(documents)]
    if not rows:
        terminal.note(f"stack `{name}` has no history: it was not applied yet, or destroyed with --images")
    columns = (
        column("GENERATION", "generation"),
        ("WHEN (UTC)", lambda row: str(row["time"]).replace("T", " ").removesuffix("Z")),
        column("OUTCOME", "outcome"),
        ("CHANGES", lambda row: "unknown" if row["outcome"] in _OPEN else _summary(row["changes"])),
        ("TOOK", lambda row: "" if row["outcome"] in _OPEN else f"{row['seconds']:.1f} s"),
        column("BY", "by"),
        ("REVISION", lambda row: str(row["revision"])[:12]),
    )
    return print_rows(context, rows, columns, quiet=arguments.quiet, name=lambda row: str(row["generation"]))


def stack(context: Context, arguments: Any, *, changes: bool = False) -> str:
    """The name of the stack that is meant; raises UsageError where there is none.

    changes: the command changes it, so that the name must be more than a guess
    """
    name = arguments.stack or (context.known_name() if changes else context.stack_name())
    if not name:
        raise UsageError("there is no stack file here", hint="name the stack: --stack NAME")
    if not arguments.stack and (guess := context.guess_text()):
        terminal.note(guess)
    return str(name)


def number(text: str) -> int:
    """A generation's number; raises UsageError for anything else."""
    if not (text.isascii() and text.isdigit()):
        raise UsageError(f"`{text}` is no generation", hint="a number, as `stackpy history` lists them")
    return int(text)


def _row(document: Mapping[str, Any], held: Iterable[Snapshot]) -> dict[str, Any]:
    """What is told of a generation: all but what brings it back, and what it holds of volumes."""
    outcome = document["outcome"]
    if document.get("rolled_back_to") is not None and outcome == "applied":
        outcome = f"rolled back to {document['rolled_back_to']}"
    shown = {
        key: value
        for key, value in document.items()
        if key not in ("desired", "images", "image_ids", "resources", "format")
    }
    snapshots = [
        {"address": one.address, "id": one.id, "created": one.created, "bytes": one.bytes}
        for one in held
        if one.generation == document["generation"]
    ]
    return {"by": "", "revision": "", **shown, "outcome": outcome, "snapshots": snapshots}


def _summary(changes: list[Mapping[str, Any]]) -> str:
    """`2 create, 1 replace`, of what was done."""
    done = [change["action"] for change in changes if change["result"] == "done"]
    return ", ".join(f"{done.count(action)} {action}" for action in dict.fromkeys(done)) or "none"


def _show(document: Mapping[str, Any], held: Iterable[Snapshot]) -> None:
    from stackpy.planning.data_loss import amount

    row = _row(document, held)
    took = "" if row["outcome"] in _OPEN else f" in {row['seconds']:.1f} s"
    print(f"generation {row['generation']} of {row['stack']}: {row['outcome']}{took}")
    print(f"{row['time']} by {row['by'] or 'nobody known'}" + (f", {row['revision']}" if row["revision"] else ""))
    if "rolled_back_to" in row and document["outcome"] != "applied":
        print(f"on the way back to generation {row['rolled_back_to']}")
    if "saved" in row:
        print(f"from the saved plan {row['saved'][:19]}")
    for one in row["snapshots"]:
        print(f"holds {one['address']} as it was before: {amount(one['bytes'])}, snapshot {one['id']}")
    for change in row["changes"]:
        print(f"\n  {change['action']:<8} {change['address']}: {change['result']}")
        for reason in change["reasons"]:
            print(f"           {reason['text']}")
        if why := row["failures"].get(change["address"]):
            print(f"           failed: {why}")


COMMAND = Command(
    "history",
    "What was applied when, by whom, from which revision, and how it came out",
    run,
    stack=True,
    arguments=[GENERATION],
    options=[Option("-q", "--quiet", help="only the numbers"), STACK],
    details=(
        "The last 10 generations are kept, with the images that they ran ([generations] keep in stackpy.toml).\n"
        "Values of secrets are in none of them."
    ),
    examples=[
        ("stackpy history", "the newest first"),
        ("stackpy history 4", "what generation 4 changed, and why"),
        ("stackpy history --format json", "for programs"),
    ],
)
