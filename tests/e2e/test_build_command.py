"""`stackpy build` on Dockerfiles: folders, archives, repositories, standard input."""

from __future__ import annotations

import http.server
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.root

DOCKERFILE = """\
FROM box
WORKDIR /app
ARG WHO=nobody
ENV GREETING="hello $WHO"
COPY . .
EXPOSE 80
CMD ["sh", "-c", "echo $GREETING; ls"]
"""


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)
    return folder


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


def test_a_folder(box: Any, tmp_path: Path) -> None:
    app = write(tmp_path / "app", Dockerfile=DOCKERFILE, a="a", b="b", __dockerignore="b\nDockerfile\n.dockerignore\n")
    made = box("build", "-t", "first:1", "--build-arg", "WHO=you", "--label", "x=y", "app", cwd=tmp_path)
    assert "step 4/7 COPY . ." in made.stderr
    assert made.stdout == ""
    assert box("run", "--rm", "first:1").stdout == "hello you\na\n"
    (document,) = box.json("image", "inspect", "first:1")
    assert (document["Config"]["Labels"], document["Config"]["WorkingDir"]) == ({"x": "y"}, "/app")
    assert list(document["Config"]["ExposedPorts"]) == ["80/tcp"]
    again = box("build", "-t", "first:2", "--build-arg", "WHO=you", "--label", "x=y", ".", cwd=app)
    assert all("(cached)" in line for line in again.stderr.splitlines() if ": step " in line)
    silent = box("build", "-q", "--iidfile", "id", "--build-arg", "WHO=you", "--label=x=y", ".", cwd=app)
    assert (silent.stdout, silent.stderr) == (f"{document['Id']}\n", "")
    assert (app / "id").read_text() == document["Id"]


def test_another_file_with_its_own_ignore_file(box: Any, tmp_path: Path) -> None:
    write(tmp_path, a="", b="", __dockerignore="*\n", other="FROM box\nCOPY a b /x/\n", other__dockerignore="b\n")
    failed = box("build", "-f", "other", ".", cwd=tmp_path, code=1)
    assert "`b` is excluded" in failed.stderr
    write(tmp_path, other__dockerignore="\n")
    box("build", "-f", "other", "-t", "own:1", ".", cwd=tmp_path)
    assert box("run", "--rm", "own:1", "ls", "/x").stdout == "a\nb\n"


def test_standard_input(box: Any, tmp_path: Path) -> None:
    box("build", "-t", "alone:1", "-", given='FROM box\nCMD ["sh", "-c", "echo alone"]\n', cwd=tmp_path)
    assert box("run", "--rm", "alone:1").stdout == "alone\n"
    write(tmp_path / "context", file="inside\n")
    box("build", "-t", "both:1", "-f", "-", "context", given="FROM box\nCOPY file /f\n", cwd=tmp_path)
    assert box("run", "--rm", "both:1", "cat", "/f").stdout == "inside\n"
    wrong = box("build", "-f", "-", "-", given="FROM box\n", cwd=tmp_path, code=64)
    assert "cannot be both" in wrong.stderr


def test_archives_and_repositories(box: Any, tmp_path: Path) -> None:
    source = write(tmp_path / "source", Dockerfile="FROM box\nCOPY file /f\n", file="packed\n")
    subprocess.run(["tar", "-czf", tmp_path / "context.tgz", "-C", source, "."], check=True)
    with served(tmp_path) as address:
        box("build", "-t", "packed:1", f"{address}/context.tgz")
        assert box("run", "--rm", "packed:1", "cat", "/f").stdout == "packed\n"
        write(tmp_path, plain='FROM box\nCMD ["sh", "-c", "echo plain"]\n')
        box("build", "-t", "plain:1", f"{address}/plain")
        assert box("run", "--rm", "plain:1").stdout == "plain\n"
        missing = box("build", f"{address}/nothing", code=1)
        assert "file not found" in missing.stderr
        repository = tmp_path / "repository"
        write(repository / "sub", Dockerfile="FROM box\nCOPY . /x\n", file="in git\n")
        git = ["git", "-C", str(repository), "-c", "user.name=a", "-c", "user.email=a@b"]
        subprocess.run(["git", "init", "-q", "-b", "main", str(repository)], check=True)
        subprocess.run([*git, "add", "."], check=True)
        subprocess.run([*git, "commit", "-q", "-m", "one"], check=True)
        subprocess.run(["git", "clone", "-q", "--bare", str(repository), str(tmp_path / "bare.git")], check=True)
        subprocess.run(["git", "-C", str(tmp_path / "bare.git"), "update-server-info"], check=True)
        box("build", "-t", "git:1", f"{address}/bare.git#main:sub")
        assert box("run", "--rm", "git:1", "ls", "/x").stdout == "Dockerfile\nfile\n"
        nowhere = box("build", f"{address}/bare.git#main:nowhere", code=1)
        assert "no folder `nowhere`" in nowhere.stderr


