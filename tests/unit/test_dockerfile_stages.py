"""Stages, bases, build arguments and triggers."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy_runtime.dockerfile import Compiled
from stackpy_runtime.dockerfile import compile as compile_text
from stackpy_runtime.errors import InvalidConfig


def compiled(text: str, configs: dict[str, Any] | None = None, **options: Any) -> Compiled:
    known = configs or {}
    return compile_text(
        text, name="Dockerfile", context="/c", config_of=lambda base: known.get(base["reference"], {}), **options
    )


def shape(source: Any) -> tuple[Any, list[str], dict[str, Any]]:
    """Base, texts of the steps, and the stages likewise."""
    stages = {name: shape(stage)[:2] for name, stage in source.get("stages", {}).items()}
    return source["base"], [step["text"] for step in source["steps"]], stages


IMAGE = {"kind": "image", "reference": "a"}

THREE = """\
FROM a AS one
RUN one
FROM one AS Two
RUN two
FROM b
RUN never
FROM c
COPY --from=two x y
"""


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (
            "",
            (
                {"kind": "image", "reference": "c"},
                ["COPY --from=two x y"],
                {"one": (IMAGE, ["RUN one"]), "two": ({"kind": "stage", "stage": "one"}, ["RUN two"])},
            ),
        ),
        ("one", (IMAGE, ["RUN one"], {})),
        ("TWO", ({"kind": "stage", "stage": "one"}, ["RUN two"], {"one": (IMAGE, ["RUN one"])})),
        ("2", ({"kind": "image", "reference": "b"}, ["RUN never"], {})),
        ("stage-2", ({"kind": "image", "reference": "b"}, ["RUN never"], {})),
    ],
)
def test_only_what_the_target_needs(target: str, expected: Any) -> None:
    assert shape(compiled(THREE, target=target).source) == expected


def test_no_such_target() -> None:
    with pytest.raises(InvalidConfig, match="there is no stage `tow` to build") as caught:
        compiled(THREE, target="tow")
    assert "did you mean `two`?" in str(caught.value)


def test_a_stage_that_nobody_needs_may_be_wrong() -> None:
    text = "FROM a AS bad\nCOPY --from=nobody! x y\nFROM b\n"
    assert shape(compiled(text).source) == ({"kind": "image", "reference": "b"}, [], {})
    with pytest.raises(InvalidConfig, match="`nobody!` is no stage, image or context"):
        compiled(text, every=True)


def test_unnamed_and_equal_names_are_kept_apart() -> None:
    text = "FROM a\nRUN 0\nFROM a AS x\nRUN 1\nFROM b AS x\nRUN 2\nFROM x\nCOPY --from=0 a b\nCOPY --from=1 a b\n"
    assert shape(compiled(text).source) == (
        {"kind": "stage", "stage": "x@2"},
        ["COPY --from=0 a b", "COPY --from=1 a b"],
        {
            "stage-0": (IMAGE, ["RUN 0"]),
            "x": (IMAGE, ["RUN 1"]),
            "x@2": ({"kind": "image", "reference": "b"}, ["RUN 2"]),
        },
    )


def test_a_stage_takes_over_variables_shell_and_folder() -> None:
    text = (
        'FROM a AS one\nARG X=1\nENV Y=2\nWORKDIR w\nSHELL ["/s"]\n'
        "FROM one\nRUN --mount=target=t x\nENV Z=$X$Y\nFROM a\nENV Z=$X$Y\n"
    )
    made = compiled(text, target="1").source["steps"]
    assert made[0]["args"] == {"X": "1"}
    assert made[0]["argv"] == ["/s", "x"]
    assert made[0]["mounts"][0]["target"] == "/w/t"
    assert made[1]["values"] == {"Z": "12"}
    assert compiled(text).source["steps"][0]["values"] == {"Z": ""}


def test_variables_of_the_base_image() -> None:
    configs = {"a": {"Env": ["PATH=/own", "V=1=2", "nonsense", "=x"], "WorkingDir": "/w", "Shell": ["/b", "-c"]}}
    made = compiled("FROM a\nENV PATH=$PATH:/more W=$V\nRUN --mount=target=x y\n", configs).source["steps"]
    assert made[0]["values"] == {"PATH": "/own:/more", "W": "1=2"}
    assert (made[1]["argv"], made[1]["mounts"][0]["target"]) == (["/b", "-c", "y"], "/w/x")


def test_a_base_without_a_path_gets_the_usual_one() -> None:
    made = compiled("FROM scratch\nENV PATH=/a:$PATH\n").source["steps"]
    assert made[0]["values"] == {"PATH": "/a:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}


# --- arguments --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "given", "base"),
    [
        ("ARG V=1\nFROM a:$V\n", {}, "a:1"),
        ("ARG V=1\nFROM a:${V}-slim\n", {"V": "2"}, "a:2-slim"),
        ("ARG A=x\nARG B=${A}y\nFROM $B\n", {}, "xy"),
        ("ARG A=x\nARG B=${A}y\nFROM $B\n", {"A": "z"}, "zy"),
        ("FROM a:${V:-3}\n", {}, "a:3"),
        ("FROM a-$TARGETARCH\n", {}, "a-amd64"),
        ("FROM a-$TARGETARCH\n", {"TARGETARCH": "arm"}, "a-arm"),
        ("ARG V\nFROM a${V:+:$V}\n", {}, "a"),
    ],
)
def test_from_sees_global_arguments(text: str, given: dict[str, str], base: str) -> None:
    assert compiled(text, build_args=given).source["base"] == {"kind": "image", "reference": base}


def test_global_arguments_have_to_be_taken_over() -> None:
    text = "ARG V=1\nARG W=2\nFROM a\nARG V\nARG W=3\nARG U\nENV X=$V$W$U\n"
    assert compiled(text).source["steps"][0]["values"] == {"X": "13"}
    assert compiled(text, build_args={"W": "4", "U": "5"}).source["steps"][0]["values"] == {"X": "145"}


def test_platform_arguments() -> None:
    text = "FROM a\nARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT BUILDPLATFORM TARGETSTAGE\nRUN x\n"
    made = compiled(text, platform="linux/arm/v7", build_platform="linux/amd64", target="0")
    assert made.source["base"] == {"kind": "image", "reference": "a", "platform": "linux/arm/v7"}
    assert made.source["steps"][0]["args"] == {
        "TARGETPLATFORM": "linux/arm/v7",
        "TARGETOS": "linux",
        "TARGETARCH": "arm",
        "TARGETVARIANT": "v7",
        "BUILDPLATFORM": "linux/amd64",
        "TARGETSTAGE": "0",
    }


def test_platform_of_a_stage() -> None:
    text = "FROM --platform=$BUILDPLATFORM a AS x\nFROM --platform=linux/s390x b AS y-s390x\nCOPY --from=x a b\n"
    source = compiled(text, platform="linux/arm64", build_platform="linux/amd64").source
    assert source["base"] == {"kind": "image", "reference": "b", "platform": "linux/s390x"}
    assert source["stages"]["x"]["base"] == {"kind": "image", "reference": "a"}


def test_which_arguments_were_used() -> None:
    text = "ARG G\nFROM a AS x\nARG S\nFROM b AS y\nARG Z\n"
    given = dict.fromkeys(["G", "S", "Z", "HTTPS_PROXY", "TARGETARCH", "NOBODY"], "1")
    assert compiled(text, build_args=given, target="x").used_args == {"G", "S", "HTTPS_PROXY", "TARGETARCH"}


# --- triggers ---------------------------------------------------------------------------------------------------------


def test_triggers_of_a_base_image_run_right_after_from() -> None:
    configs = {"a": {"OnBuild": ["ARG WHO=me", "COPY --from=files $WHO /x", "RUN <<EOF\nset -e\nEOF"], "Env": ["H=1"]}}
    text = "FROM b AS files\nFROM a\nENV X=$WHO\n"
    made = compiled(text, configs).source
    assert [(step["instruction"], step["line"]) for step in made["steps"]] == [
        ("copy", "Dockerfile:2"),
        ("run", "Dockerfile:2"),
        ("env", "Dockerfile:3"),
    ]
    assert made["steps"][0]["sources"] == ["me"]
    assert made["steps"][1]["argv"][2] == "set -e\n"
    assert made["steps"][2]["values"] == {"X": "me"}
    assert made["stages"].keys() == {"files"}


def test_triggers_of_a_stage_run_in_its_children_alone() -> None:
    text = "FROM a AS x\nONBUILD RUN t\nRUN own\nFROM x AS y\nRUN second\nFROM y\nRUN third\n"
    made = compiled(text).source
    assert shape(made) == (
        {"kind": "stage", "stage": "y"},
        ["RUN third"],
        {
            "x": (IMAGE, ["ONBUILD RUN t", "RUN own"]),
            "y": ({"kind": "stage", "stage": "x"}, ["RUN t", "RUN second"]),
        },
    )


def test_a_bad_trigger_of_a_base_image() -> None:
    with pytest.raises(InvalidConfig) as caught:
        compiled("FROM a\n", {"a": {"OnBuild": ["NOTHING x", "RUN a\nRUN b"]}})
    assert str(caught.value) == (
        "Dockerfile:1: the base `a` has a bad ONBUILD trigger: `NOTHING x`: unknown instruction `NOTHING`\n"
        "    1 | FROM a\n"
        "      = expected one of `FROM`, `RUN`, `CMD`, `LABEL`, `MAINTAINER`, `EXPOSE`, `ENV`, `ADD`, `COPY`, "
        "`ENTRYPOINT`, `VOLUME`, `USER`, `WORKDIR`, `ARG`, `ONBUILD`, `STOPSIGNAL`, `HEALTHCHECK`, `SHELL`\n"
        "Dockerfile:1: the base `a` has a bad ONBUILD trigger: `RUN a\nRUN b`: it is not one instruction\n"
        "    1 | FROM a"
    )


# --- named contexts ---------------------------------------------------------------------------------------------------


def test_a_context_in_the_place_of_an_image_or_a_stage() -> None:
    text = "FROM alpine AS x\nRUN never\nFROM debian\nCOPY --from=x a b\nCOPY --from=lib a b\n"
    contexts = {"x": "/folder", "debian": "docker-image://other:1", "LIB": "/lib"}
    made = compiled(text, contexts=contexts).source
    assert shape(made) == (
        {"kind": "image", "reference": "other:1"},
        ["COPY --from=x a b", "COPY --from=lib a b"],
        {"x": ({"kind": "scratch"}, ["COPY . / (from the context /folder)"])},
    )
    assert made["steps"][1]["from_context"] == "/lib"


def test_a_base_for_another_platform_is_warned_of() -> None:
    made = compiled("FROM a\nFROM --platform=linux/arm64 b AS arm64\n", every=True, platform_of=lambda _: "linux/arm64")
    assert [(each.rule, each.line, each.message) for each in made.warnings if each.rule.startswith("Invalid")] == [
        (
            "InvalidBaseImagePlatform",
            1,
            "the base image a is for `linux/arm64`, expected `linux/amd64`",
        )
    ]


def test_what_is_built_for_another_platform_takes_files_of_it() -> None:
    text = "FROM --platform=$BUILDPLATFORM a AS here\nFROM scratch\nCOPY --from=here /x /x\nCOPY --from=b /y /y\n"
    made = compiled(text, platform="linux/arm64", build_platform="linux/amd64").source
    assert made["base"] == {"kind": "scratch", "platform": "linux/arm64"}
    assert made["stages"]["here"]["base"] == {"kind": "image", "reference": "a"}
    assert [step.get("from_platform") for step in made["steps"]] == [None, "linux/arm64"]
