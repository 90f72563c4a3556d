"""What is wrong with a Dockerfile, as it is shown: all of it at once, each with its line."""

from __future__ import annotations

from typing import Any

import pytest

from stackpy_runtime.dockerfile import compile as compile_text
from stackpy_runtime.errors import InvalidConfig


def compiled(text: str, **options: Any) -> Any:
    return compile_text(text, name="Dockerfile", context="/c", config_of=lambda base: {}, **options)


def refusal(text: str, **options: Any) -> str:
    with pytest.raises(InvalidConfig) as caught:
        compiled(text, **options)
    return str(caught.value)


def test_all_at_once_each_with_its_line() -> None:
    text = """\
# escape=x
FROM debian AS build
RUNN make
COPY --form=build \\
     a b
ENV a
USER
RUN --mount=type=cahce,target=/a true
ADD <<EOF
x
EOF
HEALTHCHECK CURL x
STOPSIGNAL SIGQUITT
FROM debian AS 1st
COPY --from=biuld a b
"""
    assert (
        refusal(text)
        == """\
Dockerfile:1: `x` cannot be the escape character
    1 | # escape=x
      = expected `\\` or a backtick
Dockerfile:3: unknown instruction `RUNN`
    3 | RUNN make
      = did you mean `RUN`?
Dockerfile:4: unknown flag `--form`
    4 | COPY --form=build \\
      = did you mean `--from`?
Dockerfile:6: ENV needs a name and a value
    6 | ENV a
      = write `ENV a=value`
Dockerfile:7: USER needs an argument
    7 | USER
      = as in `USER app:app`
Dockerfile:8: `type` of a mount cannot be `cahce`
    8 | RUN --mount=type=cahce,target=/a true
      = did you mean `cache`?
Dockerfile:9: ADD needs a source and a destination
    9 | ADD <<EOF
      = as in `ADD app.tar.gz /app/`
Dockerfile:12: HEALTHCHECK takes CMD and a command, or NONE, not `CURL`
   12 | HEALTHCHECK CURL x
      = as in `HEALTHCHECK --interval=5s CMD curl -f http://localhost/`
Dockerfile:13: `SIGQUITT` is no signal
   13 | STOPSIGNAL SIGQUITT
      = did you mean `SIGQUIT`?
Dockerfile:14: `1st` cannot be the name of a stage
   14 | FROM debian AS 1st
      = expected a letter, then letters, digits, `-`, `_` and `.`"""
    )