def test_mistakes_are_shown_all_at_once(box: Any, tmp_path: Path) -> None:
    write(tmp_path, Dockerfile="FROM box\nRUNN x\nCOPY --form=a b c\n")
    shown = """\
error: unknown instruction `RUNN`
 --> Dockerfile:2
  |
2 | RUNN x
hint: did you mean `RUN`?

error: unknown flag `--form`
 --> Dockerfile:3
  |
3 | COPY --form=a b c
hint: did you mean `--from`?

2 problems; nothing was touched
"""
    for words in (["build", "."], ["build", "--check", "."], ["build", "-q", "-t", "x", "."]):
        assert box(*words, cwd=tmp_path, code=1).stderr == shown
    (tmp_path / "stack.py").write_text("from stackpy import *\nContainer('a', image=Image.dockerfile())\n")
    assert box("plan", cwd=tmp_path, code=1).stderr == shown


def test_checks(box: Any, tmp_path: Path) -> None:
    write(tmp_path, Dockerfile="FROM box as Out\nCMD echo $X\n")
    found = box("build", "--check", ".", cwd=tmp_path)
    assert found.stdout.splitlines()[:3] == [
        "warning: Dockerfile:1: StageNameCasing: stage name `Out` should be lowercase",
        "    1 | FROM box as Out",
        "      = https://docs.docker.com/go/dockerfile/rule/stage-name-casing/",
    ]
    assert found.stderr == "3 warnings\n"
    documents = json.loads(box("build", "--check", "--format", "json", ".", cwd=tmp_path).stdout)
    assert [(each["rule"], each["line"]) for each in documents] == [
        ("StageNameCasing", 1),
        ("FromAsCasing", 1),
        ("JSONArgsRecommended", 2),
    ]
    built = box("build", "--build-arg", "NOBODY=1", ".", cwd=tmp_path)
    assert "warning: no ARG takes the build argument `NOBODY`" in built.stderr
    assert "warning: Dockerfile:1: FromAsCasing: the casing of `as` and `FROM` does not match" in built.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--secret", "id=a,src=nothing", "."], "error: secret `a`: cannot read `nothing`"),
        (["--secret", "src=a", "."], "error: `--secret src=a`: it has no id"),
        (["--ssh", "default=/nothing", "."], "error: `--ssh default=/nothing`: cannot read `/nothing`"),
        (["--allow", "everything", "."], "error: `--allow everything`: expected security.insecure or network.host"),
        (["--build-context", "a=/nothing", "."], "error: the context `a` is no folder: `/nothing`"),
        (["-t", "Upper", "."], 'error: `--tag Upper`: must be an image\'s name such as "postgres:16", not "Upper"'),
        (["--target", "x"], "error: `--target` is for a Dockerfile, and no folder is named"),
        (["--target", "x", "nowhere"], "error: `--target` is for a Dockerfile, and `nowhere` is no folder"),
        (["--target", "x", "."], "error: Dockerfile: there is no stage `x` to build"),
        (["./nowhere"], "error: the context `./nowhere` is not there"),
        (["-f", "Dockerfil", "."], "error: the Dockerfile `Dockerfil` cannot be read: no such file or directory"),
    ],
)
def test_what_cannot_be_done(box: Any, tmp_path: Path, words: list[str], message: str) -> None:
    write(tmp_path, Dockerfile="FROM box\n")
    failed = box("build", *words, cwd=tmp_path, code=None)
    assert failed.returncode in (1, 64)
    assert failed.stderr.splitlines()[0].startswith(message)


