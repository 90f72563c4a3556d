"""Connections to the index: each statement and each transaction borrows one, opened when none is free.

sqlite3 is used as it is, without a layer of objects above it: `stackpy plan` with nothing to change opens the index,
reads three tables and ends, and each import more would be seen.
"""

from __future__ import annotations

import os
from _thread import allocate_lock

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


# A forked child must neither use nor close its parent's connections: closing one would drop locks and could remove the
# write-ahead log beneath the parent (sqlite.org/howtocorrupt.html, 2.6). Here they stay referenced, and so unclosed.
_parents: list[_Pool] = []


class _Pool:
    """The connections of one process. free: those that nobody uses at the moment"""

    def __init__(self) -> None:
        self.free: list[sqlite3.Connection] = []
        self.process, self.closed = os.getpid(), False


class Database:
    """The SQLite file of one root."""

    def __init__(self, root: Root | str, *, create: bool = False, read_only: bool = False) -> None:
        self.read_only = read_only
        self.root = Root(root) if isinstance(root, str) else root
        self._pool = _Pool()
        self._lock = allocate_lock()
        # Threads of one process wait for each other here: SQLite's own waiting sleeps for milliseconds at a time.
        self._writing = allocate_lock()
        if create:
            self.root.create()
            self._give_back(*self._borrow(create=True))

    def close(self) -> None:
        """Closes the connections, each as soon as nobody uses it; the store may be used again afterwards."""
        with self._lock:
            pool, self._pool = self._pool, _Pool()
            pool.closed = True
        if pool.process != os.getpid():
            _parents.append(pool)
            return
        while pool.free:
            pool.free.pop().close()

    def _borrow(self, *, create: bool = False) -> tuple[_Pool, sqlite3.Connection | None]:
        """A connection that nobody else uses, and where it is to be given back; none while there is no database.

        One for each thread would have every thread open its own, 0.3 ms for what is mostly a single statement.
        """
        pool = self._pool
        if pool.process != os.getpid():
            with self._lock:
                _parents.append(pool)
                pool = self._pool = _Pool()
        try:
            return pool, pool.free.pop()
        except IndexError:
            pass
        path = self.root.database
        try:
            connection = self._connect(path, create)
        except sqlite3.Error as error:
            if not create and not _may_exist(path):
                return pool, None
            connection = self._once_more(path, error)
        if self.read_only:
            connection.execute("PRAGMA query_only = ON")  # SQLite itself refuses every change from here on
        return pool, connection

    def _give_back(self, pool: _Pool, connection: sqlite3.Connection | None) -> None:
        if connection is None:
            return
        with self._lock:
            if not pool.closed:
                pool.free.append(connection)
                return
        connection.close()

    def _once_more(self, path: str, error: sqlite3.Error) -> sqlite3.Connection:
        """The connection where another thread or process has made the file since; raises what `error` means."""
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CANTOPEN:
            raise _translated(error, path) from None
        try:
            return self._connect(path, False)
        except sqlite3.Error as again:
            raise _translated(again, path) from None

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

    def meant(self, wanted: str, statement: str) -> str:
        """The beginning of a hint: the name that was probably meant, among those that a query finds; "" for none."""
        # Only on the way to an error: difflib costs 5 ms.
        import difflib

        names = [str(name) for (name,) in self.rows(statement)]
        # what a stack calls `data` is `shop_data` here, and its image `web` is `shop/web:latest`
        own = [name for name in names if name.partition(":")[0].endswith((f"_{wanted}", f"/{wanted}"))]
        found = own or difflib.get_close_matches(wanted, names, n=1)
        return f"did you mean `{found[0]}`? " if found else ""

    def rows(self, statement: str, arguments: Sequence[object] = ()) -> list[Row]:
        """All rows of a query; none where the root does not exist."""
        pool, connection = self._borrow()
        if connection is None:
            return []
        try:
            return connection.execute(statement, arguments).fetchall()
        except UnicodeEncodeError:
            # Bytes of the command line that are no UTF-8 arrive as surrogates: no object has such a name.
            return []
        except sqlite3.Error as error:
            raise _translated(error, self.root.database) from None
        finally:
            self._give_back(pool, connection)

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
        pool, connection = self._borrow()
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
            self._give_back(pool, connection)
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
