"""Images of several stages: what is built, in what order, and what of it is taken."""

from __future__ import annotations

import hashlib
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build import bases
from stackpy_runtime.build.runner import Output, StepRun
from stackpy_runtime.errors import Conflict, InvalidConfig, ProcessFailed
from stackpy_runtime.image import saving
from stackpy_runtime.model import ImageSource
from tests.build_lab import Builder, copy, file, of_stage, run, source, step

HOST: Any = {"kind": "host", "programs": ["sh", "cat", "cp", "mkdir", "ln", "chown", "chmod", "mkfifo", "touch"]}


pytestmark = pytest.mark.root


def staged(main: ImageSource, **stages: ImageSource) -> ImageSource:
    return {**main, "stages": stages}


def on(stage: str) -> Any:
    return {"kind": "stage", "stage": stage}


def test_files_come_from_a_stage_with_all_that_they_are(builder: Builder) -> None:
    made = run(
        "mkdir -p /out/lib/deep /usr/lib/x; echo one >/out/lib/a.txt; echo two >/out/lib/b.md; "
        "ln -s a.txt /out/lib/link; ln -s /out/lib /abs; ln -s ../out/lib /usr/up; chmod 750 /out/lib/deep; "
        "echo deep >/out/lib/deep/c; chown 5:6 /out/lib/a.txt /out/lib/deep; chmod 4711 /out/lib/a.txt; "
        "mkfifo /out/pipe; ln -s /nowhere /out/lib/broken"
    )
    image = builder.build(
        staged(
            source(
                of_stage("made", "/out/lib", "/all/"),
                of_stage("made", "/abs/a.txt", "/usr/up/b.md", "/linked/"),
                of_stage("made", "out/l?b/*.txt", "/globbed/"),
                of_stage("made", "/out/lib/a.txt", "/owned", chown="7:8", chmod="u=rw,go=r"),
                of_stage("made", "/out/pipe", "/pipe"),
                of_stage("made", "./out/./lib/deep/c", "/parents/", parents=True),
                of_stage("made", "/out/lib", "/some/", exclude_paths=["*.md", "deep"]),
            ),
            made=source(made, base=HOST),
        )
    )
    assert builder.tree(image) == {
        "all": "755 0:0",
        "all/a.txt": "4711 5:6 one\n",
        "all/b.md": "644 0:0 two\n",
        "all/broken": "-> /nowhere",
        "all/deep": "750 5:6",
        "all/deep/c": "644 0:0 deep\n",
        "all/link": "-> a.txt",
        "globbed": "755 0:0",
        "globbed/a.txt": "4711 5:6 one\n",
        "linked": "755 0:0",
        "linked/a.txt": "4711 5:6 one\n",
        "linked/b.md": "644 0:0 two\n",
        "owned": "644 7:8 one\n",
        "parents": "755 0:0",
        "parents/lib": "755 0:0",
        "parents/lib/deep": "755 0:0",
        "parents/lib/deep/c": "644 0:0 deep\n",
        "pipe": "644 0:0",
        "some": "755 0:0",
        "some/a.txt": "4711 5:6 one\n",
        "some/broken": "-> /nowhere",
        "some/link": "-> a.txt",
    }
    assert builder.clean()


def test_what_is_wrong_with_a_stage_is_said(builder: Builder) -> None:
    with pytest.raises(InvalidConfig) as missing:
        builder.build(staged(source(of_stage("made", "/oot", "/x", line=7)), made=source(file("/out/a", "1"))))
    assert missing.value.message == "the source `/oot` is not in `made`"
    assert missing.value.hint == "did you mean `out`?"
    assert "(stack.py:7)" in missing.value.subject


