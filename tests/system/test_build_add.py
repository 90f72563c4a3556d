"""COPY and ADD in all their forms: heredocs, modes, archives, addresses, repositories."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import modes, recipe
from stackpy_runtime.errors import Conflict, EngineError, InvalidConfig, NotFound
from stackpy_runtime.store.store import Store
from tests.build_lab import Builder, add, file, inline, source, step
from tests.git_lab import commit, daemon, git

pytestmark = pytest.mark.root


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "a/b/c").mkdir(parents=True)
    (folder / "a/b/one.txt").write_text("1")
    (folder / "a/b/two.md").write_text("2")
    (folder / "a/b/c/three.txt").write_text("3")
    (folder / "run.sh").write_text("#!")
    (folder / "run.sh").chmod(0o640)
    (folder / "link").symlink_to("a/b/one.txt")
    return folder


MODES = {
    # mode of a file 0640 and of a folder 0750, changed
    "755": (0o755, 0o755),
    "4711": (0o4711, 0o4711),
    "+x": (0o751, 0o751),
    "u=rwX,go=rX": (0o644, 0o755),
    "a-st": (0o640, 0o750),
    "g=u,o=g": (0o666, 0o777),
    "u+s,g+s,+t": (0o7640, 0o7750),
    "=": (0o000, 0o000),
    "go-rwx": (0o600, 0o700),
    "a+rX,u-w": (0o444, 0o555),
}


@pytest.mark.parametrize("text", MODES)
def test_chmod(text: str) -> None:
    change = modes.change(text)
    assert (change(0o640, False), change(0o750, True)) == MODES[text]


def test_heredocs_and_files_at_once(builder: Builder, context: Path) -> None:
    image = builder.build(
        source(
            file("/etc/passwd", "web:x:33:34::/:\n"),
            step("copy", sources=[], target="/one", inline=[inline("x", "one")], chmod="u+x"),
            step(
                "copy", sources=["run.sh"], context=str(context), target="/etc/app/", chown="web", chmod="go+r",
                inline=[inline("greeting", "hello\n"), inline("empty", "")],
            ),
        )
    )  # fmt: skip
    assert builder.tree(image) == {
        "etc": "755 0:0",
        "etc/app": "755 33:34",
        "etc/app/empty": "644 33:34 ",
        "etc/app/greeting": "644 33:34 hello\n",
        "etc/app/run.sh": "644 33:34 #!",
        "etc/passwd": "644 0:0 web:x:33:34::/:\n",
        "one": "744 0:0 one",
    }


def test_parents_keep_what_stands_behind_the_pivot(builder: Builder, context: Path) -> None:
    image = builder.build(
        source(
            step("copy", sources=["a/b/*.txt"], target="/all", context=str(context), parents=True),
            step("copy", sources=["./a/./b/c", "run.sh"], target="/some/", context=str(context), parents=True),
            step("copy", sources=["**/*.txt"], target="/deep/", context=str(context), parents=True),
        )
    )
    assert [path for path in sorted(builder.tree(image)) if "." in path] == [
        "all/a/b/one.txt",
        "deep/a/b/c/three.txt",
        "deep/a/b/one.txt",
        "some/b/c/three.txt",
        "some/run.sh",
    ]


# --- archives ---------------------------------------------------------------------------------------------------------


def archive(**members: Any) -> bytes:
    """A tar: name → its text, or a TarInfo."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, what in members.items():
            if isinstance(what, tarfile.TarInfo):
                tar.addfile(what)
                continue
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.gid, info.mtime = len(what), 0o640, 5, 6, 1_000_000_000
            tar.addfile(info, io.BytesIO(what.encode()))
    return out.getvalue()


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname, info.mode, info.uid, info.mtime = kind, target, 0o711, 5, 1_000_000_000
    return info


