"""The rows about builds: the same Dockerfile and context, built by us and by docker with BuildKit."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.measure import Row, Side, command, compare

if TYPE_CHECKING:
    from collections.abc import Callable

    from benchmarks.peers import Docker

FILES = 10_000
# The client of Debian's package: a newer one needs a plug-in for BuildKit, which the daemon has built in.
DOCKER = "/usr/bin/docker"

# Nine instructions, as many with a layer as an image of an application has.
NINE = """\
FROM {image}
ENV LANG=C.UTF-8
WORKDIR /app
COPY a.txt .
RUN echo one > /one
RUN echo two > /two
COPY b.txt .
RUN echo three > /three
CMD ["sh"]
"""

LAST_COPY = """\
FROM {image}
WORKDIR /app
RUN echo one > /one
COPY . .
"""


class Builds:
    """ours: a command line of ours from its words; environment: what it runs in."""

    def __init__(self, folder: Path, image: str, ours: Callable[..., list[str]], environment: dict[str, str]) -> None:
        self.folder, self.image, self.ours, self.environment = folder, image, ours, environment

    def rows(self, docker: Docker, rounds: int) -> list[Row]:
        """All of them."""
        nine = self._context("nine", NINE)
        (nine / "a.txt").write_text("a\n")
        (nine / "b.txt").write_text("b\n")
        ours = "stackpy build"
        return [
            compare(
                "build of 9 steps, cold",
                Side(ours, self._build(nine, "--no-cache")),
                Side("docker build", self._docker(docker, nine, "--no-cache")),
                0.14,
                rounds=rounds,
                warm=1,
            ),
            compare(
                "the same, nothing changed",
                Side(ours, self._build(nine)),
                Side("docker build", self._docker(docker, nine)),
                0.6,
                rounds=rounds * 2,
            ),
            self._last_copy(docker, rounds),
        ]

    def _last_copy(self, docker: Docker, rounds: int) -> Row:
        folder = self._context("many", LAST_COPY)
        for number in range(FILES):
            place = folder / f"d{number % 100}"
            place.mkdir(exist_ok=True)
            (place / f"f{number}").write_text(f"file {number}\n")
        lines = itertools.count()

        def change() -> None:
            (folder / "d0" / "f0").write_text(f"line {next(lines)}\n")

        return compare(
            f"build after one line of {FILES:,} files changed",
            Side("stackpy build", self._build(folder), change),
            Side("docker build", self._docker(docker, folder), change),
            0.3,
            rounds=rounds,
            warm=1,
        )

    def _context(self, name: str, text: str) -> Path:
        folder = self.folder / name
        folder.mkdir(parents=True)
        (folder / "Dockerfile").write_text(text.format(image=self.image))
        return folder

    def _build(self, folder: Path, *words: str) -> Callable[[], None]:
        line = self.ours("build", "-q", *words, "-t", f"bench-{folder.name}", str(folder))
        return command(*line, env=self.environment, cwd="/")

    def _docker(self, docker: Docker, folder: Path, *words: str) -> Callable[[], None]:
        environment = {**docker.environment, "DOCKER_BUILDKIT": "1"}
        return command(DOCKER, "build", "-q", *words, "-t", f"bench-{folder.name}", str(folder), env=environment)