def test_a_change_rebuilds_what_takes_from_it_and_nothing_else(builder: Builder, tmp_path: Path) -> None:
    (tmp_path / "main.c").write_text("one")
    (tmp_path / "doc").write_text("one")

    def image(label: str = "") -> ImageSource:
        builder_steps = [copy(tmp_path, "main.c", "/src/"), run("mkdir /out; cat /src/main.c >/out/bin")]
        if label:
            builder_steps.append(step("label", values={"for": label}))
        return staged(
            source(
                copy(tmp_path, "doc", "/doc"),
                of_stage("build", "/out/bin", "/bin/app"),
                run("cat /bin/app >/ran"),
                base=on("base"),
            ),
            base=source(file("/base", "1"), base=HOST),
            build=source(*builder_steps, base=on("base")),
        )

    def ran() -> list[str]:
        return sorted(text.partition(" ")[0] + " " + text.split()[1] for text in builder.ran)

    builder.build(image())
    assert len(builder.ran) == 7
    builder.build(image())
    assert builder.ran == []
    builder.build(image("people"))
    assert builder.ran == []  # a label of a stage is in no file
    (tmp_path / "main.c").write_text("two")
    built = builder.build(image())
    assert ran() == ["COPY ['/out/bin']", "RUN ['/bin/sh',", "[build] COPY", "[build] RUN"]
    assert builder.tree(built)["ran"] == "644 0:0 two"
    (tmp_path / "doc").write_text("two")
    builder.build(image())
    # The stage is asked for, since what copies from it stands on what changed; its steps are all there.
    assert ran() == ["COPY ['/out/bin']", "COPY ['doc']", "RUN ['/bin/sh',"]


def test_stages_that_nobody_needs_are_left_alone(builder: Builder) -> None:
    image = staged(
        source(of_stage("used", "/a", "/a")),
        used=source(file("/a", "1")),
        unused=source(run("exit 1"), base=HOST),
    )
    builder.build(image)
    assert len(builder.ran) == 2
    # What copies is cached: the stage is neither asked nor reported.
    builder.store.delete_steps([builder.resolve(image)["stages"]["used"]["steps"][1]["id"]])
    image["steps"].append(step("label", values={"a": "b"}))
    builder.build(image)
    assert [event["text"] for event in builder.events] == [
        "FROM scratch",
        *(each["text"] for each in image["steps"]),
    ]


def test_link_is_the_same_layer_on_any_base(builder: Builder) -> None:
    def image(base: str) -> ImageSource:
        linked = of_stage("made", "/a", "/sub/", link=True)
        return staged(source(file("/base", base), linked, file("/after", "1")), made=source(file("/a", "1")))

    first = builder.build(image("one"))
    second = builder.build(image("two"))
    assert [text.split()[0] for text in builder.ran] == ["FILE", "FILE"]
    assert first["layers"][1] == second["layers"][1] and first["layers"][2] != second["layers"][2]
    assert builder.tree(second) == {
        "after": "644 0:0 1",
        "base": "644 0:0 two",
        "sub": "755 0:0",
        "sub/a": "644 0:0 1",
    }


