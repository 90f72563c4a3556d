"""The tables, and how a database of an older version becomes one of this version.

Each entry of MIGRATIONS raises the version by one; entries are never edited once released, only added. Documents are
JSON columns as in model.py; what is searched or must be unique has a column of its own.
"""

from __future__ import annotations

import time

from stackpy_runtime.errors import EngineError
from stackpy_runtime.store.sqlite import sqlite3

_FIRST = """
CREATE TABLE containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, stack TEXT NOT NULL, image TEXT NOT NULL, created TEXT NOT NULL,
    config TEXT NOT NULL, state TEXT NOT NULL, networks TEXT NOT NULL
);
CREATE INDEX containers_stack ON containers (stack);
CREATE INDEX containers_image ON containers (image);
CREATE TABLE networks (id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, document TEXT NOT NULL);
CREATE TABLE addresses (
    network TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE, address INTEGER NOT NULL,
    container TEXT NOT NULL, PRIMARY KEY (network, address), UNIQUE (network, container)
) WITHOUT ROWID;
CREATE INDEX addresses_container ON addresses (container);
CREATE TABLE volumes (name TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE secrets (name TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE images (id TEXT PRIMARY KEY, document TEXT NOT NULL);
CREATE TABLE tags (reference TEXT PRIMARY KEY, image TEXT NOT NULL REFERENCES images (id) ON DELETE CASCADE);
CREATE INDEX tags_image ON tags (image);
CREATE TABLE steps (id TEXT PRIMARY KEY, layer TEXT NOT NULL, payload TEXT NOT NULL);
CREATE INDEX steps_layer ON steps (layer);
CREATE TABLE recipes (key TEXT PRIMARY KEY, document TEXT NOT NULL);
"""

MIGRATIONS: tuple[str, ...] = (_FIRST,)
VERSION = len(MIGRATIONS)


def prepare(connection: sqlite3.Connection, path: str, migrations: tuple[str, ...] = MIGRATIONS) -> None:
    """Brings the database to the version of `migrations`; one read, and nothing else, when it is there already.

    Raises EngineError for a database that a newer program has written.
    """
    version = _version(connection, path, len(migrations))
    if version == len(migrations):
        return
    _set_journal(connection)
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Another process may have done it while this one waited for the lock.
        version = _version(connection, path, len(migrations))
        for script in migrations[version:]:
            # executescript would commit first, and a crash would leave half of the tables.
            for statement in script.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.execute("ROLLBACK")
        raise


def _set_journal(connection: sqlite3.Connection) -> None:
    """WAL is a property of the file, and cannot be set inside a transaction.

    SQLite does not wait for other processes here, whatever the busy timeout: two that create a root at once meet.
    """
    deadline = time.monotonic() + 10.0
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.005)


def _version(connection: sqlite3.Connection, path: str, newest: int) -> int:
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > newest:
        raise EngineError(
            f"`{path}` has schema version {version}, and this program knows versions up to {newest}",
            hint="a newer stackpy has written it: upgrade stackpy, or give --root DIR another folder",
        )
    return version