# instructions below `FROM a AS x` (line 1) and `FROM b AS y` (line 2) → message and hint
ONE = {
    "RUN": ("RUN needs a command", 'as in `RUN make install` or `RUN ["make", "install"]`'),
    "RUN []": ("RUN needs a command, and the JSON array is empty",
               'as in `RUN make install` or `RUN ["make", "install"]`'),
    'CMD ["a", 1]': ("the JSON array holds 1, which is no string", "put each argument into double quotes"),
    "SHELL bash -c": ("SHELL needs a JSON array", 'as in `SHELL ["/bin/bash", "-o", "pipefail", "-c"]`'),
    "RUN <<EOF\nx": ("the heredoc `EOF` is never closed", "end it with a line that is just `EOF`"),
    "COPY a": ("COPY needs a source and a destination", "as in `COPY src/ /app/src/`"),
    "COPY a <<EOF\nEOF": ("a heredoc cannot be where COPY copies to", "as in `COPY src/ /app/src/`"),
    "COPY --from=$X a b": ("`--from` takes no variables",
                           "declare a stage for it: FROM with the variable, and give that stage's name here"),
    "COPY --from=x --from=y a b": ("the flag `--from` stands twice", "keep one of them"),
    "COPY --from a b": ("the flag `--from` has no value", "write `--from=…`"),
    "COPY --link=maybe a b": ("`--link` cannot be `maybe`", "expected `true` or `false`"),
    "COPY --from=y a b": ("the stage `y` is not above this one", "move it up: a stage sees those before it"),
    "COPY --from=1 a b": ("`1` is no stage above this one", "it is the first stage"),
    "COPY --from=X! a b": ("`X!` is no stage, image or context to take files from", ""),
    "COPY --chmod=999 a b": ("`--chmod` cannot be `999`", "expected octal digits or a mode such as `u=rwX,go=rX`"),
    "COPY https://h/a b": ("COPY takes no address: `https://h/a`", "ADD downloads, and clones repositories"),
    "COPY ${X a b": ("`${X` cannot be expanded: `}` is missing", ""),
    "COPY ${X:?set me} b": ("`${X:?set` cannot be expanded: `}` is missing", ""),
    "COPY ${X:?} b": ("`${X:?}` cannot be expanded: X: must be set", ""),
    "COPY <<EOF b\n${X\nEOF": ("the heredoc: `}` is missing", "quote its name to take it as it stands: <<'EOF'"),
    "ADD --checksum=md5:x https://h/a b": ("`md5:x` is no checksum",
                                           "expected `sha256:` and 64 hexadecimal digits"),
    "ADD --checksum=sha256:x a b": ("`--checksum` needs one address as the only source",
                                    "use one ADD for each source"),
    "ADD https://h/r.git?submodules=maybe b": (
        "`submodules` of a repository cannot be `maybe`", "it is `true` or `false`",
    ),
    "ADD https://h/r.git?mtime=now b": ("`mtime` of a repository cannot be `now`", "it is `checkout` or `commit`"),
    "ADD https://h/r.git?subdir= b": ("`subdir` has no value in the address of the repository", "write `subdir=…`"),
    "RUN --device=nvidia.com/gpu=all true": (
        "`--device`: a build step gets no device of the host: the image would depend on it, and no ID could say so",
        "take `--device` away, and do what needs it in a container of the image",
    ),
    "ADD --checksum=zz git@h:r b": ("`zz` is no commit of a git repository", "expected its hash, in full"),
    "ADD --from=x a b": (
        "unknown flag `--from`",
        "expected one of `--chown`, `--chmod`, `--link`, `--keep-git-dir`, `--checksum`, `--unpack`, `--exclude`",
    ),
    "ENV a=b c": ("`c` is no `name=value`", "values with spaces stand in quotes"),
    "ENV =b": ("ENV has a value without a name", 'as in `ENV NAME="value"`'),
    "ENV ${X}=b": ("a name of ENV is empty", "its variables have no value"),
    "ENV --x a=b": ("unknown flag `--x`", "ENV has no flags"),
    "ARG =b": ("ARG has a value without a name", "as in `ARG VERSION=1.2`"),
    "WORKDIR $X": ("the folder of WORKDIR is empty", "its variables have no value"),
    "EXPOSE 99999": ("`99999` is no port", "expected a number up to 65535, or a range such as 8000-8010"),
    "EXPOSE 80/tpc": ("`tpc` is no protocol", "did you mean `tcp`?"),
    "VOLUME []": ("VOLUME needs the path of a folder", 'as in `VOLUME ["/data"]`'),
    "STOPSIGNAL 0": ("`0` is no signal", "as in `STOPSIGNAL SIGQUIT`"),
    "HEALTHCHECK": ("HEALTHCHECK takes CMD and a command, or NONE",
                    "as in `HEALTHCHECK --interval=5s CMD curl -f http://localhost/`"),
    "HEALTHCHECK NONE x": ("HEALTHCHECK NONE takes no arguments", "write `HEALTHCHECK NONE`"),
    "HEALTHCHECK --timeout=5 CMD x": ("`--timeout` cannot be `5`", "expected a duration such as `30s` or `1m30s`"),
    "HEALTHCHECK --retries=-1 CMD x": ("`--retries` cannot be `-1`", "expected a number"),
    "ONBUILD FROM a": ("FROM cannot be a trigger of ONBUILD", "expected any other instruction"),
    "ONBUILD COPPY a b": ("unknown instruction `COPPY`", "did you mean `COPY`?"),
    "RUN --network=bridge x": ("`--network` cannot be `bridge`", "expected one of `default`, `none`, `host`"),
    "RUN --devices=gpu x": ("unknown flag `--devices`", "expected one of `--mount`, `--network`, `--security`"),
    "RUN --mount=type=cache x": ("a mount cannot cover the root folder", "give it a `target`"),
    "RUN --mount=type=bind,targt=/a x": ("`--mount` knows no `targt`", "did you mean `target`?"),
    "RUN --mount=type=bind,target=/a,mode=1 x": ("a mount of type bind takes no `mode`",
                                                 "types that do: cache, secret, ssh"),
    "RUN --mount=type=secret x": ("a secret needs an `id` or a `target`", "as in `--mount=type=secret,id=token`"),
    "RUN --mount=type=ssh,src=a x": ("a mount of type ssh takes no `source`", "an agent is named by `id`"),
    "RUN --mount=from=$X,target=/a x": (
        "`from` of a mount takes no variables",
        "declare a stage for it: FROM with the variable, and give that stage's name here",
    ),
    "RUN --mount=target x": ("`target` of a mount needs a value", "write `target=…`"),
    "RUN --mount=type=tmpfs,target=/a,size=x x": ("`size` of a mount cannot be `x`", "as in `size=64m`"),
    "RUN --mount=type=secret,id=a,mode=9 x": ("`mode` of a mount cannot be `9`",
                                              "expected octal digits, as in `mode=0400`"),
    "RUN --mount=type=cache,target=/a,sharing=all x": ("`sharing` of a mount cannot be `all`",
                                                       "expected one of `shared`, `private`, `locked`"),
}  # fmt: skip


