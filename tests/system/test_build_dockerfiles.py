"""The Dockerfiles of tests/dockerfiles, built whole: the configuration, what is in the image, what its steps said.

`built.json` beside each is what is expected. After a change that is meant, STACKPY_REWRITE=1 writes them anew, to be
read before they are committed.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build.merged import Merged
from stackpy_runtime.engine import Engine
from stackpy_runtime.platforms import machine
from stackpy_runtime.store import layers
from tests import dockerfile_lab, stand_ins
from tests.build_lab import listing
from tests.engine_lab import Lab

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def base(lab_of_session: Lab) -> Iterator[int]:
    """The stand-ins; how many layers they have."""
    with dockerfile_lab.bases(lab_of_session.engine) as image:
        yield len(image["layers"])


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("context")
    stand_ins.fill(folder)
    return folder


@pytest.fixture(scope="module")
def agent(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with dockerfile_lab.agent(tmp_path_factory.mktemp("agent")) as path:
        yield path


def built(engine: Engine, name: str, context: Path, agent: str, base: int) -> dict[str, Any]:
    """What comes of a Dockerfile: configuration, files above the base, output; `new` of a second build is empty."""
    said: list[Any] = []
    image = dockerfile_lab.build(engine, name, context, agent, said)
    above = (
        image["layers"][base:] if len(image["layers"]) >= base and _stands_on_base(image, engine) else image["layers"]
    )
    files: dict[str, str] = {}
    if above:
        with Merged([layers.folder(engine.store.root, layer) for layer in above]) as view:
            files = listing(view.root)
    output = "".join(event["text"] for event in said if event["kind"] == "output").splitlines()
    said.clear()
    assert dockerfile_lab.build(engine, name, context, agent, said)["id"] == image["id"]
    assert [event["text"] for event in said if event["kind"] == "step" and not event["cached"]] == []
    config = {key: value for key, value in image["config"].items() if value != {}}
    history = [
        f"{'      ' if line['empty_layer'] else 'layer '}{line['created_by']}"
        for line in image["history"]
        if line["created_by"] not in ("COPY / /", "ENV")
    ]
    return {
        "config": config,
        "files": {path: text for path, text in sorted(files.items()) if not _is_host_s(path)},
        "history": history,
        "output": sorted(map(_anywhere, output)),
    }


def _anywhere(line: str) -> str:
    """A line of output without what depends on the host."""
    line = re.sub(r"-j\d+", "-jN", line).replace(f"linux/{machine().architecture}", "linux/HOST")
    return re.sub(r"\d+\.\d+\.\d+\(\d+\)-release", "BASH_VERSION", line)


def _stands_on_base(image: Any, engine: Engine) -> bool:
    ground = engine.image(stand_ins.IMAGES[0])["layers"]
    return bool(image["layers"][: len(ground)] == ground)


def _is_host_s(path: str) -> bool:
    return path.startswith(("dev", "proc", "sys")) or path in ("etc/hosts", "etc/resolv.conf", "etc/hostname")


@pytest.mark.parametrize("name", dockerfile_lab.NAMES)
def test_a_dockerfile_as_people_write_them(
    name: str, lab_of_session: Lab, context: Path, agent: str, base: int
) -> None:
    found = built(lab_of_session.engine, name, context, agent, base)
    expected = dockerfile_lab.FOLDER / name / "built.json"
    if os.environ.get("STACKPY_REWRITE"):
        expected.write_text(json.dumps(found, indent=1) + "\n")
    assert found == json.loads(expected.read_text())
