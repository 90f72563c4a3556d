"""Connections to the index: one per thread, opened when first used.

sqlite3 is used as it is, without a layer of objects above it: `stackpy plan` with nothing to change opens the index,
reads three tables and ends, and each import more would be seen.
"""

from __future__ import annotations

import os
from _thread import RLock, _local, allocate_lock

from stackpy_runtime import json_text
from stackpy_runtime.errors import Conflict, Denied, EngineError
from stackpy_runtime.store.root import Root
from stackpy_runtime.store.schema import prepare
from stackpy_runtime.store.sqlite import sqlite3

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any, TypeVar

    Row = tuple[Any, ...]
    T = TypeVar("T")

# How long a writer waits for another process's transaction; ours take a millisecond, so whoever waits this long waits
# for a process that was stopped in the middle of one.
BUSY_SECONDS = 30.0


class _Held:
    """A thread's connection; the thread's end, which is this object's, leaves it to another thread."""

    def __init__(self, connection: sqlite3.Connection, left: list[sqlite3.Connection]) -> None:
        self.connection, self.process, self._left = connection, os.getpid(), left

    def __del__(self) -> None:
        (self._left if self.process == os.getpid() else _parents).append(self.connection)


class _Local(_local):
    held: _Held | None = None


# A forked child must neither use nor close its parent's connections: closing one would drop locks and could remove the
# write-ahead log beneath the parent (sqlite.org/howtocorrupt.html, 2.6). Here they stay referenced, and so unclosed.
_parents: list[sqlite3.Connection] = []


class Database:
    """The SQLite file of one root."""

    def __init__(self, root: Root | str, *, create: bool = False, read_only: bool = False) -> None:
        self.read_only = read_only
        self.root = Root(root) if isinstance(root, str) else root
        self._local = _Local()
        self._open: list[sqlite3.Connection] = []
        # The supervisor has a thread for each request: the connections of those that have ended.
        self._left: list[sqlite3.Connection] = []
        self._open_process = os.getpid()
        self._lock = RLock()
        # Threads of one process wait for each other here: SQLite's own waiting sleeps for milliseconds at a time.
        self._writing = allocate_lock()
        if create:
            self.root.create()
            self._connection(create=True)

    def close(self) -> None:
        """Closes the connections of all threads; the store may be used again afterwards."""
        with self._lock:
            connections, self._open, self._left = self._open, [], []
            if self._open_process != os.getpid():
                _parents.extend(connections)
                connections = []
        for connection in connections:
            connection.close()
        self._local = _Local()

    def _connection(self, *, create: bool = False) -> sqlite3.Connection | None:
        """This thread's connection; None while the root has no database."""
        held = self._local.held
        if held is not None and held.process == os.getpid():
            return held.connection
        connection = self._taken_over()
        if connection is None:
            path = self.root.database
            try:
                connection = self._connect(path, create)
            except sqlite3.Error as error:
                if not create and not _may_exist(path):
                    return None
                connection = self._once_more(path, error)
            if self.read_only:
                connection.execute("PRAGMA query_only = ON")  # SQLite itself refuses every change from here on
            with self._lock:
                self._open.append(connection)
        self._local.held = _Held(connection, self._left)
        return connection

    def _once_more(self, path: str, error: sqlite3.Error) -> sqlite3.Connection:
        """The connection where another thread or process has made the file since; raises what `error` means."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CANTOPEN:
            raise _translated(error, path) from None
        try:
            return self._connect(path, False)
        except sqlite3.Error as again:
            raise _translated(again, path) from None

    def _taken_over(self) -> sqlite3.Connection | None:
        """The connection of a thread that has ended."""
        with self._lock:
            if self._open_process != os.getpid():
                _parents.extend(self._open)
                self._open, self._left, self._open_process = [], [], os.getpid()
            return self._left.pop() if self._left else None

    @staticmethod
    def _connect(path: str, create: bool) -> sqlite3.Connection:
        # mode=rw even for reading: a read-only connection would leave the log's files behind when it is the last one.
        # The path is a URI here, so what has a meaning in one is escaped.
        quoted = path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")
        connection = sqlite3.connect(
            f"file:{quoted}?mode={'rwc' if create else 'rw'}",
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,
            # close() may be called by another thread than the one that opened; no two use it at once.
            check_same_thread=False,
        )
        try:
            if create:
                os.chmod(path, 0o600)
            prepare(connection, path)
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
        except BaseException:
            connection.close()
            raise
        return connection

    def rows(self, statement: str, arguments: Sequence[object] = ()) -> list[Row]:
        """All rows of a query; none where the root does not exist."""
        connection = self._connection()
        if connection is None:
            return []
        try:
            return connection.execute(statement, arguments).fetchall()
        except UnicodeEncodeError:
            # Bytes of the command line that are no UTF-8 arrive as surrogates: no object has such a name.
            return []
        except sqlite3.Error as error:
            raise _translated(error, self.root.database) from None

    def row(self, statement: str, arguments: Sequence[object] = ()) -> Row | None:
        """The first row of a query."""
        found = self.rows(statement, arguments)
        return found[0] if found else None

    def change(self, statement: str, arguments: Sequence[object] = ()) -> int:
        """One statement that writes, in a transaction of its own; returns how many rows it touched."""
        return self.transaction(lambda connection: connection.execute(statement, arguments).rowcount)

    def change_many(self, statement: str, arguments: Iterable[Sequence[object]]) -> None:
        """One statement for many rows, in one transaction."""
        self.transaction(lambda connection: connection.executemany(statement, arguments))

    def transaction(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Runs `work` with the write lock held: all of what it does is kept, or nothing where it raises.

        Raises Conflict when another process keeps the lock for longer than BUSY_SECONDS.
        """
        connection = self._connection()
        if connection is None:
            raise EngineError(f"there is no engine root at `{self.root.path}`", hint="stackpy apply creates it")
        self._writing.acquire()
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
                connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after a full disk or an I/O error.
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except UnicodeEncodeError:
            raise EngineError("a name or an ID is not UTF-8 text") from None
        except sqlite3.Error as error:
            raise _translated(error, self.root.database) from None
        finally:
            self._writing.release()
        return result


def encode(document: object) -> str:
    """A document as the store's text; keeps the order of keys."""
    return json_text.dumps(document)


def decode(text: str) -> Any:
    """The document of a column."""
    return json_text.loads(text)


def _may_exist(path: str) -> bool:
    """Whether the file is there, or may be and the caller is not allowed to see it."""
    try:
        os.stat(path)
    except PermissionError:
        return True
    except OSError:
        return False
    return True


def _translated(error: sqlite3.Error, path: str) -> EngineError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Conflict(
            f"`{path}` is locked by another process", hint=f"`fuser -v {path}` shows it; it may have been stopped"
        )
    if code == sqlite3.SQLITE_FULL:
        return EngineError(f"cannot write `{path}`: no space left on the device", hint="free some space and try again")
    if code == sqlite3.SQLITE_NOTADB or code == sqlite3.SQLITE_CORRUPT:
        return EngineError(f"`{path}` is damaged: {error}", hint="move it away: images and containers are made again")
    if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM) and os.geteuid():
        return Denied(f"cannot open `{path}`: permission denied", hint="run it with sudo, or give --root DIR")
    return EngineError(f"`{path}`: {error}")