@pytest.mark.parametrize("text", ONE)
def test_one_mistake(text: str) -> None:
    message, hint = ONE[text]
    shown = f"Dockerfile:2: {message}\n    2 | {text.splitlines()[0]}" + (f"\n      = {hint}" if hint else "")
    below = "" if "never closed" in message else "\nFROM b AS y\n"
    assert refusal(f"FROM a AS x\n{text}{below}", every=True) == shown


BASES = {
    "RUN x\n": ("Dockerfile:1: RUN stands before the first FROM", "only ARG can stand there"),
    "ARG A\n": ("Dockerfile: there is no FROM in it", "a Dockerfile begins with `FROM image`"),
    "": ("Dockerfile: there is no FROM in it", "a Dockerfile begins with `FROM image`"),
    "FROM a b\n": ("Dockerfile:1: FROM takes one image, and a name for the stage behind `AS`",
                   "as in `FROM debian:bookworm AS build`"),
    "FROM Debian\n": ("Dockerfile:1: `Debian` cannot be the name of an image",
                      "expected the name of an image or of a stage above"),
    "FROM a AS build\nFROM Build\n": ("Dockerfile:2: `Build` cannot be the name of an image", "did you mean `build`?"),
    "FROM $TAG\n": ("Dockerfile:1: the base `$TAG` is empty", "declare `ARG TAG=…` before the first FROM"),
    "ARG TAG\nFROM $TAG\n": ("Dockerfile:2: the base `$TAG` is empty",
                             "give its variable a value: --build-arg TAG=…"),
    "FROM --platform=lunix/amd64/a/b a\n": ("Dockerfile:1: `lunix/amd64/a/b` is no platform", "as in `linux/arm64`"),
    "# syntax=my/frontend:1\nFROM a\n": ("Dockerfile:1: `my/frontend:1` is no Dockerfile front end",
                                         "expected docker/dockerfile:1, or no such line"),
    "# syntax=a/dockerfile\n# syntax=b/dockerfile\nFROM a\n": ("Dockerfile:2: the directive `syntax` stands twice",
                                                               "keep one of them"),
    "# check=skp=all\nFROM a\n": ("Dockerfile:1: `check` cannot say `skp=all`", "did you mean `skip`?"),
    "FROM a\nRUN \udcff\n": ("Dockerfile:2: the instruction is not UTF-8", "convert the file: iconv -t UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("text", BASES)
def test_bases_and_directives(text: str) -> None:
    lines = refusal(text).split("\n")
    assert (lines[0], lines[-1].removeprefix("      = ")) == BASES[text]


def test_a_comment_in_another_encoding_is_no_mistake() -> None:
    assert compiled("# caf\udce9\nFROM a\n").source["base"] == {"kind": "image", "reference": "a"}


def test_nobody_is_asked_for_a_file_that_is_wrong_anyway() -> None:
    def config_of(base: Any) -> Any:
        raise AssertionError(base)

    with pytest.raises(InvalidConfig):
        compile_text("FROM a\nNOTHING\n", name="D", context="/", config_of=config_of)


# --- checks -----------------------------------------------------------------------------------------------------------


def warnings(text: str, **options: Any) -> list[tuple[int, str, str]]:
    return [(each.line, each.rule, each.message) for each in compiled(text, **options).warnings]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a AS Build\n", [(1, "StageNameCasing", "stage name `Build` should be lowercase")]),
        ("FROM a as b\n", [(1, "FromAsCasing", "the casing of `as` and `FROM` does not match")]),
        ("from a as b\n", []),
        ("FROM a\nCMD x\n",
         [(2, "JSONArgsRecommended",
           "JSON arguments are recommended for CMD: a shell keeps signals from the process")]),
        ('FROM a\nSHELL ["/x"]\nCMD x\n', []),
        ("FROM $X\n", None),
        ("ARG TAG=a\nFROM $TAG$TAGS\n",
         [(2, "UndefinedArgInFrom", "FROM argument `TAGS` is not declared (did you mean TAG?)")]),
        ("ARG X\nFROM a$X\n", []),
        ("ARG X\nFROM ${X}\n", [(2, "InvalidDefaultArgInFrom",
                                 "the default value of the ARG in `${X}` makes an empty or invalid image name")]),
        ("FROM a\nCOPY $Y /x\n", [(2, "UndefinedVar", "usage of the undefined variable `$Y`")]),
        ("FROM a\nENV HOST=1\nCOPY $HOTS /x\n",
         [(3, "UndefinedVar", "usage of the undefined variable `$HOTS` (did you mean $HOST?)")]),
        ("FROM a\nARG Y\nCOPY $Y /x\n", []),
        ("FROM a\nWORKDIR x\nWORKDIR y\n",
         [(2, "WorkdirRelativePath", "the relative workdir `x` means another folder when the base image changes")]),
        ("FROM a\nWORKDIR /x\nWORKDIR y\n", []),
        ("FROM a\nENV API_KEY=1\nARG PUBLIC_KEY TOKEN_FILE\n",
         [(2, "SecretsUsedInArgOrEnv", "ENV should not hold sensitive data: `API_KEY`")]),
        ("FROM a\nCOPY docs/a /x\n", [(2, "CopyIgnoredFile", "`COPY` copies `docs/a`, which .dockerignore excludes")]),
    ],
)  # fmt: skip
def test_checks(text: str, found: list[tuple[int, str, str]] | None) -> None:
    options = {"ignored": lambda path: path.startswith("docs")}
    if found is None:
        with pytest.raises(InvalidConfig):
            compiled(text, build_args={"X": "b"} if "ARG" in text else {}, **options)
        return
    assert warnings(text, build_args={"X": "b"} if "${X}" in text else {}, **options) == found