class Meeting(Builder):
    """A builder whose RUN steps all wait until two of them run at the same time."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.barrier = threading.Barrier(2, timeout=60)

    def run(self, step_run: StepRun, output: Output) -> int:
        self.barrier.wait()
        return super().run(step_run, output)


def test_stages_are_built_at_the_same_time(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path / "root")
    image = staged(
        source(of_stage("one", "/one", "/"), of_stage("two", "/two", "/")),
        one=source(run("echo 1 >/one; echo saying one"), base=on("ground")),
        two=source(run("echo 2 >/two; echo saying two"), base=on("ground")),
        ground=source(file("/ground", "1"), base=HOST),
    )
    built = meeting.build(image)
    assert meeting.tree(built) == {"one": "644 0:0 1\n", "two": "644 0:0 2\n"}
    assert sorted(meeting.output) == ["saying one\n", "saying two\n"]
    meeting.store.close()


def test_a_failing_stage_fails_the_build_and_ends_the_others(builder: Builder) -> None:
    image = staged(
        source(of_stage("bad", "/x", "/"), of_stage("good", "/y", "/")),
        bad=source(run("echo no; exit 3", 4), base=HOST),
        good=source(run("echo 1 >/y"), run("echo 2 >/y"), base=HOST),
    )
    before = set(threading.enumerate())
    with pytest.raises(ProcessFailed) as failed:
        builder.build(image)
    assert (failed.value.exit_code, failed.value.output) == (3, "no")
    assert failed.value.subject.startswith("step 2/2 [bad] RUN") and failed.value.subject.endswith("(stack.py:4)")
    assert builder.clean()
    assert set(threading.enumerate()) <= before
    assert os.listdir(builder.store.root.staging) == []


def test_no_cache_makes_everything_again_beside_what_is_there(builder: Builder) -> None:
    image = staged(source(of_stage("made", "/x", "/"), file("/z", "1")), made=source(run("echo $$ >/x"), base=HOST))
    first = builder.build(image, tags=["x"])
    again = builder.build(image, tags=["x"], options={"no_cache": True})
    assert len(builder.ran) == 3
    assert not set(first["layers"]) & set(again["layers"])
    assert builder.tree(first)["x"] != builder.tree(again)["x"]
    assert builder.store.image("x")["id"] == again["id"] != first["id"]
    # What was made last is what the next build takes.
    assert builder.build(image, tags=["x"])["id"] == again["id"]
    assert builder.ran == []


def test_the_same_image_comes_out_in_two_roots_at_two_times(
    builder: Builder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "main.c").write_text("one")
    image = staged(
        source(copy(tmp_path, "main.c", "/src/"), of_stage("made", "/x", "/"), step("cmd", argv=["x"])),
        made=source(run("echo 1 >/x; mkdir /y"), base=HOST),
    )
    first = builder.build(image)
    os.utime(tmp_path / "main.c", (1, 1_000_000_000))
    monkeypatch.setattr("time.time_ns", lambda: 2_000_000_000 * 10**9)
    other = Builder(tmp_path / "other")
    second = other.build(image)
    assert {**first, "built": ""} == {**second, "built": ""} and first["built"] != second["built"]
    archives = []
    for each, made in ((builder, first), (other, second)):
        each.store.tag("name", made["id"])
        for form in ("docker", "oci"):
            out = io.BytesIO()
            saving.save(each.store, ["name"], out, form=form)
            archives.append(hashlib.sha256(out.getvalue()).hexdigest())
    assert archives[:2] == archives[2:]
    other.store.close()


def test_files_of_an_image_come_from_what_its_name_meant_then(builder: Builder) -> None:
    one, two = (builder.build(source(file("/tool", content))) for content in ("one", "two"))
    builder.store.tag("tools", one["id"])
    image = source(step("copy", sources=["/tool"], target="/bin/", from_image="tools"))
    assert builder.tree(builder.build(image)) == {"bin": "755 0:0", "bin/tool": "644 0:0 one"}
    image["steps"][0]["target"] = "/sbin/"
    resolved = builder.resolve(image)
    builder.store.tag("tools", two["id"])
    with pytest.raises(Conflict) as moved:
        builder.build(image, resolved)
    assert "`tools` is another image" in moved.value.message
    assert builder.tree(builder.build(image)) == {"sbin": "755 0:0", "sbin/tool": "644 0:0 two"}


def test_what_stands_on_an_image_of_another_machine_is_for_that(builder: Builder) -> None:
    base = builder.build(source(file("/base", "1")))
    builder.store.put_image({**base, "architecture": "riscv64", "references": ["other:latest"]})
    stages = {"ground": source(file("/a", "1"), base={"kind": "image", "reference": "other:latest"})}
    built = builder.build({**source(file("/b", "1"), base=on("ground")), "stages": stages})
    assert (built["architecture"], sorted(builder.tree(built))) == ("riscv64", ["a", "b", "base"])


def test_stages_wait_for_one_another_and_hold_nothing_meanwhile(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    # All steps share one lock, as those of a large build may by chance.
    monkeypatch.setattr(bases, "lock_name", lambda step_id: "step-one")
    chain: dict[str, ImageSource] = {"stage0": source(run("echo 0 >/file"), base=HOST)}
    for number in range(1, 5):
        taken = of_stage(f"stage{number - 1}", "/file", "/before")
        chain[f"stage{number}"] = source(taken, run(f"echo {number} >/file; cat /before >>/file"), base=HOST)
    built = builder.build(staged(source(of_stage("stage4", "/file", "/")), **chain))
    assert builder.tree(built) == {"file": "644 0:0 4\n3\n2\n1\n0\n"}
    assert not [event for event in builder.events if event["kind"] == "state"]


def test_what_failed_is_told_and_not_that_the_image_gave_up_for_it(builder: Builder) -> None:
    slow = [run(f"while [ $((i=i+1)) -lt 20000 ]; do :; done; echo {number} >/n") for number in range(9)]
    image = staged(
        source(*slow, of_stage("bad", "/x", "/"), base=HOST),
        bad=source(run("exit 3"), base=HOST),
        never=source(run("exit 4"), base=HOST),
    )
    with pytest.raises(ProcessFailed) as failed:
        builder.build(image)
    assert (failed.value.exit_code, len(builder.ran) < 12) == (3, True)
    assert "[bad] RUN" in failed.value.subject
