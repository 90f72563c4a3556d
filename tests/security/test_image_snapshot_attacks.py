"""Attacks on export, diff, commit and import: races in a running container, bombs, and programs of the image."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

from stackpy_runtime.build import snapshots
from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image.limits import DEFAULT
from tests.engine_lab import PRELUDE, Canary, Lab

pytestmark = pytest.mark.root

# CVE-2018-15664: what is a folder when it is looked at is a link to the host when it is opened.
EXCHANGE = """
os.makedirs("/race/a/deep"); open("/race/a/deep/secret", "w").write("inside")
os.symlink({canary!r}, "/race/b")
print("ready", flush=True)
while True:
    call(316, -100, b"/race/a", -100, b"/race/b", 2)  # renameat2, RENAME_EXCHANGE
"""


class _Sink:
    """Keeps the whole of a tar."""

    def __init__(self) -> None:
        self.data = bytearray()

    def write(self, data: bytes) -> None:
        self.data += data


def _racing(lab: Lab, canary: Canary) -> str:
    name = lab.up(["python3", "-c", PRELUDE + EXCHANGE.format(canary=str(canary.folder))])
    lab.said(name, "ready")
    return name


def test_2018_15664_a_race_shows_export_and_diff_nothing_of_the_host(lab: Lab, canary: Canary) -> None:
    name = _racing(lab, canary)
    paths = set()
    for _ in range(150):
        paths |= {row["path"] for row in lab.engine.differences(name) if row["path"].startswith("/race/")}
    assert paths <= {"/race/a", "/race/b", *(f"/race/{one}/deep" for one in "ab"),
                     *(f"/race/{one}/deep/secret" for one in "ab")}  # fmt: skip
    for _ in range(5):
        out = _Sink()
        lab.engine.export_container(name, out)
        with tarfile.open(fileobj=io.BytesIO(out.data)) as archive:
            found = [member for member in archive if member.name.startswith("race/")]
            assert {member.name for member in found} <= {path[1:] for path in paths} | {"race/a", "race/b"}
        canary.check(bytes(out.data).decode("latin-1"))


def test_2018_15664_a_race_brings_nothing_of_the_host_into_a_commit(lab: Lab, canary: Canary) -> None:
    name = _racing(lab, canary)
    for number in range(5):
        image = lab.engine.commit(name, reference=f"raced:{number}", pause=False)
        out = _Sink()
        lab.engine.save_images([f"raced:{number}"], out)
        canary.check(bytes(out.data).decode("latin-1"))
        assert image["layers"][:-1] == lab.engine.image("lab")["layers"]
        lab.engine.remove_image(f"raced:{number}")


def test_mounts_secrets_and_volumes_stay_out_of_a_commit(lab: Lab, canary: Canary) -> None:
    lab.engine.put_secret("word", b"the-secret-word", {})
    mounts = [
        {"type": "bind", "source": str(canary.folder), "target": "/bound", "read_only": True},
        {"type": "volume", "source": "snapshot", "target": "/volume", "read_only": False},
        {"type": "tmpfs", "source": "", "target": "/memory", "read_only": False},
    ]
    script = (
        # Put together there: the command stands in the image's history.
        "echo zq-v''olume >/volume/x; echo zq-m''emory >/memory/x; cat /run/secrets/word >/dev/null; echo ok; sleep 999"
    )
    name = lab.up(["sh", "-c", script], mounts=mounts, secrets=[{"secret": "word", "target": "word"}])
    lab.said(name, "ok")
    lab.engine.commit(name, reference="clean:1")
    whole = _Sink()
    lab.engine.save_images(["clean:1"], whole)
    lab.engine.export_container(name, whole)
    text = bytes(whole.data).decode("latin-1")
    canary.check(text)
    assert not [word for word in ("the-secret-word", "zq-volume", "zq-memory") if word in text]
    lab.engine.remove_image("clean:1")


def test_2017_14992_a_bomb_is_refused_by_import_and_leaves_nothing(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "bomb.tar.gz"
    with gzip.open(path, "wb") as bomb:
        info = tarfile.TarInfo("zeros")
        info.size = 64 << 20
        bomb.write(info.tobuf() + bytes(info.size + 1024))
    before = (lab.engine.images(), sorted(os.listdir(f"{lab.root}/layers")))
    # Below the limit on whole layers this one would be an honest sparse file.
    limits = DEFAULT._replace(ratio_from=32 << 20)
    with pytest.raises(InvalidConfig, match="decompresses to more than 150 times its size"):
        snapshots.import_tar(lab.engine.store, str(path), reference="", instructions=[], message="", limits=limits)
    assert (lab.engine.images(), sorted(os.listdir(f"{lab.root}/layers"))) == before
    assert os.listdir(f"{lab.root}/staging") == []


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "zst"])
def test_2019_14271_nothing_of_an_archive_runs_when_it_is_imported(
    lab: Lab, canary: Canary, tmp_path: Path, form: str
) -> None:
    """Nor of the folder in which it is: programs that decompress, modules of Python, name services."""
    touch = f"touch {canary.folder}/ran"
    here = tmp_path / "here"
    for path in ("gzip", "xz", "bzip2", "zstd", "unpigz", "tar", "usr/bin/xz", "usr/bin/gzip", "lib/libnss_files.so.2"):
        (here / path).parent.mkdir(parents=True, exist_ok=True)
        (here / path).write_text(f"#!/bin/sh\n{touch}\n")
        (here / path).chmod(0o755)
    for module in ("lzma", "bz2", "gzip", "zstandard", "isal", "tarfile", "encodings", "sitecustomize", "pwd"):
        (here / f"{module}.py").write_text(f"import os\nos.system({touch!r})\n")
    packed = tmp_path / f"tree.tar.{form}"
    with tarfile.open(tmp_path / "plain", "w") as archive:
        archive.add(here, ".")
    plain = (tmp_path / "plain").read_bytes()
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zst": zstandard.compress}[form]
    packed.write_bytes(pack(plain))
    done = subprocess.run(
        [sys.executable, "-P", "-m", "stackpy.cli.main", "--root", lab.root, "import", str(packed)],
        cwd=here,
        env=lab.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    canary.check(done.stdout, done.stderr)
    lab.cli("image", "rm", done.stdout.strip())