COMPRESSIONS = {"tar": ["cat"], "gz": ["gzip", "-c"], "bz2": ["bzip2", "-c"], "xz": ["xz", "-c"], "zst": ["zstd", "-c"]}


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_archives_are_unpacked_whatever_their_name(kind: str, builder: Builder, context: Path) -> None:
    members = {
        "dir": special("dir", tarfile.DIRTYPE),
        "dir/file": "text",
        "hard": special("hard", tarfile.LNKTYPE, "dir/file"),
        "soft": special("soft", tarfile.SYMTYPE, "/etc/passwd"),
        "pipe": special("pipe", tarfile.FIFOTYPE),
    }
    packed = subprocess.run(COMPRESSIONS[kind], input=archive(**members), capture_output=True, check=True).stdout
    (context / "data").write_bytes(packed)
    image = builder.build(
        source(
            add(context, "data", "/in"),
            add(context, "data", "/owned/", chown="7:8"),
            add(context, "data", "run.sh", "/as-it-is/", unpack=False),
            step("copy", sources=["data"], target="/copied", context=str(context)),
        )
    )
    tree = builder.tree(image)
    for path in ("as-it-is/data", "copied"):
        assert tree.pop(path).startswith("644 0:0 ")
    assert tree == {
        "as-it-is": "755 0:0",
        "as-it-is/run.sh": "640 0:0 #!",
        "in": "755 0:0",
        "in/dir": "711 5:0",
        "in/dir/file": "640 5:6 text",
        "in/hard": "640 5:6 text",
        "in/pipe": "711 5:0",
        "in/soft": "-> /etc/passwd",
        "owned": "755 7:8",
        "owned/dir": "711 7:8",
        "owned/dir/file": "640 7:8 text",
        "owned/hard": "640 7:8 text",
        "owned/pipe": "711 7:8",
        "owned/soft": "-> /etc/passwd",
    }


def test_what_only_looks_like_an_archive_is_copied(builder: Builder, context: Path) -> None:
    (context / "text.tar").write_text("no archive " * 100)
    (context / "text.gz").write_bytes(subprocess.run(["gzip"], input=b"x", capture_output=True, check=True).stdout)
    image = builder.build(source(add(context, "text.tar", "text.gz", "/")))
    assert sorted(builder.tree(image)) == ["text.gz", "text.tar"]


HOSTILE: dict[str, dict[str, Any]] = {
    "its name leads out": {"../out": "x"},
    "an absolute name stays inside": {"/inside": "x"},
    "through a link of its own": {"link": special("link", tarfile.SYMTYPE, "/tmp"), "link/stackpy-out": "x"},
    "a hard link to the host": {"hard": special("hard", tarfile.LNKTYPE, "../../../etc/passwd")},
    "a hard link through a link": {
        "link": special("link", tarfile.SYMTYPE, "/etc"),
        "hard": special("hard", tarfile.LNKTYPE, "link/passwd"),
    },
    "a whiteout": {".wh.etc": ""},
    "a device that hides": {"etc": special("etc", tarfile.CHRTYPE)},
}


@pytest.mark.parametrize("name", HOSTILE)
def test_an_archive_writes_nowhere_but_into_the_image(name: str, builder: Builder, context: Path) -> None:
    (context / "data").write_bytes(archive(**HOSTILE[name]))
    assert not os.path.exists("/tmp/stackpy-out")
    try:
        image = builder.build(source(file("/etc/keep", "1"), add(context, "data", "/in/")))
    except InvalidConfig as error:
        assert error.message.startswith("`data` cannot be unpacked: ")
    else:
        tree = builder.tree(image)
        assert tree["etc/keep"] == "644 0:0 1"
        assert {"in/inside": "x", "tmp/stackpy-out": "x"}.items() & {(k, v.split()[-1]) for k, v in tree.items()}
    assert not os.path.exists("/tmp/stackpy-out")


# --- addresses --------------------------------------------------------------------------------------------------------