def test_a_stack_on_a_dockerfile(box: Any, tmp_path: Path) -> None:
    write(tmp_path / "web", Dockerfile=DOCKERFILE, page="one", __dockerignore="*file\n")
    (tmp_path / "stack.py").write_text(
        "from stackpy import Container, Image, Stack\nStack('docked')\n"
        "image = Image.dockerfile('web', args={'WHO': 'stack'}).env(MORE='1')\n"
        "Container('web', image=image, command=['sleep', '1000'])\n"
    )
    box("apply", "--yes", cwd=tmp_path)
    try:
        assert (
            box("exec", "web", "sh", "-c", "echo $GREETING $MORE; cat page", cwd=tmp_path).stdout
            == "hello stack 1\none"
        )
        assert "nothing to change" in box("plan", cwd=tmp_path).stdout
        write(tmp_path / "web", page="two")
        assert "page differs" in box("plan", cwd=tmp_path).stdout
        write(tmp_path / "web", Dockerfile=DOCKERFILE + "LABEL a=b\n", page="one")
        assert "step 7/8 LABEL a=b" in box("plan", cwd=tmp_path).stdout
    finally:
        box("destroy", "--yes", cwd=tmp_path)


def test_names_of_the_stack_come_first(box: Any, tmp_path: Path) -> None:
    write(tmp_path / "web", Dockerfile="FROM box\nLABEL from=folder\n")
    (tmp_path / "stack.py").write_text(
        "from stackpy import Container, Image, Stack\nStack('named')\n"
        "Container('web', image=Image('box').label(kind='stack'))\n"
    )
    assert "image.web" in box("build", "web", cwd=tmp_path).stderr
    box("build", "-t", "folder:1", "./web", cwd=tmp_path)
    (document,) = box.json("image", "inspect", "folder:1")
    assert document["Config"]["Labels"] == {"from": "folder"}


def test_triggers_of_a_base_run_for_images_of_a_stack(box: Any, tmp_path: Path) -> None:
    write(tmp_path / "base", Dockerfile="FROM box\nONBUILD COPY given /given\nONBUILD RUN cat /given >/ran\n")
    box("build", "-t", "triggers:1", "base", cwd=tmp_path)
    stack = 'from stackpy import Image, Stack\nStack("triggered")\n'
    stack += 'Image("triggers:1").run("cat /ran >/after").tag("triggered:1")\n'
    write(tmp_path / "stack", stack__py=stack, given="of the stack\n")
    box("build", cwd=tmp_path / "stack")
    assert box("run", "--rm", "triggered:1", "cat", "/given", "/after").stdout == "of the stack\n" * 2
    assert "Done: " not in box("build", cwd=tmp_path / "stack").stderr
    (tmp_path / "stack/given").write_text("changed\n")
    planned = box("plan", cwd=tmp_path / "stack").stdout
    assert "COPY given /given" in planned
    # They are no triggers of what is built.
    (document,) = box.json("image", "inspect", "triggered:1")
    assert not document["Config"].get("OnBuild")


def test_what_cannot_run_here_is_said_by_the_plan(box: Any, tmp_path: Path) -> None:
    """s390x: no machine that tests run on is one, or has an emulator for it."""
    write(
        tmp_path, Dockerfile="FROM --platform=linux/s390x scratch AS s390x\nCOPY Dockerfile /x\nFROM s390x\nRUN make\n"
    )
    failed = box("build", ".", cwd=tmp_path, code=1)
    assert "it runs programs for linux/s390x, and this machine (linux/" in failed.stderr
    assert ": step" not in failed.stderr
    box("build", "-t", "for-s390x:1", "--target", "s390x", ".", cwd=tmp_path)
    (document,) = box.json("image", "inspect", "for-s390x:1")
    assert document["Architecture"] == "s390x"
    checked = box("build", "--check", "-", given="FROM for-s390x:1\n", cwd=tmp_path)
    assert "InvalidBaseImagePlatform: the base image for-s390x:1 is for `linux/s390x`" in checked.stdout
    stack = 'from stackpy import Container, Image, Stack\nStack("foreign")\n'
    stack += 'Container("web", image=Image("for-s390x:1", platform="linux/s390x"), command=["x"])\n'
    write(tmp_path, stack__py=stack)
    planned = box("plan", cwd=tmp_path, code=1)
    assert "`container.web` cannot run here: its image is for linux/s390x" in planned.stderr
    assert "stack.py:3" in planned.stderr
