"""Recipes and builds for tests, on an engine root of their own and without the engine's processes.

RUN steps run in a plain chroot on a mount namespace of their own: what the sandbox does is tested elsewhere.
"""

from __future__ import annotations

import base64
import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import execute, recipe
from stackpy_runtime.build.merged import Merged
from stackpy_runtime.build.runner import Output, StepRun
from stackpy_runtime.model import Image, ImageSource, Recipe
from stackpy_runtime.store import layers
from stackpy_runtime.store.store import Store

SCRATCH: Any = {"kind": "scratch"}


def step(instruction: str, line: int = 1, **fields: Any) -> Any:
    """One step as the DSL describes it."""
    text = f"{instruction.upper()} {' '.join(str(value) for value in fields.values())}"
    return {"instruction": instruction, "text": text, "line": f"stack.py:{line}", **fields}


def run(script: str, line: int = 1, **fields: Any) -> Any:
    """A RUN step for the shell."""
    return step("run", line, argv=["/bin/sh", "-c", script], **fields)


def copy(context: Path, *paths: str, line: int = 1, **fields: Any) -> Any:
    """A COPY step: sources, then the target."""
    return step("copy", line, sources=list(paths[:-1]), target=paths[-1], context=str(context), **fields)


def file(target: str, content: str, line: int = 1, **fields: Any) -> Any:
    """A FILE step."""
    return step("file", line, target=target, content=base64.b64encode(content.encode()).decode(), **fields)


def add(context: Path, *paths: str, **fields: Any) -> Any:
    """An ADD step: sources, then the target."""
    return step("add", sources=list(paths[:-1]), target=paths[-1], context=str(context), **fields)


def of_stage(name: str, *paths: str, line: int = 1, **fields: Any) -> Any:
    """A COPY step from a stage: sources, then the target."""
    return step("copy", line, sources=list(paths[:-1]), target=paths[-1], from_stage=name, **fields)


def inline(name: str, content: str) -> Any:
    """A file that stands in the step itself: a heredoc."""
    return {"name": name, "content": base64.b64encode(content.encode()).decode()}


def source(*steps: Any, base: Any = SCRATCH) -> ImageSource:
    """An image of a base and steps."""
    return {"base": base, "steps": list(steps)}


def chroot(run: StepRun, output: Output) -> int:
    """Runs a RUN step without any isolation but a root of its own; the mounts go with its namespace."""
    lower = ":".join(reversed(run.layers))
    options = f"lowerdir={lower},upperdir={run.staged}/upper,workdir={run.staged}/work"
    mounts = [
        'mount -t overlay -o "$1" overlay "$2"',
        *(
            f'mkdir -p "$2{mount["target"]}" && mount --bind "{mount["source"]}" "$2{mount["target"]}"'
            for mount in run.mounts
            if mount["kind"] == "folder"
        ),
    ]
    script = " && ".join([*mounts, 'root="$2"', "shift 2", 'cd "$root"', 'exec chroot "$root" "$@"'])
    place = f"{run.staged}/merged"
    os.mkdir(place)
    enter = ["/bin/sh", "-c", 'cd "$0" && exec "$@"', run.working_dir]
    done = subprocess.run(
        ["/usr/bin/unshare", "--mount", "/bin/sh", "-c", script, "sh", options, place, *enter, *run.argv],
        env=run.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    output(done.stdout)
    return done.returncode if done.returncode >= 0 else 128 - done.returncode


class Builder:
    """An engine root, and what was told of its last build.

    ran: texts of the steps that were not cached
    output: what RUN steps printed, in pieces
    """

    def __init__(self, root: Path) -> None:
        self.store = Store(str(root), create=True)
        self.ran: list[str] = []
        self.events: list[Any] = []
        self.runs: list[StepRun] = []
        self.output: list[str] = []

    def resolve(self, image: ImageSource) -> Recipe:
        """The recipe of an image."""
        return recipe.resolve(image, self.store)

    def build(self, image: ImageSource, resolved: Recipe | None = None, **options: Any) -> Image:
        """Builds an image."""
        self.events, self.ran, self.output = [], [], []
        wanted: dict[str, Any] = {"key": "", "tags": [], "labels": {}, "runner": self.run, **options}
        return execute.build(self.store, image, resolved or self.resolve(image), progress=self._progress, **wanted)

    def run(self, step_run: StepRun, output: Output) -> int:
        """Runs a RUN step and remembers it."""
        self.runs.append(step_run)
        return chroot(step_run, output)

    def _progress(self, event: Any) -> None:
        self.events.append(event)
        if event["kind"] == "step" and not event["cached"]:
            self.ran.append(event["text"])
        elif event["kind"] == "output":
            self.output.append(event["text"])

    def folders(self, image: Image) -> list[str]:
        """The folders of an image's layers, bottom first."""
        return [layers.folder(self.store.root, layer) for layer in image["layers"]]

    def tree(self, image: Image) -> dict[str, str]:
        """All that is in an image: path → "MODE UID:GID" and a link's target or a file's content."""
        with Merged(self.folders(image)) as view:
            return listing(view.root)

    def clean(self) -> bool:
        """Whether nothing is left half done."""
        return os.listdir(self.store.root.staging) == []


def listing(root: int) -> dict[str, str]:
    """What lies beneath a descriptor."""
    found: dict[str, str] = {}
    top = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=root)
    try:
        for parent, folders, names, descriptor in os.fwalk(".", dir_fd=top, follow_symlinks=False):
            for name in [*folders, *names]:
                path = os.path.normpath(f"{parent}/{name}")
                status = os.stat(name, dir_fd=descriptor, follow_symlinks=False)
                text = f"{stat.S_IMODE(status.st_mode):o} {status.st_uid}:{status.st_gid}"
                if stat.S_ISLNK(status.st_mode):
                    text = f"-> {os.readlink(name, dir_fd=descriptor)}"
                elif stat.S_ISREG(status.st_mode):
                    with open(os.open(name, os.O_RDONLY, dir_fd=descriptor), errors="replace") as opened:
                        text += f" {opened.read(200)}"
                found[path] = text
    finally:
        os.close(top)
    return found


@pytest.fixture(name="builder")
def builder_fixture(tmp_path: Path) -> Iterator[Builder]:
    """A builder on an empty root; nothing may be half done at the end."""
    made = Builder(tmp_path / "root")
    yield made
    assert made.clean()
    made.store.close()
