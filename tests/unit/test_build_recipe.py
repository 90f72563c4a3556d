"""Recipes: what changes which step's ID, and what is wrong with a source."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import context as context_module
from stackpy_runtime.build import recipe
from stackpy_runtime.build.stat_cache import StatCache
from stackpy_runtime.errors import InvalidConfig, NotFound
from stackpy_runtime.store.store import Store
from tests.build_lab import copy, file, run, source, step


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store(str(tmp_path / "root"), create=True)
    yield opened
    opened.close()


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    (folder / "src" / "pkg").mkdir(parents=True)
    (folder / "src" / "app.py").write_text("app")
    (folder / "src" / "pkg" / "one.py").write_text("one")
    (folder / "requirements.txt").write_text("flask")
    return folder


def steps_of(context: Path) -> list[Any]:
    return [
        step("label", values={"a": "1"}),
        step("env", values={"MODE": "dev"}),
        run("build"),
        step("workdir", target="/app"),
        copy(context, "src/", "src/"),
        step("user", value="app"),
        run("test"),
        step("expose", ports=["80"]),
        file("/etc/app.toml", "x = 1"),
        step("cmd", argv=["serve"]),
    ]


CHANGES: dict[str, tuple[int, Any, list[int]]] = {
    # the step that is changed, to what, and the steps that get another ID by it; RUN, WORKDIR, COPY and FILE are
    # 3, 4, 5, 7 and 9 in the recipe, whose first step is the base
    "label": (0, step("label", values={"a": "2"}), [1, 2]),
    "env": (1, step("env", values={"MODE": "prod"}), [2, 3, 4, 5, 6, 7, 8, 9, 10]),
    "run": (2, run("build --fast"), [3, 4, 5, 6, 7, 8, 9, 10]),
    "cache of a run": (2, run("build", cache=["/c"]), [3, 4, 5, 6, 7, 8, 9, 10]),
    "network of a run": (2, run("build", network="none"), [3, 4, 5, 6, 7, 8, 9, 10]),
    "workdir": (3, step("workdir", target="/srv"), [4, 5, 6, 7, 8, 9, 10]),
    "user": (5, step("user", value="web"), [6, 7, 8, 9, 10]),
    "expose": (7, step("expose", ports=["81"]), [8]),
    "file": (8, file("/etc/app.toml", "x = 2"), [9, 10]),
    "mode of a file": (8, file("/etc/app.toml", "x = 1", mode=0o600), [9, 10]),
    "command": (9, step("cmd", argv=["run"]), [10]),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_reaches_what_depends_on_it(name: str, store: Store, context: Path) -> None:
    index, changed, expected = CHANGES[name]
    before = recipe.resolve(source(*steps_of(context)), store)
    steps = steps_of(context)
    steps[index] = changed
    after = recipe.resolve(source(*steps), store)
    pairs = zip(before["steps"], after["steps"], strict=True)
    assert [place for place, (old, new) in enumerate(pairs) if old["id"] != new["id"]] == expected
    assert before["id"] != after["id"]


FILE_CHANGES: dict[str, tuple[Any, bool]] = {
    "bytes": (lambda folder: (folder / "src/app.py").write_text("App"), True),
    "mode": (lambda folder: (folder / "src/app.py").chmod(0o755), True),
    "mode of a folder": (lambda folder: (folder / "src/pkg").chmod(0o700), True),
    "a new file": (lambda folder: (folder / "src/new.py").write_text(""), True),
    "a file gone": (lambda folder: (folder / "src/app.py").unlink(), True),
    "an empty folder": (lambda folder: (folder / "src/empty").mkdir(), True),
    "a link for a file": (lambda folder: relink(folder / "src/app.py", "pkg/one.py"), True),
    "time": (lambda folder: os.utime(folder / "src/app.py", (1, 1)), False),
    "a file elsewhere": (lambda folder: (folder / "requirements.txt").write_text("django"), False),
    "the same bytes again": (lambda folder: (folder / "src/app.py").write_text("app"), False),
    "an excluded file": (lambda folder: (folder / "src/app.pyc").write_text("x"), False),
}


def relink(path: Path, target: str) -> None:
    path.unlink()
    path.symlink_to(target)


@pytest.mark.parametrize("name", FILE_CHANGES)
def test_content_counts_and_times_do_not(name: str, store: Store, context: Path) -> None:
    change, expected = FILE_CHANGES[name]
    image = source(copy(context, "src/", "/app/", exclude=["*.pyc"]))
    before = recipe.resolve(image, store)
    change(context)
    assert (recipe.resolve(image, store)["id"] != before["id"]) is expected


def test_what_does_not_matter_is_in_no_id(store: Store, context: Path) -> None:
    plain = recipe.resolve(source(copy(context, "src/", "/app/")), store)
    same = [
        copy(context, "src/", "/app/", line=99),
        copy(context, "./src", "/app/"),
        copy(context, "src/", "/app/", exclude=["*.none"]),
        copy(context, "sr?", "/app/"),
        copy(context, "src/", "/x/../app/"),
    ]
    assert [recipe.resolve(source(one), store)["id"] for one in same] == [plain["id"]] * len(same)


def test_inputs_name_each_file(store: Store, context: Path) -> None:
    (context / "src" / "link").symlink_to("app.py")
    (context / "target").write_text("")
    for path in ("src", "src/pkg"):
        (context / path).chmod(0o755)
    for path in ("src/app.py", "src/pkg/one.py", "target"):
        (context / path).chmod(0o644)
    app = "a172cedcae47474b615c54d510a5d84a8dea3032e958587430b413538be3f333"
    one = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    image = source(copy(context, "src/", "target", "/app/", chown="web"), copy(context, "src", "/app", mode=0o755))
    named, chmod = (each["inputs"] for each in recipe.resolve(image, store)["steps"][1:])
    assert named == {
        "src/": "755 folder",
        "src/app.py": f"644 {app}",
        "src/link": "-> app.py",
        "src/pkg/": "755 folder",
        "src/pkg/one.py": f"644 {one}",
        "./target": f"644 {empty}",
        "target": "/app/",
        "sources": '["src","target"]',
        "--chown": "web",
    }
    assert chmod == {
        "src/app.py": app,
        "src/link": "-> app.py",
        "src/pkg/": "folder",
        "src/pkg/one.py": one,
        "target": "/app",
        "sources": '["src"]',
        "--chmod": "755",
    }


def test_all_missing_sources_are_told_at_once(store: Store, context: Path) -> None:
    (context / "out").symlink_to("/etc")
    (context / ".dockerignore").write_text("secret\n")
    (context / "secret").write_text("")
    os.mkfifo(context / "fifo")
    steps = [
        copy(context, "srk/", "/app/", line=3),
        copy(context, "nothing*", "/app/", line=4),
        copy(context, "../other", "/app/", line=5),
        copy(context, "out/passwd", "/app/", line=6),
        copy(context, "secret", "/app/", line=7),
        copy(context, "fifo", "/app/", line=8),
        copy(context, "src/", "requirements.txt", "/app", line=9),
        copy(context / "none", "x", "/app", line=10),
        step("label", 11, values={"stackpy.stack": "shop"}),
        run("", 12) | {"argv": []},
        step("bless", 13),
        file("/etc/", "x", 14),
    ]
    with pytest.raises(InvalidConfig) as caught:
        recipe.resolve(source(*steps), store)
    assert caught.value.message.splitlines() == [
        f"stack.py:3: the source `srk/` is not in the context `{context}`",
        f"stack.py:5: the source `../other` leads out of the context `{context}`",
        f"stack.py:6: the source `out/passwd` is a link that leads out of the context `{context}`",
        f"stack.py:7: the source `secret` is excluded by the .dockerignore of `{context}`",
        "stack.py:8: the source `fifo` cannot be read: it is a fifo or a device",
        "stack.py:9: several sources are copied to `/app`, which must end with `/`",
        f"stack.py:10: the context `{context}/none` cannot be opened: no such file or directory",
        "stack.py:11: the label `stackpy.stack` is reserved for the engine",
        "stack.py:12: there is nothing to run",
        "stack.py:13: unknown instruction `bless`",
        "stack.py:14: the target `/etc/` names a folder, and a file is to be written",
    ]
    assert "did you mean `src`?" in caught.value.hint


def test_a_glob_may_find_nothing(store: Store, context: Path) -> None:
    alone = recipe.resolve(source(copy(context, "*.lock", "/app/")), store)["steps"][1]
    assert (alone["inputs"]["sources"], alone["inputs"]["target"]) == ("[]", "/app/")
    with_lock = recipe.resolve(source(copy(context, "requirements.txt", "*.lock", "/app/")), store)
    without = recipe.resolve(source(copy(context, "requirements.txt", "/app/")), store)
    assert with_lock["id"] == without["id"]


def test_an_unknown_base_names_near_ones(store: Store) -> None:
    image: Any = {"id": "sha256:" + "a" * 64, "references": ["debian:bookworm"], "layers": [], "config": {}}
    store.put_image({**image, "history": [], "recipe": "", "architecture": "amd64", "size": 0, "created": ""})
    known = recipe.resolve(source(base={"kind": "image", "reference": "debian:bookworm"}), store)
    assert known["steps"][0]["inputs"] == {"image": image["id"]}
    with pytest.raises(NotFound) as caught:
        recipe.resolve(source(base={"kind": "image", "reference": "debain:bookworm"}), store)
    assert caught.value.message == "no such image: `debain:bookworm`"
    assert caught.value.hint == "did you mean `debian:bookworm`?"


def settled(folder: Path) -> None:
    """Waits until the files are older than a tick of the kernel's clock, so that what was read is remembered."""
    import time

    newest = max(path.lstat().st_ctime_ns for path in folder.rglob("*"))
    while time.time_ns() - newest < 50_000_000:
        time.sleep(0.01)


