"""Images as blobs, and the archives that hold them: docker's form and OCI's."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from pathlib import Path
from typing import Any

MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[platform.machine()]
OCI = "application/vnd.oci.image"


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def document(value: object) -> bytes:
    return json.dumps(value).encode()


def layer(**files: str) -> bytes:
    """A layer's tar: names with `__` for `/`, a name with `wh_` is a whiteout."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as writer:
        for name, text in files.items():
            info = tarfile.TarInfo(name.replace("__", "/").replace("wh_", ".wh."))
            info.size = len(text)
            writer.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


LAYERS = [layer(etc__motd="hello", bin__sh="#!"), layer(etc__motd="changed", wh_bin="")]


class Built:
    """An image as blobs, from which each kind of archive is written."""

    def __init__(self, tars: list[bytes] = LAYERS, pack: Any = None, **config: Any) -> None:
        self.tars, self.blobs = tars, [pack(tar) if pack else tar for tar in tars]
        self.diff_ids = [digest(tar) for tar in tars]
        self.config = document(
            {
                "architecture": MACHINE,
                "os": "linux",
                "created": "2026-01-02T03:04:05Z",
                "rootfs": {"type": "layers", "diff_ids": self.diff_ids},
                "config": {
                    "Env": ["PATH=/bin", "NAKED", "=x"],
                    "Cmd": ["sh"],
                    "Entrypoint": None,
                    "WorkingDir": "/srv",
                    "User": "1000:1000",
                    "ExposedPorts": {"80/tcp": {}},
                    "Volumes": {"/data": {}},
                    "StopSignal": "SIGINT",
                    "Shell": ["/bin/bash", "-c"],
                    "OnBuild": ["LABEL built=here"],
                    "Healthcheck": {"Test": ["CMD-SHELL", "up"], "Interval": 5_000_000_000, "Retries": 0},
                    "Labels": {"a": "b", "stackpy.stack": "mine", "stackpy.resource": "container.x"},
                },
                "history": [{"created_by": "COPY . /", "created": "2026-01-01T00:00:00Z"}, {"empty_layer": True}],
                **config,
            }
        )
        self.id = digest(self.config)

    def docker(self, **changes: Any) -> dict[str, bytes]:
        members = {f"{n}/layer.tar": blob for n, blob in enumerate(self.blobs)}
        name = self.id[7:] + ".json"
        entry = {"Config": name, "RepoTags": ["me/app:1", "other"], "Layers": list(members), **changes}
        return {**members, name: self.config, "manifest.json": document([entry])}

    def manifest(self, **changes: Any) -> dict[str, Any]:
        return {
            "schemaVersion": 2,
            "mediaType": f"{OCI}.manifest.v1+json",
            "config": self.descriptor(self.config, "config.v1+json"),
            "layers": [self.descriptor(blob, "layer.v1.tar") for blob in self.blobs],
            **changes,
        }

    @staticmethod
    def descriptor(data: bytes, kind: str, **more: Any) -> dict[str, Any]:
        return {"mediaType": f"{OCI}.{kind}", "digest": digest(data), "size": len(data), **more}

    def layout(self, manifest: bytes | None = None, index: object = None) -> dict[str, bytes]:
        data = document(self.manifest()) if manifest is None else manifest
        blobs = {f"blobs/sha256/{digest(blob)[7:]}": blob for blob in (*self.blobs, self.config, data)}
        notes = {"io.containerd.image.name": "docker.io/me/app:1"}
        whole = index or {"manifests": [self.descriptor(data, "manifest.v1+json", annotations=notes)]}
        return {**blobs, "oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": document(whole)}


def as_tar(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as writer:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            writer.addfile(info, io.BytesIO(data))
    return path


def as_folder(path: Path, members: dict[str, bytes]) -> Path:
    for name, data in members.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path
