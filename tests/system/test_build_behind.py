"""What a COPY makes behind the merged view is what it would have made through it, to the last attribute."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from stackpy_runtime.build.merged import Merged
from stackpy_runtime.model import ImageSource
from tests.build_lab import Builder, copy, inline, of_stage, run, source
from tests.layer_trees import everything

pytestmark = pytest.mark.root

HOST: Any = {"kind": "host", "programs": ["sh", "mkdir", "ln", "rm", "chmod"]}


@pytest.fixture
def context(tmp_path: Path) -> Path:
    folder = tmp_path / "context"
    for place in ("tree/new/deep", "tree/there/below", "tree/setgid", "tree/linked", "tree/gone", "more/new"):
        (folder / place).mkdir(parents=True)
        (folder / place / "file").write_text(place)
    (folder / "tree" / "setgid").chmod(0o2755)
    (folder / "tree" / "new").chmod(0o700)
    (folder / "tree" / "new" / "link").symlink_to("deep/file")
    (folder / "tree" / "new" / "empty").touch(0o000)
    for name, mode in (("set", 0o6755), ("open", 0o666), ("closed", 0o400)):
        (folder / "tree" / "new" / "deep" / name).write_text(name)
        (folder / "tree" / "new" / "deep" / name).chmod(mode)
    for path in sorted(folder.rglob("*"), reverse=True):
        os.utime(path, ns=(1, 1_000_000_007 * len(path.name)), follow_symlinks=False)
    return folder


def prepared() -> Any:
    """What is there already: folders, a link to one, one that was removed, one whose files get its group."""
    return run(
        "umask 022; mkdir -p /app/there /app/elsewhere /app/gone /shared; ln -s elsewhere /app/linked; ln -s /app /way;"
        " chmod 2777 /shared; rm -r /app/gone; chmod 2775 /app/there"
    )


def cases(context: Path) -> dict[str, ImageSource]:
    with_owner = {"chown": "7:8", "chmod": "u=rwX,g=rX,o="}
    return {
        "into a folder": source(prepared(), copy(context, "tree", "/app/"), base=HOST),
        "through a link": source(prepared(), copy(context, "tree/", "/way/x/y/", **with_owner), base=HOST),
        "to a new folder": source(prepared(), copy(context, "tree", "/shared/made"), base=HOST),
        "two into one": source(prepared(), copy(context, "tree", "more", "/new/"), base=HOST),
        "linked": source(prepared(), copy(context, "tree", "/app/", link=True), base=HOST),
        "with a file": source(prepared(), copy(context, "tree", "/new/", inline=[inline("new/empty", "x")]), base=HOST),
        "from a stage": {
            **source(prepared(), of_stage("made", "/app", "/copied/", line=9), base=HOST),
            "stages": {"made": source(prepared(), copy(context, "tree", "/app/"), base=HOST)},
        },
    }


def steady(seen: tuple[Any, ...]) -> tuple[Any, ...]:
    """What of a file's appearance does not depend on when and where it was made."""
    *kind, time, device, attributes, content = seen[:9]
    handles = ("trusted.overlay.origin", "trusted.overlay.uuid")
    named = {key: b"" if key in handles else value for key, value in attributes.items()}
    return (*kind, time if time < 10**15 else "of the build", device, named, content, *seen[9:])


@pytest.mark.parametrize("case", sorted(cases(Path("/"))))
def test_a_layer_is_the_same_behind_the_view_and_through_it(
    case: str, tmp_path: Path, context: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, used = [], []
    real = Merged.behind
    monkeypatch.setattr(Merged, "behind", lambda view, folder: used.append(real(view, folder)) or used[-1])
    for name, mask in (("behind", 0o077), ("through", 0o022)):  # whose umask it is does not count either
        builder = Builder(tmp_path / name)
        before = os.umask(mask)
        built = builder.build(cases(context)[case])
        os.umask(before)
        layer = os.open(builder.folders(built)[-1], os.O_RDONLY)
        found.append({path: steady(each) for path, each in everything(layer).items()})
        os.close(layer)
        monkeypatch.setattr(Merged, "behind", lambda view, folder: -1)
    assert found[0] == found[1]
    assert any("file" in path for path in found[0])
    # With --link there is no view but the folder itself; and what several sources may meet in is made through it.
    assert all(behind >= 0 for behind in used) or case == "linked"
    assert bool(used) == (case not in ("two into one", "with a file"))


def test_what_stands_behind_a_folder_is_not_guessed(tmp_path: Path) -> None:
    lower, staged = tmp_path / "lower", tmp_path / "staged"
    for folder in (lower, staged / "upper", staged / "work"):
        folder.mkdir(parents=True)
    with Merged([str(lower)], str(staged)) as view:
        os.mkdir("new", dir_fd=view.root)
        made = os.open("new", os.O_RDONLY, dir_fd=view.root)
        behind = view.behind(made)
        os.mkdir("inside", dir_fd=behind)
        assert (staged / "upper/new/inside").is_dir()
        # A folder of another mount at the same path, such as a kernel might name that tells paths otherwise.
        other = os.open(tmp_path, os.O_RDONLY)
        (staged / "upper" / str(tmp_path).lstrip("/")).mkdir(parents=True)
        assert view.behind(other) == -1
        for descriptor in (made, behind, other):
            os.close(descriptor)