class Site:
    """A web server whose answers and log are the test's."""

    def __init__(self) -> None:
        self.content, self.headers, self.log = b"one", {"ETag": '"1"'}, []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked = self.headers.get("If-None-Match", "") or self.headers.get("If-Modified-Since", "")
                known = asked and asked in site.headers.values()
                status = 404 if self.path.endswith("missing") else 304 if known else 200
                site.log.append(status)
                self.send_response(status)
                for name, value in site.headers.items():
                    self.send_header(name, value)
                body = site.content if status == 200 else b""
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/files/app%201.bin?x=1"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    log: list[int]


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def of_url(site: Site, target: str = "/dir/", **fields: Any) -> Any:
    return source(step("add", sources=[], urls=[site.url], target=target, **fields))


def test_a_url_is_asked_and_downloaded_when_it_changed(builder: Builder, site: Site) -> None:
    site.headers = {"Last-Modified": "Sun, 09 Sep 2001 01:46:40 GMT"}
    image = builder.build(of_url(site))
    assert builder.tree(image) == {"dir": "755 0:0", "dir/app 1.bin": "600 0:0 one"}
    (folder,) = builder.folders(image)
    assert os.stat(f"{folder}/dir/app 1.bin").st_mtime == 1_000_000_000
    assert site.log == [200]
    builder.build(of_url(site))
    assert (builder.ran, site.log) == ([], [200, 304])
    site.content, site.headers = b"two", {"Last-Modified": "Mon, 10 Sep 2001 01:46:40 GMT"}
    changed = builder.build(of_url(site, chmod="755"))
    assert builder.tree(changed) == {"dir": "755 0:0", "dir/app 1.bin": "755 0:0 two"}
    # Without tags and dates the content alone says whether it changed.
    site.headers = {"Content-Disposition": 'attachment; filename="../named.bin"'}
    assert sorted(builder.tree(builder.build(of_url(site)))) == ["dir", "dir/named.bin"]
    builder.build(of_url(site))
    assert builder.ran == []


def test_a_url_that_changes_between_plan_and_build_is_refused(builder: Builder, site: Site) -> None:
    resolved = builder.resolve(of_url(site))
    folder = f"{builder.store.root.path}/cache/stat"
    for name in os.listdir(folder):
        os.unlink(f"{folder}/{name}")
    site.content = b"two"
    with pytest.raises(Conflict) as refused:
        builder.build(of_url(site), resolved)
    assert "has the checksum sha256:" in refused.value.message


def test_a_plan_makes_no_engine_root(site: Site, tmp_path: Path) -> None:
    store = Store(str(tmp_path / "none"))
    inputs = recipe.resolve(of_url(site), store)["steps"][1]["inputs"]
    assert inputs[f"url {site.url}"] == f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    assert os.listdir(tmp_path) == []


def test_a_checksum_needs_no_network_until_it_is_built(builder: Builder, site: Site) -> None:
    right = f"sha256:{hashlib.sha256(b'one').hexdigest()}"
    builder.resolve(of_url(site, checksum=right))
    assert site.log == []
    assert builder.tree(builder.build(of_url(site, "/app", checksum=right))) == {"app": "600 0:0 one"}
    builder.build(of_url(site, "/app", checksum=right))
    assert site.log == [200]
    wrong = f"sha512:{hashlib.sha512(b'two').hexdigest()}"
    with pytest.raises(Conflict) as refused:
        builder.build(of_url(site, checksum=wrong))
    assert wrong in refused.value.message


def test_a_url_that_is_an_archive_is_unpacked_when_asked(builder: Builder, site: Site) -> None:
    site.content = archive(inside="text")
    assert sorted(builder.tree(builder.build(of_url(site)))) == ["dir", "dir/app 1.bin"]
    assert sorted(builder.tree(builder.build(of_url(site, unpack=True)))) == ["dir", "dir/inside"]


def test_a_url_that_gives_nothing(builder: Builder, site: Site) -> None:
    site.url = f"http://127.0.0.1:{site.server.server_port}/missing"
    with pytest.raises(InvalidConfig) as refused:
        builder.resolve(of_url(site))
    assert f"cannot get `{site.url}`: the server answered 404" in refused.value.message


