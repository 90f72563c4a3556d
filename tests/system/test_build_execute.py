"""Building: layers, cache, failures, what happens at the same time, and what is left after a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import threading
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build.runner import Output, StepRun
from stackpy_runtime.errors import Conflict, InvalidConfig, ProcessFailed
from stackpy_runtime.store import layers
from tests.build_lab import Builder, chroot, copy, file, run, source, step

pytestmark = pytest.mark.root

HOST: Any = {"kind": "host", "programs": ["sh", "cat", "ls", "touch", "mkdir", "rm", "env", "sleep", "id"]}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src" / "pkg").mkdir(parents=True)
    (folder / "src" / "app.py").write_text("app")
    (folder / "src" / "pkg" / "one.py").write_text("one")
    (folder / "src" / "link").symlink_to("../outside")
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    return folder


def test_an_image_of_every_kind_of_step(builder: Builder, context: Path) -> None:
    image = source(
        step("workdir", target="/app"),
        copy(context, "src/", "run.sh", "./"),
        file("etc/app.toml", "x = 1", mode=0o640, chown="nobody"),
        step("env", values={"MODE": "prod"}),
        step("user", value="nobody"),
        run('echo "$MODE $PWD $PATH"; env > /tmp/env; rm /app/app.py; echo done'),
        step("label", values={"a": "b"}),
        step("expose", ports=["80"]),
        step("entrypoint", argv=["sh"]),
        step("cmd", argv=["-c", "ls"]),
        base=HOST,
    )
    built = builder.build(image, key="shop/image.app", tags=["app", "app:1"], labels={"stackpy.stack": "shop"})
    resolved = builder.resolve(image)
    assert {key: built[key] for key in ("id", "references", "recipe", "architecture", "config")} == {  # type: ignore[literal-required]
        "id": f"sha256:{resolved['id']}",
        "references": ["app:latest", "app:1"],
        "recipe": resolved["id"],
        "architecture": {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine],
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "MODE=prod"],
            "WorkingDir": "/app",
            "User": "nobody",
            "Labels": {"a": "b", "stackpy.stack": "shop"},
            "ExposedPorts": {"80/tcp": {}},
            "Entrypoint": ["sh"],
            "Cmd": ["-c", "ls"],
        },
    }
    assert [entry["empty_layer"] for entry in built["history"]] == [False] * 4 + [True, True, False] + [True] * 4
    assert len(built["layers"]) == 5
    tree = builder.tree(built)
    assert {path: tree[path] for path in tree if path.startswith("app") or path == "tmp/env"} == {
        "app": "755 0:0",
        "app/pkg": "755 0:0",
        "app/pkg/one.py": "644 0:0 one",
        "app/link": "-> ../outside",
        "app/run.sh": "755 0:0 #!/bin/sh\n",
        "app/etc": "755 65534:65534",
        "app/etc/app.toml": "640 65534:65534 x = 1",
        "tmp/env": tree["tmp/env"],
    }
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert "".join(builder.output) == f"prod /app {path}\ndone\n"
    assert (builder.runs[0].user, builder.runs[0].network, builder.runs[0].working_dir) == ("nobody", "default", "/app")
    stored = builder.store.image("app:1")
    assert {**stored, "references": sorted(stored["references"])} == {**built, "references": ["app:1", "app:latest"]}
    assert builder.store.recipe("shop/image.app") == resolved
    assert builder.store.steps_present(each["id"] for each in resolved["steps"]) == {s["id"] for s in resolved["steps"]}


def test_only_what_changed_is_built(builder: Builder, context: Path) -> None:
    def image(label: str, script: str) -> Any:
        return source(
            step("label", values={"l": label}), run("echo 1"), copy(context, "src/", "/s/"), run(script), base=HOST
        )

    builder.build(image("a", "echo 2"))
    assert [text.split()[0] for text in builder.ran] == ["FROM", "LABEL", "RUN", "COPY", "RUN"]
    builder.build(image("a", "echo 2"))
    assert builder.ran == []
    builder.build(image("b", "echo 2"))
    assert [text.split()[0] for text in builder.ran] == ["LABEL"]
    builder.build(image("b", "echo 3"))
    assert [text.split()[0] for text in builder.ran] == ["RUN"]
    (context / "src" / "app.py").write_text("changed")
    built = builder.build(image("b", "echo 3"))
    assert [text.split()[0] for text in builder.ran] == ["COPY", "RUN"]
    assert [event["step"] for event in builder.events if event["kind"] == "step"] == [1, 2, 3, 4, 5]
    assert builder.tree(built)["s/app.py"] == "644 0:0 changed"


def test_bases(builder: Builder, tmp_path: Path) -> None:
    first = builder.build(
        source(step("workdir", target="/srv"), step("label", values={"a": "1"}), base=HOST), tags=["base"]
    )
    first["config"]["Labels"] = {"a": "1", "stackpy.stack": "evil"}
    first["config"]["Env"] = [*first["config"]["Env"], "SECRET"]
    builder.store.put_image(first)
    over = builder.build(source(file("x", "1"), base={"kind": "image", "reference": "base"}))
    assert over["layers"][:-1] == first["layers"]
    assert over["config"] == {"Env": first["config"]["Env"][:-1], "WorkingDir": "/srv", "Labels": {"a": "1"}}
    assert builder.tree(over)["srv/x"] == "644 0:0 1"

    archive = tmp_path / "image.tar"
    docker_save(archive, {"hello": "from the archive"})
    loaded = source(file("/more", "x"), base={"kind": "archive", "path": str(archive)})
    image = builder.build(loaded)
    assert builder.tree(image) == {"hello": "644 0:0 from the archive", "more": "644 0:0 x"}
    builder.build(source(file("/other", "x"), base={"kind": "archive", "path": str(archive)}))
    assert [text.split()[0] for text in builder.ran] == ["FILE"]
    docker_save(archive, {"hello": "another"})
    assert builder.tree(builder.build(loaded))["hello"] == "644 0:0 another"


def docker_save(path: Path, files: dict[str, str]) -> None:
    """An archive as `docker save` writes it."""
    import hashlib
    import io

    def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
        entry = tarfile.TarInfo(name)
        entry.size, entry.mode = len(content), 0o644
        archive.addfile(entry, io.BytesIO(content))

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for name, content in files.items():
            add(archive, name, content.encode())
    digest = hashlib.sha256(layer.getvalue()).hexdigest()
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
            "history": [{"created_by": "test"}],
        }
    ).encode()
    name = hashlib.sha256(config).hexdigest()
    with tarfile.open(path, "w") as archive:
        add(archive, f"{name}.json", config)
        add(archive, f"{digest}/layer.tar", layer.getvalue())
        manifest = [{"Config": f"{name}.json", "RepoTags": ["x:1"], "Layers": [f"{digest}/layer.tar"]}]
        add(archive, "manifest.json", json.dumps(manifest).encode())


def test_a_failing_step_says_all(builder: Builder) -> None:
    script = "i=0; while [ $i -lt 100 ]; do echo line $i; i=$((i+1)); done; exit 3"
    image = source(run("echo first", 7), run(script, 8), run("echo never", 9), base=HOST)
    with pytest.raises(ProcessFailed) as caught:
        builder.build(image)
    error = caught.value
    assert (error.exit_code, error.message) == (3, "it exited with 3")
    assert error.subject == f"step 3/4 {image['steps'][1]['text']} (stack.py:8)"
    assert error.output.splitlines() == [f"line {number}" for number in range(60, 100)]
    assert builder.store.images() == []
    image["steps"][1] = run("echo mended", 8)
    builder.build(image)
    assert builder.ran == [image["steps"][1]["text"], image["steps"][2]["text"]]


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([run("exit 127")], "it exited with 127"),
        ([run("kill -9 $$")], "it was killed by signal 9"),
        ([file("/bin/sh/x", "")], "`/bin/sh` cannot be used in the image: it is no folder"),
        ([file("/bin", "")], "a folder in the image"),
        ([file("/x", "", chown="ghost")], "no user `ghost`"),
        ([step("workdir", target="/bin/sh")], "`/bin/sh` cannot be used in the image: it is no folder"),
    ],
)
def test_steps_that_cannot_be_done(builder: Builder, steps: list[Any], message: str) -> None:
    with pytest.raises((ProcessFailed, InvalidConfig)) as caught:
        builder.build(source(*steps, base=HOST))
    assert message in caught.value.message
    assert caught.value.subject.startswith("step 2/2 ")


def test_nothing_can_run_in_an_empty_image(builder: Builder) -> None:
    with pytest.raises(InvalidConfig, match="nothing to run in an empty image"):
        builder.build(source(run("true")))


def test_a_source_that_changed_since_it_was_planned_is_refused(builder: Builder, context: Path) -> None:
    image = source(copy(context, "src/", "/s/"))
    for change in (
        lambda: (context / "src" / "app.py").write_text("changed"),
        lambda: (context / "src" / "new.py").write_text(""),
        lambda: (context / "src" / "new.py").chmod(0o600),
        lambda: (context / "src" / "new.py").unlink(),
    ):
        resolved = builder.resolve(image)
        change()
        with pytest.raises(Conflict, match=r"`src/(app|new)\.py` changed while it was copied"):
            builder.build(image, resolved)
    builder.build(image)


def test_caches_outlive_steps_and_enter_no_layer(builder: Builder) -> None:
    first = builder.build(source(run("echo kept > /var/cache/x/file", cache=["/var/cache/x"]), base=HOST))
    builder.build(source(run("cat /var/cache/x/file", cache=["/var/cache/x/"]), base=HOST))
    builder.build(source(run("ls /var/cache/y", cache=["/var/cache/y"]), base=HOST))
    assert "var/cache/x/file" not in builder.tree(first)
    targets = [[mount["target"] for mount in step_run.mounts] for step_run in builder.runs]
    assert targets == [["/var/cache/x"], ["/var/cache/x"], ["/var/cache/y"]]
    assert builder.runs[0].mounts == builder.runs[1].mounts


def test_a_working_directory_that_the_base_promises_is_there(builder: Builder) -> None:
    first = builder.build(source(base=HOST), tags=["base"])
    builder.store.put_image({**first, "config": {**first["config"], "WorkingDir": "/not/there"}})
    builder.build(source(run("echo $PWD"), base={"kind": "image", "reference": "base"}))
    assert builder.output == ["/not/there\n"]


def test_the_same_step_is_run_once_by_two_builds(tmp_path: Path) -> None:
    """Four builds that share a step and differ in the next, in threads with stores of their own."""
    root = tmp_path / "root"
    counted: list[str] = []
    waited: list[str] = []

    def counting(step_run: StepRun, output: Output) -> int:
        counted.append(step_run.argv[-1])
        return chroot(step_run, output)

    def work(number: int) -> None:
        builder = Builder(root)
        builder.build(source(run("sleep 0.3"), run(f"echo {number}"), base=HOST), runner=counting)
        waited.extend(event["text"] for event in builder.events if event["kind"] == "state")
        builder.store.close()

    Builder(root).store.close()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(counted) == ["echo 0", "echo 1", "echo 2", "echo 3", "sleep 0.3"]
    assert waited
    assert os.listdir(root / "staging") == []


def test_an_unfinished_layer_of_another_boot_is_made_again(builder: Builder) -> None:
    """Power failed after the layer was renamed and before it was synced: its files may be empty."""
    image = source(file("/x", "whole"), file("/y", "too"))
    resolved = builder.resolve(image)
    layer = resolved["steps"][1]["id"]
    staged = layers.stage(builder.store.root)
    Path(staged, "upper", "x").write_text("")
    layers.commit(builder.store.root, staged, layer)
    builder.store.put_step(layer, layer, {"boot": "another"})
    built = builder.build(image)
    assert builder.tree(built) == {"x": "644 0:0 whole", "y": "644 0:0 too"}
    assert [builder.store.step(each["id"])["config"] for each in resolved["steps"][1:]] == [{}, {}]  # type: ignore[index]


def test_an_image_without_its_steps_or_layers_is_mended(builder: Builder) -> None:
    image = source(step("workdir", target="/"), file("/x", "1"), step("cmd", argv=["x"]), base=HOST)
    built = builder.build(image)
    ids = [each["id"] for each in builder.resolve(image)["steps"]]
    builder.store.delete_steps(ids)
    assert builder.build(image) == built
    assert builder.ran == []
    assert builder.store.steps_present(ids) == set(ids)
    os.rename(builder.folders(built)[-1], builder.folders(built)[-1] + "-gone")
    again = builder.build(image)
    assert [text.split()[0] for text in builder.ran] == ["FILE"]
    assert builder.tree(again)["x"] == "644 0:0 1"


def test_a_layer_that_an_image_has_is_never_made_again(builder: Builder) -> None:
    """The cache was cleared; containers may be running on the image's layers."""
    first = builder.build(source(run("echo 1 > /x"), base=HOST))
    places = [os.stat(folder).st_ino for folder in builder.folders(first)]
    builder.store.delete_steps(first["layers"])
    second = builder.build(source(run("echo 1 > /x"), file("/y", "1"), base=HOST))
    assert builder.ran == [source(file("/y", "1"))["steps"][0]["text"]]
    assert [os.stat(folder).st_ino for folder in builder.folders(second)[:-1]] == places