def test_the_description_is_checked_where_that_is_wanted() -> None:
    text = "# other words\nARG NAME=a\nFROM $NAME\n"
    assert warnings(text) == []
    assert warnings(f"# check=experimental=all\n{text}") == [
        (3, "InvalidDefinitionDescription", "the comment above ARG should read `# NAME <description>`")
    ]


@pytest.mark.parametrize(
    "directive", ["# check=skip=StageNameCasing,FromAsCasing\n", "# check=skip=all\n", "#check = skip=all;error=true\n"]
)
def test_checks_that_are_not_wanted(directive: str) -> None:
    assert warnings(f"{directive}FROM a as B\n") == []


def test_a_comment_above_the_instruction() -> None:
    text = "# check=skip=StageNameCasing\nFROM a AS B\n# check=skip=UndefinedVar\nCOPY $X /\nFROM a AS C\n"
    assert warnings(text.replace("# check", "# x\n# check", 1)) == [
        (6, "StageNameCasing", "stage name `C` should be lowercase")
    ]


def test_warnings_may_be_errors() -> None:
    shown = refusal("# check=error=true\nFROM a as b\n")
    assert shown == (
        "Dockerfile:2: FromAsCasing: the casing of `as` and `FROM` does not match\n    2 | FROM a as b\n"
        "      = it is an error because of `check=error=true`"
    )


def test_the_build_argument_goes_before_the_directive() -> None:
    given = {"BUILDKIT_DOCKERFILE_CHECK": "skip=all"}
    assert warnings("# check=error=true\nFROM a as b\n", build_args=given) == []


def test_what_cannot_be_told_is_not_said() -> None:
    made = compile_text("FROM a\nCOPY $X /\n", name="D", context="/", config_of=lambda base: None)
    assert made.warnings == []


def test_each_check_has_its_page() -> None:
    (found,) = compiled("FROM a\nCMD x\n").warnings
    assert found.url == "https://docs.docker.com/go/dockerfile/rule/json-args-recommended/"


def test_mounts_of_stages_that_nobody_needs() -> None:
    text = """\
FROM debian AS unused
ARG kind=cache
RUN --mount=type=cahce,target=/a true
RUN --mount=type=$kind,target=/a,sharing=all true
RUN --mount=type=$kind,target=/a,mode=0$mode true
RUN --mount=type=secret,id=a,mode=9 true
RUN --mount=type=tmpfs,target=a,source=b true
FROM debian
"""
    told = refusal(text)
    assert [line.strip() for line in told.splitlines() if line.startswith("Dockerfile:")] == [
        "Dockerfile:3: `type` of a mount cannot be `cahce`",
        "Dockerfile:4: `sharing` of a mount cannot be `all`",
        "Dockerfile:6: `mode` of a mount cannot be `9`",
    ]