# --- repositories -----------------------------------------------------------------------------------------------------


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    (folder / "docs").mkdir(parents=True)
    (folder / "docs/page").write_text("1")
    (folder / "run").write_text("#!")
    (folder / "run").chmod(0o755)
    for command in ("init -q -b main", "add .", "commit -q -m one", "tag -a v1 -m v1"):
        git(folder, *command.split())
    (folder / "docs/page").write_text("2")
    git(folder, "commit", "-qam", "two")
    return folder


def of_git(address: str, **fields: Any) -> Any:
    return source(step("add", sources=[], git=[address], target="/src", **fields))


def test_repositories(builder: Builder, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from stackpy_runtime.build import repositories

    # What ADD takes for a repository is an address of the web; here it is a folder.
    def at_folder(address: str) -> tuple[str, str, str]:
        _, _, fragment = address.partition("#")
        ref, _, folder = fragment.partition(":")
        return f"file://{repository}", ref, folder

    monkeypatch.setattr(repositories, "_repository", at_folder)
    address = "https://example.com/repository.git"
    assert builder.tree(builder.build(of_git(address))) == {
        "src": "755 0:0",
        "src/docs": "755 0:0",
        "src/docs/page": "644 0:0 2",
        "src/run": "755 0:0 #!",
    }
    assert builder.tree(builder.build(of_git(f"{address}#v1:docs"))) == {"src": "755 0:0", "src/page": "644 0:0 1"}
    first = git(repository, "rev-parse", "v1^{commit}")
    assert builder.resolve(of_git(f"{address}#v1"))["steps"][1]["inputs"][f"git {address}#v1"] == f"{first}:"
    kept = builder.tree(builder.build(of_git(f"{address}#{first}", keep_git_dir=True)))
    assert kept["src/docs/page"] == "644 0:0 1" and "src/.git/HEAD" in kept
    builder.build(of_git(address))
    assert builder.ran == []
    (repository / "docs/page").write_text("3")
    git(repository, "commit", "-qam", "three")
    assert builder.tree(builder.build(of_git(address, checksum=git(repository, "rev-parse", "HEAD"))))[
        "src/docs/page"
    ].endswith("3")
    for wrong, message in (
        (of_git(f"{address}#none"), "there is no `none` in"),
        (of_git(f"{address}#v1", checksum="0" * 40), f"`v1` of `file://{repository}` is {first}"),
    ):
        with pytest.raises(InvalidConfig) as refused:
            builder.resolve(wrong)
        assert message in refused.value.message
    with pytest.raises((NotFound, EngineError)) as outside:
        builder.build(of_git(f"{address}#main:../.."))
    assert "there is no folder `../..`" in outside.value.message


def test_submodules_and_times_of_a_repository(
    builder: Builder, repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stackpy_runtime.build import repositories

    inner = tmp_path / "served" / "inner"
    inner.mkdir(parents=True)
    (inner / "part").write_text("inner")
    commit(inner)
    with daemon(tmp_path / "served") as served:
        git(repository, "submodule", "--quiet", "add", f"{served}/inner", "sub")
        git(repository, "commit", "-qm", "with it", "--date=@1000000000 +0000")
        committed = int(git(repository, "log", "-1", "--format=%ct"))
        monkeypatch.setattr(repositories, "_repository", lambda address: (f"file://{repository}", "main", ""))
        address = "https://example.com/repository.git"
        assert builder.tree(builder.build(of_git(address)))["src/sub/part"] == "644 0:0 inner"
        # Another ID, and another tree.
        without = builder.build(of_git(address, submodules=False))
        assert "src/sub/part" not in builder.tree(without)
        timed = builder.build(of_git(address, submodules=False, commit_times=True))
    (layer,) = builder.folders(timed)
    assert {int(path.lstat().st_mtime) for path in Path(layer, "src").rglob("*")} == {committed}
