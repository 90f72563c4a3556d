"""Dockerfiles as people write them: read as the official parser reads them, and compiled."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import dockerfile as official
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stackpy_runtime.dockerfile import compile as compile_text
from stackpy_runtime.dockerfile import instructions, lines
from stackpy_runtime.dockerfile.problems import Problems
from stackpy_runtime.dockerfile.words import BadSyntax
from stackpy_runtime.errors import InvalidConfig

CORPUS = sorted(path.parent for path in (Path(__file__).parents[1] / "dockerfiles").glob("*/Dockerfile"))
NAMES = [folder.name for folder in CORPUS]


def ours(text: str) -> list[tuple[Any, ...]]:
    """What the official parser's Command holds, by our reader; raises BadSyntax, InvalidConfig."""
    problems = Problems("Dockerfile", text)
    file = lines.read(text, problems)
    problems.refuse()
    found = []
    for line in file.lines:
        made = instructions.parse(line, file.escape)
        inner, args, json, flags = "", made.args, made.json, line.flags
        if made.kind == "onbuild":
            below = line.rest.split(maxsplit=1)
            inner, args = below[0].upper(), below[1:]
        elif made.pairs:
            args = [part for pair in made.pairs for part in (pair.name, pair.value)]
        heredocs = [(each.name, each.content) for each in line.heredocs]
        found.append((line.kind, inner, json, tuple(flags), tuple(args), line.first, line.last, heredocs))
    return found


def theirs(text: str) -> list[tuple[Any, ...]]:
    return [
        (
            each.cmd.lower(),
            (each.sub_cmd or "").upper(),
            each.json,
            each.flags,
            (each.value[0].upper(), *each.value[1:]) if each.cmd.lower() == "healthcheck" else each.value,
            each.start_line,
            each.end_line,
            [(heredoc.name, heredoc.content) for heredoc in each.heredocs],
        )
        for each in official.parse_string(text)
    ]


