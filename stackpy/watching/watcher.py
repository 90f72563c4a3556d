"""Threads that wait for changes of files. The only module that knows watchfiles, whose import costs 35 ms and more.

Its notifier is used as it is, since `watchfiles.watch` begins to look at the first `next`, when a change may have been
missed already, and since its filter ignores every change below a folder called `.venv` or `.git`, whoever lives there.
"""

from __future__ import annotations

import os
import threading

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from stackpy.watching.places import Places

    Identities = dict[str, tuple[int, int]]

DEBOUNCE = 400  # ms: an editor's save is several events, a git checkout thousands
QUIET = 40  # ms without another event end a burst
CHECK = 1000  # ms between looks whether the watched folders are still the same ones


class Watcher:
    """Calls `changed` with the paths that changed, from threads of its own, until it is closed.

    Nothing that happens after the constructor has returned is missed.

    changed: gets paths that concern the stack; an empty set means that a watched folder itself was replaced
    Raises StackpyError when the kernel's limits do not allow it; FileNotFoundError when a folder is gone already.
    """

    def __init__(self, places: Places, changed: Callable[[frozenset[str]], None]) -> None:
        from watchfiles._rust_notify import RustNotify, WatchfilesRustInternalError

        self.places, self._changed = places, changed
        self._stop = threading.Event()
        self._threads = []
        try:
            notifiers = [
                (RustNotify(sorted(folders), False, False, 300, deep, True), _identities(sorted(folders)))
                for folders, deep in ((places.flat, False), (places.deep, True))
                if folders
            ]
            # that unreadable folders are passed over makes the notifier pass over missing ones too
            for folder in (*places.flat, *places.deep):
                os.stat(folder)
        except FileNotFoundError:
            raise
        except (OSError, WatchfilesRustInternalError) as error:
            raise StackpyError(
                f"the files of the stack cannot be watched: {str(error).lower()}",
                hint="raise the limits: sysctl fs.inotify.max_user_watches=524288 fs.inotify.max_user_instances=512",
            ) from None
        for notifier, identities in notifiers:
            thread = threading.Thread(target=self._watch, args=(notifier, identities), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Stops watching."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, notifier: Any, identities: Identities) -> None:
        with notifier:
            while True:
                found = notifier.watch(DEBOUNCE, QUIET, CHECK, self._stop)
                if found == "stop":
                    return
                if isinstance(found, set):
                    paths = frozenset(path for _, path in found if self.places.concern(path))
                    if paths:
                        self._changed(paths)
                if _identities(list(identities)) != identities:
                    break
        self._changed(frozenset())


def _identities(folders: list[str]) -> Identities:
    found = {}
    for folder in folders:
        try:
            status = os.stat(folder)
            found[folder] = (status.st_dev, status.st_ino)
        except OSError:
            found[folder] = (0, 0)  # gone, which differs from what it was
    return found
