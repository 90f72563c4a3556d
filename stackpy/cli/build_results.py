"""What `stackpy build` shows while it builds, and what becomes of the result: for Dockerfiles and stacks alike."""

from __future__ import annotations

import sys
from contextlib import nullcontext

from stackpy.cli import stacks, terminal
from stackpy.records import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from contextlib import AbstractContextManager
    from typing import Any

    from stackpy.cli.build_outputs import Output
    from stackpy.cli.context import Context
    from stackpy.engines.events import Event, Report
    from stackpy.planning.steps import Explained


def progress(context: Context, style: str) -> AbstractContextManager[Report]:
    """What shows how far a build is, in the style of `--progress`."""
    if style == "quiet":
        return nullcontext(lambda event: None)
    if style == "plain" and not context.globals.quiet:
        from stackpy.render.progress import LineProgress

        return LineProgress(sys.stderr)
    return stacks.progress(context)


def on_failure(context: Context, arguments: Any) -> dict[str, str]:
    """The build option of `--on-failure`, where somebody is there to type."""
    if not arguments.on_failure:
        return {}
    if not (terminal.is_terminal(sys.stdin) and terminal.is_terminal(sys.stdout)):
        stacks.say(context, "no shell will open where a step fails: `--on-failure=shell` needs a terminal")
        return {}
    context.plain = True  # a view that draws itself anew would draw over the shell
    return {"on_failure": arguments.on_failure}


class Reasons:
    """What `--explain` says of each step, once it is known how the build went; printed at the end of the block.

    A step may turn out to be cached whose inputs differ, where the files that it takes came out as they were.
    """

    def __init__(self) -> None:
        self._expected: dict[str, tuple[Explained, ...]] = {}
        self._happened: dict[str, dict[str, bool]] = {}
        self._titles = False

    def expect(self, address: str, steps: tuple[Explained, ...], *, titled: bool = False) -> None:
        """Takes what was told of an image's steps before; titled: its address is printed above them."""
        self._expected[address] = steps
        self._titles = self._titles or titled

    def heard(self, report: Report) -> Report:
        """Listens to what is reported."""
        if not self._expected:
            return report
        from stackpy.planning.steps import title

        def listen(event: Event) -> None:
            if event.kind == "step":
                stage, bracket, text = event.text.partition("] ") if event.text.startswith("[") else ("", "", "")
                name = title(text if bracket else event.text, event.step, event.steps, stage.removeprefix("["))
                self._happened.setdefault(event.address, {})[name] = event.cached
            report(event)

        return listen

    def __enter__(self) -> None:
        """Nothing is printed yet."""

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        from stackpy.planning.steps import turned_out

        for address, steps in self._expected.items():
            if self._titles:
                print(address)
            for step in turned_out(steps, self._happened.get(address, {})):
                print(f"  {step}" if self._titles else step)
        sys.stdout.flush()


def deliver(context: Context, arguments: Any, image: str, outputs: list[Output], names: list[str]) -> None:
    """Writes what was built to where `--output` says."""
    from stackpy.cli import build_outputs, transfers

    quiet = context.globals.quiet or context.json or arguments.progress == "quiet"
    pushing = any(each.push for each in outputs)
    with (transfers.shown(quiet) if pushing else None) or nullcontext() as report:
        lines = build_outputs.write(context.engine(), image, outputs, names, report)
    for line in lines:
        stacks.say(context, line)


class Again(NamedTuple):
    """An image whose steps are made once more: what it is called, its source, and the build's options."""

    name: str
    source: dict[str, Any]
    options: dict[str, Any]


def verify(context: Context, arguments: Any, images: list[Again]) -> int:
    """Makes each step once more; prints what differs then, and fails for it."""
    from stackpy.engines.provisioning import BuildEvents

    found = []
    for image in images:
        with progress(context, arguments.progress) as report:
            events = BuildEvents(image.name or "again", report)
            found.append(context.engine().image_verify(image.source, options=image.options, report=events))
    if context.json:
        terminal.print_json([each for unlike in found for each in unlike])
        return 1 if any(found) else 0
    for image, unlike in zip(images, found, strict=True):
        step = ""
        for each in unlike:
            place = f"{each['line']}: {each['step']}"
            if place != step:
                print(place)
                step = place
            print(f"  {each['path']}: {each['what']}")
        count = len(unlike)
        said = f"{count} file{'' if count == 1 else 's'} differed" if count else "every step made the same files again"
        stacks.say(context, f"{image.name}: {said}" if image.name else said)
    return 1 if any(found) else 0
