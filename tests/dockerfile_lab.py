"""The Dockerfiles of tests/dockerfiles, and what they are built of: stand-ins for their bases, a context, an agent."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from stackpy_runtime.engine import Engine
from stackpy_runtime.model import Image
from tests import stand_ins

FOLDER = Path(__file__).parent / "dockerfiles"
# What needs somebody else's servers, and what is only about warnings.
OTHERS = {"add-everything", "checks"}
NAMES = sorted(path.parent.name for path in FOLDER.glob("*/Dockerfile") if path.parent.name not in OTHERS)
SECRETS = {"aws": b"key", "TOKEN": b"word"}

_SYNTAX = re.compile("^# *syntax *=.*\n", re.MULTILINE)


@contextmanager
def bases(engine: Engine) -> Iterator[Image]:
    """The image of all stand-ins, under all their names."""
    source = stand_ins.source()
    image = engine.build(source, engine.resolve(source), key="", tags=[], labels={}, progress=lambda event: None)
    for name in stand_ins.IMAGES:
        engine.tag(image["id"], name)
    yield image
    engine.remove_image(image["id"], force=True)


@contextmanager
def agent(folder: Path) -> Iterator[str]:
    """The path of a socket that stands for an ssh agent's."""
    path = str(folder / "socket")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen()
        yield path


def build(engine: Engine, name: str, context: Path, agent: str, said: list[Any], tags: tuple[str, ...] = ()) -> Image:
    """Builds one of the Dockerfiles; `said` gets what is told of it."""
    contexts = {"shared": str(context)}
    described: Any = {"kind": "dockerfile", "path": str(FOLDER / name / "Dockerfile"), "context": str(context)}
    source: Any = {"base": {**described, "contexts": contexts}, "steps": []}
    options: Any = {"secrets": SECRETS, "ssh": {"deploy": agent}}
    recipe = engine.resolve(source)
    return engine.build(source, recipe, key="", tags=list(tags), labels={}, progress=said.append, options=options)


def for_peers(name: str) -> str:
    """The Dockerfile's text as every peer of the last years reads it.

    `Dockerfile.old` says the same image without heredocs and other words that Debian 12's docker and podman lack; a
    syntax directive would have docker ask a registry for its own parser.
    """
    old = FOLDER / name / "Dockerfile.old"
    return _SYNTAX.sub("", (old if old.exists() else FOLDER / name / "Dockerfile").read_text())