def reads(monkeypatch: pytest.MonkeyPatch) -> list[StatCache]:
    """Every stat cache that is opened from now on."""
    opened: list[StatCache] = []
    original = StatCache.of.__func__  # type: ignore[attr-defined]

    def of(cls: type[StatCache], root: str, name: str) -> StatCache:
        opened.append(original(cls, root, name))
        return opened[-1]

    monkeypatch.setattr(context_module.StatCache, "of", classmethod(of))
    return opened


def test_an_unchanged_context_is_not_read_again(store: Store, context: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index in range(100):
        (context / "src" / f"{index}.py").write_text(str(index))
    settled(context)
    opened = reads(monkeypatch)
    image = source(copy(context, "src/", "/app/"), copy(context, "requirements.txt", "/app/"))
    first = recipe.resolve(image, store)
    (context / "src" / "7.py").write_text("changed")
    second = recipe.resolve(image, store)
    settled(context)
    third, fourth = recipe.resolve(image, store), recipe.resolve(image, store)
    counts = [cache.reads for cache in opened]
    # The changed file is read again where its change was less than a tick before it was read.
    assert (counts[:2], counts[2] in (0, 1), counts[3]) == ([103, 1], True, 0)
    assert first["id"] != second["id"] == third["id"] == fourth["id"]


def test_a_file_changed_within_a_tick_is_seen(store: Store, context: Path) -> None:
    """Same size, same inode, and often the same time stamp: only reading again can tell."""
    image = source(copy(context, "src/", "/app/"))
    path = context / "src" / "app.py"
    for index in range(200):
        path.write_text(f"{index:04}")
        before = recipe.resolve(image, store)
        path.write_text(f"{index + 1:04}")
        assert recipe.resolve(image, store)["id"] != before["id"]


def test_a_damaged_or_unwritable_cache_costs_only_time(store: Store, context: Path) -> None:
    settled(context)
    image = source(copy(context, "src/", "/app/"))
    expected = recipe.resolve(image, store)
    (kept,) = Path(store.root.path, "cache", "stat").iterdir()
    whole = kept.read_bytes()
    for damaged in (b"", b"x" * 100, whole[:-3], whole[:30] + b"\xff" + whole[31:]):
        kept.write_bytes(damaged)
        assert recipe.resolve(image, store) == expected
    kept.unlink()
    kept.mkdir()
    assert recipe.resolve(image, store) == expected
    assert os.listdir(kept.parent) == [kept.name]


def test_a_root_that_is_not_there_is_not_made(tmp_path: Path, context: Path) -> None:
    absent = Store(str(tmp_path / "absent"))
    recipe.resolve(source(copy(context, "src/", "/app/")), absent)
    assert not (tmp_path / "absent").exists()


def test_planning_imports_little(store: Store, context: Path) -> None:
    """What costs (pathspec 25 ms, ctypes 10, subprocess 12) is not needed to find a context unchanged."""
    settled(context)
    (context / ".dockerignore").write_text("**/*.pyc\n")
    image = source(copy(context, "src/", "/app/", exclude=["*.txt"]))
    recipe.resolve(image, store)
    settled(context)
    recipe.resolve(image, store)
    script = (
        "import sys, typing; from stackpy_runtime.store.store import Store; before = set(sys.modules); "
        "from stackpy_runtime.build.recipe import resolve; "
        f"resolve({image!r}, Store({store.root.path!r})); print(sorted(set(sys.modules) - before))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert set(ast.literal_eval(done.stdout)) <= {
        *(f"stackpy_runtime.{name}" for name in ("errors", "json_text", "model", "records")),
        *(
            f"stackpy_runtime.build.{name}"
            for name in "context digests ignoring recipe settings stat_cache step_inputs".split()
        ),
        "stackpy_runtime.build",
        "_sha2",
        "_sha256",
        "binascii",
        "errno",
    }


def test_what_a_build_gives_its_steps_counts_but_addresses(store: Store) -> None:
    def last(**given: Any) -> str:
        return recipe.resolve(source(run("make", **given)), store)["steps"][-1]["id"]

    plain = last()
    named = last(extra_hosts={"a": ["10.0.0.1"]})
    assert last(extra_hosts={"a": ["10.0.0.2", "::1"]}) == named != plain
    others = {last(extra_hosts={"b": ["10.0.0.1"]}), last(shm_size=1 << 20), last(network="none")}
    others |= {last(ulimits={"nofile": {"soft": 1, "hard": hard}}) for hard in (1, 2)}
    assert len(others | {plain, named}) == 7


def test_what_a_dockerfile_is_built_with_reaches_its_run_steps(tmp_path: Path) -> None:
    from stackpy_runtime.build import dockerfiles

    text = "FROM scratch AS a\nRUN one\nFROM scratch\nCOPY --from=a /x /x\nRUN --network=none two\nRUN three"
    base: Any = {"kind": "dockerfile", "path": "-", "content": text, "context": str(tmp_path)}
    base["run"] = {"network": "host", "shm_size": 1 << 20, "extra_hosts": {"a": ["10.0.0.1"]}}

    def read(base: Any) -> Any:
        return dockerfiles.compiled(base, lambda _: {})

    made = dockerfiles.expanded({"base": base, "steps": [run("stack")]}, lambda _: {}, read)
    steps = [*made["stages"]["a"]["steps"], *made["steps"]]
    assert [(each["instruction"], each.get("network")) for each in steps] == [
        ("run", "host"), ("copy", None), ("run", "none"), ("run", "host"), ("run", None),
    ]  # fmt: skip
    assert [each.get("shm_size") for each in steps] == [1 << 20, None, 1 << 20, 1 << 20, None]
    base["run"] = {"ulimits": {"nofiles": {"soft": 1, "hard": 1}}}
    with pytest.raises(InvalidConfig, match="unknown ulimit `nofiles`"):
        dockerfiles.expanded({"base": base, "steps": []}, lambda _: {}, read)


def test_run_steps_of_stages_count_too(store: Store, context: Path) -> None:
    image = source(run("make"), copy(context, "src/", "/"), run("make install"))
    image["base"] = {"kind": "stage", "stage": "build"}
    image["stages"] = {"build": source(run("cc")), "unused": source(run("false"))}
    made = recipe.resolve(image, store)
    assert len(recipe.run_steps(image, made)) == 3


def test_what_is_to_be_said_of_a_dockerfile_is_said_of_the_one_that_was_resolved(tmp_path: Path) -> None:
    from stackpy_runtime.engine import Engine

    (tmp_path / "Dockerfile").write_text("FROM scratch\nENV PASSWORD=x\n")
    base: Any = {"kind": "dockerfile", "path": str(tmp_path / "Dockerfile"), "context": str(tmp_path)}
    engine = Engine(str(tmp_path / "root"))
    engine.resolve({"base": base, "steps": []})
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    assert [each.rule for each in engine.read_dockerfile(base).warnings] == ["SecretsUsedInArgOrEnv"]
    # Asked again it is read again.
    assert engine.read_dockerfile(base).warnings == []
    engine.resolve({"base": base, "steps": []})
    other: Any = {**base, "content": "FROM scratch\nENV PASSWORD=x\n"}
    assert len(engine.read_dockerfile(other).warnings) == 1
