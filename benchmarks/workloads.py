"""The rows of the table: what is done, by whom, and what the budget is (docs/benchmarks.md)."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

from benchmarks.builds import Builds
from benchmarks.measure import Row, Side, command, compare
from benchmarks.peers import Docker, Podman, WithoutHybrid, crun_bundle
from benchmarks.ports import Ports
from benchmarks.registries import Registries
from benchmarks.scale import Scale
from benchmarks.stacks import Stacks, write_stacks
from benchmarks.terminals import Terminals

IMAGE, SERVING = "bench:latest", "serving:latest"


class Bench:
    """One run: a folder for everything, ours and theirs with the same image."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        self.root = folder / "stackpy"
        self.program = str(Path(sys.executable).parent / "stackpy")
        self.environment = {**os.environ, "STACKPY_ROOT": str(self.root)}
        self.stack = folder / "bench"
        self.archive, self.serving = folder / "image.tar", folder / "serving.tar"

    def ours(self, *words: str) -> list[str]:
        """A command line of ours."""
        return [self.program, *words]

    def call(self, *words: str) -> None:
        """Runs a command of ours in the stack's folder."""
        command(*self.ours(*words), env=self.environment, cwd=str(self.stack))()

    def prepare(self) -> None:
        """Builds the images, and writes their files into tars for the others."""
        write_stacks(self.stack, IMAGE)
        self.call("apply", "--yes")
        self.call("destroy", "--yes")
        (self.folder / "serving.py").write_text(
            f'from stackpy import Image\n\nImage.host("python3").tag("{SERVING}")\n'
        )
        self.call("-f", str(self.folder / "serving.py"), "build")
        from stackpy_runtime.engine import Engine
        from stackpy_runtime.store import layers

        engine = Engine(str(self.root))
        for image, archive in ((IMAGE, self.archive), (SERVING, self.serving)):
            [layer] = engine.image(image)["layers"]
            subprocess.run(["tar", "-C", layers.folder(engine.store.root, layer), "-cf", str(archive), "."], check=True)

    def run(self) -> list[Row]:
        """All rows."""
        self.prepare()
        podman = Podman(self.folder / "podman")
        podman.import_image(self.archive, IMAGE)
        with Docker(self.folder / "docker") as docker, WithoutHybrid(self.folder / "hybrid") as hybrid:
            docker.import_image(self.archive, IMAGE)
            docker.import_image(self.serving, SERVING)
            return [
                self.run_true(docker),
                self.run_without_network(podman, hybrid),
                self.engine_alone(hybrid),
                *Terminals(IMAGE, self.ours(), self.environment, docker).rows(self.rounds),
                *Ports(SERVING, self.ours(), self.environment, docker).rows(max(3, self.rounds // 3)),
                *Stacks(self.stack, self.ours, self.environment, self.rounds).rows(docker, podman, hybrid),
                *Scale(self.folder / "scale", self.ours, self.environment).rows(self.rounds),
                *Builds(self.folder / "contexts", IMAGE, self.ours, self.environment).rows(
                    docker, max(3, self.rounds // 3)
                ),
                *Registries(self.folder / "registries", self.ours, self.environment).rows(
                    podman, max(3, self.rounds // 3)
                ),
            ]

    def run_true(self, docker: Docker) -> Row:
        """`run --rm` of `true` on a bridge network."""
        words = ("run", "--rm", IMAGE, "true")
        return compare(
            "`run --rm` of `true`, bridge network",
            Side("stackpy run", command(*self.ours(*words), env=self.environment, cwd="/")),
            Side("docker run", command("docker", *words, env=docker.environment)),
            0.15,
            rounds=self.rounds,
        )

    def run_without_network(self, podman: Podman, hybrid: WithoutHybrid) -> Row:
        """The same without a network."""
        words = ("--rm", "--network", "none", IMAGE, "true")
        # Limits that the host has: raising them, as podman does by itself, is not allowed everywhere.
        files = resource.getrlimit(resource.RLIMIT_NOFILE)
        limits = (f"--ulimit=nofile={files[0]}:{files[1]}", "--ulimit=nproc=1000:1000")
        theirs = (*hybrid.words, *podman.words, "run", *limits, *words)
        return compare(
            "the same, `--network none`",
            Side("stackpy run", command(*self.ours("run", *words), env=self.environment, cwd="/")),
            Side("podman run", command(*theirs)),
            0.25,
            rounds=self.rounds,
        )

    def engine_alone(self, hybrid: WithoutHybrid) -> Row:
        """Create, start, wait and remove, through the engine's client, warm."""
        from stackpy_runtime.engine import Engine
        from stackpy_runtime.model import ContainerConfig

        engine = Engine(str(self.root))

        def once() -> None:
            config: ContainerConfig = {"name": "bench", "image": IMAGE, "command": ["true"], "network_mode": "none"}
            engine.up(config)
            assert engine.wait("bench") == 0
            engine.remove("bench")

        return compare(
            "engine alone: create, start, wait, remove, warm",
            Side("stackpy_runtime", once),
            Side("crun run", command(*hybrid.words, *crun_bundle(self.folder / "crun", self.archive))),
            1.4,
            rounds=self.rounds * 2,
        )