def test_tags_and_labels_are_added_to_an_image_that_is_there(builder: Builder) -> None:
    image = source(file("/x", "1"))
    first = builder.build(image, tags=["one"], labels={"stackpy.stack": "a"})
    second = builder.build(image, key="b/image.x", tags=["two"], labels={"stackpy.resource": "image.x"})
    assert first["id"] == second["id"]
    stored = builder.store.image("one")
    assert (sorted(stored["references"]), stored["config"]["Labels"]) == (
        ["one:latest", "two:latest"],
        {"stackpy.stack": "a", "stackpy.resource": "image.x"},
    )
    assert builder.store.recipe("b/image.x") == builder.resolve(image)


def test_killed_at_any_moment_the_next_build_finishes(tmp_path: Path, context: Path) -> None:
    """A build in a process of its own, killed after 0, 10, 20 … ms; what it left behind never shows."""
    script = (
        "import sys; from pathlib import Path; from tests.build_lab import *; from tests.system.test_build_execute "
        "import HOST; b = Builder(Path(sys.argv[1])); c = Path(sys.argv[2]); "
        "b.build(source(copy(c, 'src/', '/s/'), run('echo x > /x'), file('/y', 'y'), base=HOST))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    expected = None
    for delay in range(0, 400, 50):
        root = tmp_path / f"root{delay}"
        with subprocess.Popen([sys.executable, "-c", script, root, context], env=environment) as process:
            try:
                process.wait(0.15 + delay / 1000)
            except subprocess.TimeoutExpired:
                process.kill()
        builder = Builder(root)
        image = source(copy(context, "src/", "/s/"), run("echo x > /x"), file("/y", "y"), base=HOST)
        tree = builder.tree(builder.build(image))
        expected = expected or tree
        assert {path: tree[path] for path in ("s/app.py", "x", "y")} == {
            "s/app.py": "644 0:0 app",
            "x": "644 0:0 x\n",
            "y": "644 0:0 y",
        }
        assert tree.keys() == expected.keys()
        builder.store.close()


def test_nothing_to_do_is_quick(builder: Builder) -> None:
    import time

    image = source(*(file(f"/{number}", "x") for number in range(9)))
    resolved = builder.resolve(image)
    builder.build(image, resolved, key="k", tags=["t"])
    times = []
    for _ in range(20):
        started = time.perf_counter()
        builder.build(image, resolved, key="k", tags=["t"])
        times.append(time.perf_counter() - started)
    assert min(times) < 0.02, times


def test_a_build_with_nothing_to_do_loads_nothing_that_makes_steps(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV A=b\nCOPY a /\n")
    (tmp_path / "a").write_text("a")
    program = (
        "import sys; from stackpy.cli.main import run; from stackpy.cli.context import Context; "
        "from stackpy.cli.options import Globals; "
        f"run(['build', '-q', '-t', 'a', {str(tmp_path)!r}], Context(Globals())); print(*sys.modules)"
    )
    for _ in range(2):
        environment = {**os.environ, "STACKPY_ROOT": str(tmp_path / "root")}
        told = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
    loaded = set(told.stdout.splitlines()[-1].split())
    assert {"stackpy_runtime.build.execute", "stackpy_runtime.dockerfile.compiling"} <= loaded
    dear = {"ctypes", "hashlib", "threading", "typing", "stackpy_runtime.build.work", "stackpy_runtime.store.pruning"}
    assert dear & loaded == set()
