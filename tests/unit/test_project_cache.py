"""`[cache]` of stackpy.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from stackpy.errors import StackFileError
from stackpy.project.settings import settings


def test_the_size_that_the_build_cache_keeps_to(tmp_path: Path) -> None:
    assert settings(str(tmp_path)).cache_keep is None
    (tmp_path / "stackpy.toml").write_text('[cache]\nkeep = "10GB"\n[env.ci.cache]\nkeep = 0\n')
    assert settings(str(tmp_path)).cache_keep == 10 << 30
    assert settings(str(tmp_path), "ci").cache_keep == 0


def test_where_build_caches_travel(tmp_path: Path) -> None:
    text = """
        cache.from = ["ci-cache", "ghcr.io/me/cache"]
        [env.ci.cache]
        to = "localhost:5000/cache"
    """
    (tmp_path / "stackpy.toml").write_text(text)
    found = settings(str(tmp_path), "ci")
    assert found.cache_from == (f"{tmp_path}/ci-cache", "docker://ghcr.io/me/cache")
    assert found.cache_to == ("docker://localhost:5000/cache",)
    assert settings(str(tmp_path)).cache_to == ()


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ('[cache]\nkeep = "much"', 2, "`cache.keep` must be a size"),
        ('[cache]\nkept = "1GB"', 2, "unknown setting `cache.kept`"),
        ("[cache]\nfrom = 3", 2, "`cache.from` must be a folder or a registry's reference, or a list of them, not 3"),
        ("[cache]\nto = ['']", 2, "`cache.to` must be a folder"),
        ('cache = "1GB"', 1, "`cache` must be a table"),
    ],
)
def test_what_is_no_size_is_refused_with_its_line(tmp_path: Path, text: str, line: int, message: str) -> None:
    (tmp_path / "stackpy.toml").write_text(text)
    with pytest.raises(StackFileError) as caught:
        settings(str(tmp_path))
    (problem,) = caught.value.problems
    assert message in problem.message
    assert problem.location is not None
    assert problem.location.line == line
