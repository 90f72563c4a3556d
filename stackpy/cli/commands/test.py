"""stackpy test."""

from __future__ import annotations

import os
import sys

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Runs the tests of the stack's folder; asks no engine."""
    from stackpy.planning.quantities import plural
    from stackpy.testing import running

    given = context.globals.file
    folder = os.path.dirname(os.path.abspath(given)) if given and not os.path.isdir(given) else os.path.abspath(given)
    paths = [path for one in arguments.path for path in _paths(one)] if arguments.path else running.files(folder)
    if not paths:
        raise StackpyError(
            f"there are no tests in {folder}",
            hint="write test_stack.py: `from stackpy.testing import load_stack`, and functions that begin with test_",
        )
    word = arguments.keyword or ""
    results = []
    for path in paths:
        for result in running.run(path, folder, lambda name: word in name):
            results.append(result)
            if not context.json:
                mark = terminal.paint("FAILED", "31", sys.stdout) if result.failure else "ok"
                if result.failure or not context.globals.quiet:
                    print(f"{mark:6} {result.name}", flush=True)
                for line in result.failure.splitlines():
                    print(f"         {line}")
    failed = [result for result in results if result.failure]
    if context.json:
        terminal.print_json(
            [
                {"name": r.name, "ok": not r.failure, "failure": r.failure, "seconds": round(r.seconds, 3)}
                for r in results
            ]
        )
    elif results:
        total = f"{plural(len(results), 'test')}, {len(failed)} failed" if failed else plural(len(results), "test")
        print(f"\n{total} in {sum(result.seconds for result in results):.2f} s")
    if not results:
        raise StackpyError(f"no test has `{word}` in its name" if word else "the files hold no functions `test_…`")
    return 1 if failed else 0


def _paths(path: str) -> list[str]:
    from stackpy.testing import running

    if not os.path.exists(path):
        raise StackpyError(f"`{path}` does not exist")
    return running.files(path) if os.path.isdir(path) else [os.path.abspath(path)]


COMMAND = Command(
    "test",
    "Run the tests of the stack's folder; asks no engine",
    run,
    details=(
        "Tests are functions test_… without arguments, in files test_*.py or *_test.py of the folder. They load the\n"
        "stack with `stackpy.testing` and look at it, and at what a plan of it would do. pytest runs them too."
    ),
    stack=True,
    options=[Option("-k", metavar="WORD", help="only tests with this in their name", key="keyword")],
    arguments=[Argument("PATH", help="test files or folders (default: all)", many=True, optional=True, words="file")],
    examples=[
        ("stackpy test", "all of this folder"),
        ("stackpy test -k replicas --format json", "some of them, for programs"),
    ],
)
