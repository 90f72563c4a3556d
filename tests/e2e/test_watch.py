"""`stackpy watch`: every save takes effect, no mistake takes anything down."""

from __future__ import annotations

import queue
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import Cli
from tests.waiting import wait_for

pytestmark = pytest.mark.root

STACK = """
from stackpy import Container, Image, template
import settings
image = Image.host("sh", "sleep", "cat").copy("src/", "/src/").cmd(["sleep", "1000"])
Container("web", image=image, environment={"MODE": settings.MODE},
          files={"/etc/app.conf": template("app.conf.j2", x=1)})
"""
READY = "waiting for changes"


class Watching:
    """A running `stackpy watch`, and what it says."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.said: list[str] = []
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout
        with self.process.stdout as stream:
            for line in stream:
                self._lines.put(line)

    def end(self) -> None:
        """Ends it as kill -9 does."""
        self.process.kill()
        self.process.wait()
        self._reader.join(60)

    def until(self, text: str) -> list[str]:
        """What it says until a line holds `text`."""
        said: list[str] = []
        while not said or text not in said[-1]:
            try:
                said.append(self._lines.get(timeout=60))
            except queue.Empty:
                raise AssertionError(f"`{text}` was not said:\n{''.join(self.said + said)}") from None
        self.said += said
        return said


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "shop"
    (place / "src").mkdir(parents=True)
    (place / "src" / "app.py").write_text("one")
    (place / "stack.py").write_text(STACK)
    (place / "settings.py").write_text('MODE = "slow"\n')
    (place / "app.conf.j2").write_text("x = {{ x }}\n")
    return place


@pytest.fixture
def watching(cli: Cli, folder: Path) -> Iterator[Watching]:
    running = Watching(cli.start("watch", cwd=folder, stderr=subprocess.STDOUT))
    yield running
    running.end()


def read(cli: Cli, path: str) -> str:
    return cli("exec", "shop-web-1", "cat", path).stdout


def test_every_input_is_followed(cli: Cli, folder: Path, watching: Watching) -> None:
    watching.until(READY)
    assert (read(cli, "/src/app.py"), read(cli, "/etc/app.conf")) == ("one", "x = 1\n")

    (folder / "src" / "app.py").write_text("two")
    said = "".join(watching.until(READY))
    assert "step 2/3 COPY src/" in said and "app.py" in said
    assert read(cli, "/src/app.py") == "two"

    (folder / "app.conf.j2").write_text("y = {{ x }}\n")
    assert "files./etc/app.conf" in "".join(watching.until(READY))
    assert read(cli, "/etc/app.conf") == "y = 1\n"

    (folder / "settings.py").write_text('MODE = "fast"\n')
    assert "MODE" in "".join(watching.until(READY))
    assert "MODE=fast" in cli.json("inspect", "shop-web-1")[0]["Config"]["Env"]

    # as editors save: a new file is renamed over the old one
    new = folder / ".stack.py.new"
    new.write_text(STACK.replace('Container("web"', 'Container("web", mem_limit="64m"'))
    new.rename(folder / "stack.py")
    assert "update in place" in "".join(watching.until(READY))

    # what changes nothing is not talked about
    (folder / "src" / "app.py").write_text("two")
    assert watching.until(READY) == [watching.said[-1]]


def test_a_mistake_leaves_everything_running_and_the_next_save_recovers(
    cli: Cli, folder: Path, watching: Watching
) -> None:
    watching.until(READY)
    (before,) = cli.json("ps")
    # nor does a file that an editor has emptied and not written yet
    for wrong in ("", "import nowhere\n", "(\n", 'from stackpy import Container\nContainer("web", imag=1)\n'):
        (folder / "stack.py").write_text(wrong)
        assert "error: " in "".join(watching.until(READY))
    (folder / "app.conf.j2").unlink()
    (folder / "stack.py").write_text(STACK)
    assert "app.conf.j2" in "".join(watching.until(READY))
    assert cli.json("ps")[0]["id"] == before["id"]
    # what was missing is watched too
    (folder / "app.conf.j2").write_text("back = {{ x }}\n")
    watching.until("Done")
    watching.until(READY)
    assert read(cli, "/etc/app.conf") == "back = 1\n"

    # a file that is gone for a moment only, as while it is moved, is no mistake
    (folder / "stack.py").rename(folder / "old")
    (folder / "stack.py").write_text(STACK.replace('Container("web"', 'Container("web", user="65534"'))
    said = "".join(watching.until("Done"))
    assert "error: " not in said
    (folder / "stack.py").unlink()
    assert "no stack file" in "".join(watching.until("no stack file"))
    (folder / "stack.py").write_text(STACK)
    watching.until("Done")


def test_a_save_during_an_apply_is_not_waited_for(cli: Cli, folder: Path, watching: Watching) -> None:
    watching.until(READY)
    probe = 'user="0", healthcheck={"test": ["false"], "interval": 1, "retries": 100}, image=image'
    (folder / "stack.py").write_text(STACK.replace("image=image", probe))
    watching.until("shop-web-2 started")
    (folder / "stack.py").write_text(STACK.replace("image=image", 'working_dir="/", image=image'))
    watching.until("a file changed meanwhile")
    watching.until("Done")
    wait_for(lambda: [row["state"] for row in cli.json("ps")] == ["running"], "the container runs")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_the_containers_running(cli: Cli, watching: Watching, number: signal.Signals) -> None:
    watching.until(READY)
    watching.process.send_signal(number)
    assert watching.process.wait(60) == 0
    assert [row["state"] for row in cli.json("ps")] == ["running"]
