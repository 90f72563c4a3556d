"""The schema: made whole or not at all, brought up to date, refused when it is newer."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from stackpy_runtime.errors import EngineError
from stackpy_runtime.store import schema
from stackpy_runtime.store.store import Store

RUNTIME = Path(__file__).parents[2] / "runtime"


def test_a_new_database_is_private_and_logs_ahead(tmp_path: Path) -> None:
    store = Store(str(tmp_path / "root"), create=True)
    store.put_recipe("a", {"id": "1", "steps": []})
    files = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "root").iterdir()}
    assert files == {
        "state.db": "0o600", "state.db-wal": "0o600", "state.db-shm": "0o600",
        **dict.fromkeys("blobs layers staging containers volumes secrets run stacks locks".split(), "0o700"),
    }  # fmt: skip
    assert oct((tmp_path / "root").stat().st_mode & 0o777) == "0o711"
    assert store.row("PRAGMA journal_mode") == ("wal",)
    assert store.row("PRAGMA user_version") == (schema.VERSION,)
    store.close()


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    newer = schema.VERSION + 1
    store = Store(str(tmp_path), create=True)
    store.change(f"PRAGMA user_version = {newer}")
    store.close()
    for create in (False, True):
        with pytest.raises(EngineError) as caught:
            Store(str(tmp_path), create=create).images()
        assert (str(caught.value), caught.value.hint) == (
            f"`{tmp_path}/state.db` has schema version {newer}, and this program knows versions up to {newer - 1}",
            "a newer stackpy has written it: upgrade stackpy, or give --root DIR another folder",
        )


def test_an_older_database_is_brought_up_to_date_once(tmp_path: Path) -> None:
    migrations = (
        "CREATE TABLE a (x); INSERT INTO a VALUES (1)",
        "ALTER TABLE a ADD COLUMN y DEFAULT 2; CREATE TABLE b (z)",
    )
    path = str(tmp_path / "db")
    connection = sqlite3.connect(path, isolation_level=None)
    schema.prepare(connection, path, migrations[:1])
    schema.prepare(connection, path, migrations)
    schema.prepare(connection, path, migrations)
    assert connection.execute("SELECT * FROM a").fetchall() == [(1, 2)]
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    connection.close()


def test_a_migration_that_fails_leaves_everything_as_it_was(tmp_path: Path) -> None:
    path = str(tmp_path / "db")
    connection = sqlite3.connect(path, isolation_level=None)
    schema.prepare(connection, path, ("CREATE TABLE a (x)",))
    with pytest.raises(sqlite3.OperationalError):
        schema.prepare(connection, path, ("CREATE TABLE a (x)", "CREATE TABLE b (x); DROP TABLE nonsense"))
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()


@pytest.mark.parametrize(
    "content", [b"not a database at all, but long enough to be read", b"SQLite format 3\0" + b"x" * 4096]
)
def test_a_damaged_database_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "state.db").write_bytes(content)
    with pytest.raises(EngineError) as caught:
        Store(str(tmp_path)).images()
    assert str(caught.value).startswith(f"`{tmp_path}/state.db`")
    assert (tmp_path / "state.db").read_bytes() == content


def test_a_root_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    root.chmod(0o777)
    with pytest.raises(EngineError) as caught:
        Store(str(root), create=True)
    assert (str(caught.value), caught.value.hint) == (f"others may write to `{root}`", f"chmod go-w {root}")


@pytest.mark.parametrize("name", ["a b", "a?b", "a#b", "a%20b", "ä", "a'b", "file:x"])
def test_any_path_can_be_a_root(tmp_path: Path, name: str) -> None:
    store = Store(str(tmp_path / name), create=True)
    store.put_recipe("a", {"id": "1", "steps": []})
    store.close()
    assert Store(str(tmp_path / name)).recipe("a") == {"id": "1", "steps": []}
    assert [path.name for path in tmp_path.iterdir()] == [name]


# What sqlite3, json, threading and typing bring along; os and its parts are there in every Python.
ALLOWED = frozenset(
    "__future__ collections contextlib copyreg datetime enum functools genericpath itertools json keyword math "
    "operator os posixpath re reprlib sqlite3 stat threading time types typing warnings".split()
)


def test_opening_to_read_imports_little() -> None:
    """The list of what a plan pays for the store; a longer one needs a reason."""
    code = (
        f"import sys; sys.path.insert(0, {str(RUNTIME)!r}); before = set(sys.modules)\n"
        "from stackpy_runtime.store.store import Store\n"
        "Store('/nonexistent').images()\n"
        "print(*{name.partition('.')[0] for name in set(sys.modules) - before})"
    )
    command = [sys.executable, "-S", "-E", "-c", code]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = {name for name in output.split() if not name.startswith("_") or name == "__future__"}
    assert found - ALLOWED - {"stackpy_runtime", "encodings"} == set()


def test_the_root_reads_empty_where_a_part_of_its_path_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert Store(str(tmp_path / "file" / "root")).images() == []
