"""`--output` of `stackpy build` as buildx reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy.cli import build_outputs
from stackpy.cli.build_outputs import Output
from stackpy.errors import UsageError


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("out", Output("local", "/out")),
        ("-", Output("tar", "-")),
        ("type=local,dest=out", Output("local", "/out")),
        ("type=tar", Output("tar", "-")),
        ("dest=out.tar,type=tar", Output("tar", "/out.tar")),
        ("type=oci,dest=-", Output("oci", "-")),
        ("type=oci,dest=x,tar=false", Output("oci", "/x", archive=False)),
        ("type=oci,dest=x,compression=uncompressed,oci-mediatypes=true", Output("oci", "/x")),
        ("type=docker", Output("docker")),
        ("type=docker,dest=x,name=a:1", Output("docker", "/x", ("a:1",))),
        ("type=image", Output("image")),
        ('type=image,"name=a:1,b:2",push=true', Output("image", "", ("a:1", "b:2"), True)),
        ("type=registry", Output("image", "", (), True)),
        ("type=registry,push=false", Output("image")),
        ("type=cacheonly", Output("cacheonly")),
    ],
)
def test_what_is_understood(place: Path, text: str, expected: Output) -> None:
    dest = expected.dest if expected.dest in ("", "-") else str(place / expected.dest.lstrip("/"))
    assert build_outputs.parse([text]) == [expected._replace(dest=dest)]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "names nothing"),
        ("type=wasm", "no type of an output"),
        ("dest=a,name=b", "no type"),
        ("type=local", "it has no dest"),
        ("type=local,dest=-", "cannot go to standard output"),
        ("type=oci,tar=false", "it has no dest"),
        ("type=docker,tar=false,dest=x", "is a tar"),
        ("type=image,dest=x", "has no dest"),
        ("type=tar,name=x", "has no name"),
        ("type=image,push=perhaps", "push=perhaps"),
        ("type=image,name=A B", "--output name=A B"),
        ("type=oci,dest=x,compression=zstd", "compression=zstd"),
        ("type=image,compression=estargz", "by gzip"),
        ("type=oci,dest=x,rewrite-timestamp=false", "clamped always"),
        ("type=local,dest=x,dest=y", "stands twice"),
        ("type=local,dest=x,nonsense", "`nonsense` is not understood"),
        ("type=tar,dest=x,annotation.a=b", "knows no `annotation.a`"),
    ],
)
def test_what_is_refused(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_outputs.parse([text])


def test_push_and_load_are_outputs() -> None:
    assert build_outputs.parse([], push=True) == [Output("image", push=True)]
    assert build_outputs.parse([], load=True) == [Output("docker")]
    assert build_outputs.parse(["type=image,name=a:1"], push=True) == [Output("image", "", ("a:1",), True)]
    assert [each.kind for each in build_outputs.parse(["out"], push=True)] == ["local", "image"]
    assert [each.kind for each in build_outputs.parse(["type=image"], load=True)] == ["image"]
    with pytest.raises(UsageError, match="both go to standard output"):
        build_outputs.parse(["-", "type=oci"])


@pytest.mark.parametrize(
    ("outputs", "given", "names"),
    [
        ([], ["a:1"], ["a:1"]),
        (["out"], ["a:1"], []),
        (["type=oci,dest=x"], ["a:1"], []),
        (["type=docker,dest=x"], ["a:1"], []),
        (["type=docker"], ["a:1"], ["a:1"]),
        (["type=image,name=b:1"], [], ["b:1"]),
        (["type=image,name=b:1"], ["a:1"], ["a:1"]),
        (["out", "type=registry,name=r.example/b"], [], ["r.example/b"]),
        (["type=cacheonly"], ["a:1"], []),
    ],
)
def test_which_names_the_store_gets(outputs: list[str], given: list[str], names: list[str]) -> None:
    assert build_outputs.tags(build_outputs.parse(outputs), given) == names


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("type=registry", "needs a name to be pushed"),
        ("file", "is no folder"),
        ("type=tar,dest=folder", "is a folder"),
        ("type=tar,dest=none/x.tar", "there is no folder"),
    ],
)
def test_what_could_not_be_written_is_refused_before_the_build(text: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        build_outputs.check(build_outputs.parse([text]), [])