def without_triggers(found: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """ONBUILD keeps its line as it is here, and is parsed there: only that it is one is compared."""
    return [(*one[:2], *one[5:7]) if one[0] == "onbuild" else one for one in found]


def test_there_are_enough() -> None:
    assert len(CORPUS) >= 20


@pytest.mark.parametrize("folder", CORPUS, ids=NAMES)
def test_as_the_official_parser(folder: Path) -> None:
    text = (folder / "Dockerfile").read_text()
    assert without_triggers(ours(text)) == without_triggers(theirs(text))


@pytest.mark.parametrize("folder", CORPUS, ids=NAMES)
def test_compiles_with_these_warnings(folder: Path) -> None:
    text = (folder / "Dockerfile").read_text()
    contexts = dict.fromkeys(["shared"], str(folder)) if "from=shared" in text else {}
    made = compile_text(
        text,
        name="Dockerfile",
        context=str(folder),
        contexts=contexts,
        config_of=lambda base: {"Env": ["PATH=/usr/bin:/bin", "HOME=/root"]},
        every=True,
    )
    expected = folder / "warnings"
    found = "".join(f"{line}\n" for line in sorted(f"{each.rule} {each.line}" for each in made.warnings))
    assert found == (expected.read_text() if expected.exists() else "")
    assert made.source["steps"] or made.source.get("stages")


ODD = {
    "empty lines and comments inside": "RUN a \\\n# c\n\n  # d\n   b \\\n\n\nRUN c\n",
    "the continuation at the end of the file": "RUN a \\",
    "two escapes are no continuation": "RUN a \\\\\nRUN b\n",
    "spaces behind a continuation": "RUN a \\  \n b\n",
    "nothing but a continuation": "\\\nRUN a\n",
    "carriage returns": "FROM a\r\nRUN b \\\r\n c\r\n",
    "a byte order mark": "\ufeffFROM a\n",
    "indented": "   FROM a\n\t RUN b\n",
    "tabs between words": "FROM\ta\tAS\tb\nCOPY a\t\tb\n",
    "escape directive": "# escape=`\nRUN a `\n b\nCOPY c:\\ d\n",
    "directives after a comment are comments": "# no\n# escape=`\nRUN a \\\n b\n",
    "spaces in directives": "#  escape  =  `  \nRUN a `\n b\n",
    "JSON that is none": "CMD [a, b]\nRUN ['x']\nENTRYPOINT [\"a\"\nVOLUME [x y]\n",
    "JSON with spaces": 'CMD   [ "a" , "b c\\u00e9" ]  \nRUN ["\\ud83d\\ude00", ""]\n',
    "an empty JSON array": "CMD []\nENTRYPOINT [ ]\n",
    "flags in quotes": "COPY --chown=\"a b\" --from='x' c d\nRUN --mount=type=cache,target=/a\\ b x\n",
    "the end of flags": "RUN -- --mount=x\nRUN --network=none -- y\n",
    "pairs": 'ENV a=b c="d e" f=\'g h\' i=j\\ k l=\nLABEL "a b"=c d="e\\"f"\nENV x  y  z \nARG a b=c "d=e f"\n',
    "a hash in a command": "RUN echo # no comment\nRUN a && \\\n# comment\n b # c\n",
    "heredocs": "RUN <<A\na\n b\nA\nCOPY <<-B <<'C D' <<\"E\" /x\n\tb\n\tB\nc\nC D\n# e\nE\nRUN x\n",
    "no heredocs": "RUN echo '<<A' a<<b<<c\nRUN [\"<<A\"]\nENV x=<<A\nRUN a<< b\n",
    "a heredoc with a descriptor": "RUN 5<<A cat <&5\n\\\n# b\n\nA\nRUN c\n",
    "a heredoc behind a continuation": "RUN a \\\n <<A\nb\nA\n",
    "a trigger with a heredoc": "ONBUILD COPY <<A /a\nb\nA\n",
    "health": 'HEALTHCHECK NONE\nhealthcheck --retries=3 cmd  ["a"]\nHEALTHCHECK CMD a  b\n',
    "words that only look like keywords": "RUN FROM x\nCMD RUN y\n",
    "other spaces": "RUN a\u00a0b\nENV a=b\u2003c=d\n",
}


@pytest.mark.parametrize("name", ODD)
def test_odd_ones_as_the_official_parser(name: str) -> None:
    assert without_triggers(ours(ODD[name])) == without_triggers(theirs(ODD[name]))


PIECES = [
    *"FROM RUN COPY ADD ENV LABEL ARG CMD ENTRYPOINT SHELL ONBUILD HEALTHCHECK EXPOSE VOLUME USER WORKDIR".split(),
    *"STOPSIGNAL a b a=b a= =b AS as NONE --from=a --x --mount=type=cache,target=/a -- [ ] \" ' , \\ ` $ ${ }".split(),
    *": / . # << <<A <<-A <<'A' A 1 é [\"a\"] ${a:-b} ${a#b}".split(),
    *(" ", "  ", "\t", "\r", "\n", "\n", "\\\n", "\nA\n", "# escape=`\n", "# check=skip=all\n", '["a", "b"]'),
]
STRANGE = [*PIECES, "\x00", "\x85", "\u2028", "\ufeff", "\udcff", "\ud800"]


@settings(max_examples=300)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_any_text_is_read_as_the_official_parser_reads_it_or_refused(text: str) -> None:
    try:
        made = without_triggers(ours(text))
    except (BadSyntax, InvalidConfig):
        return
    # The official parser refuses a file without instructions, which is found later here; the one that is bound takes an
    # array with more behind it for JSON, which later ones do not.
    if made and not re.search(r"\][ \t]*[^ \t\n]", text):
        assert made == without_triggers(theirs(text))


@settings(max_examples=300)
@given(st.lists(st.sampled_from(STRANGE), max_size=30).map("".join))
def test_any_text_is_compiled_or_refused(text: str) -> None:
    try:
        compile_text(f"FROM a\n{text}", name="D", context="/c", config_of=lambda base: None, every=True)
    except InvalidConfig as error:
        assert str(error)
    try:
        compile_text(text, name="D", context="/c", config_of=lambda base: {}, build_args={"a": "b"})
    except InvalidConfig as error:
        assert str(error)


NAME = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"], exclude_characters="'\"\\$`#<="), min_size=1)
# What begins with two dashes is a flag of the instruction, to BuildKit as to us, and refused as one.
NAME = NAME.filter(lambda name: not name.startswith("--"))
VALUE = st.text(st.characters(codec="utf-8", exclude_categories=["C"]))


@given(st.dictionaries(NAME, VALUE, min_size=1, max_size=4))
def test_quoted_values_come_back(values: dict[str, str]) -> None:
    quoted = {name: re.sub(r'([\\"$])', r"\\\1", value) for name, value in values.items()}
    listed = " ".join(f'{name}="{value}"' for name, value in quoted.items())
    made = compile_text(f"FROM scratch\nLABEL {listed}\n", name="D", context="/c", config_of=lambda base: None)
    assert made.source["steps"][0]["values"] == values


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=4))
def test_exec_forms_come_back(argv: list[str]) -> None:
    text = f"FROM a\nRUN {json.dumps(argv)}\nCMD {json.dumps(argv, ensure_ascii=True)}\n"
    made = compile_text(text, name="D", context="/c", config_of=lambda base: None)
    assert [step["argv"] for step in made.source["steps"]] == [argv, argv]
