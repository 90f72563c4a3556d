"""Engines: `connect` gives the one that a command talks to."""

from __future__ import annotations

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from stackpy.engines.embedded import EmbeddedEngine
    from stackpy.engines.embedded_executions import EmbeddedExecutions

EMBEDDED = "embedded"
SYSTEM_ROOT = "/var/lib/stackpy"


def connect(
    url: str | None = None,
    root: str | None = None,
    *,
    read_only: bool = False,
    waiting: Callable[[str], None] = lambda text: None,
) -> EmbeddedEngine:
    """The engine that `url` names; nothing is started or created by this.

    url: `embedded`, which is also what None means
    root: the embedded engine's root; None: STACKPY_ROOT, else the default of this user
    read_only: nothing can be changed through it
    waiting: told in words when the engine's processes do not come up
    Raises StackpyError for an engine that does not exist, and for a root that is none.
    """
    _check(url, root)
    from stackpy.engines.embedded import EmbeddedEngine

    return EmbeddedEngine(root or default_root(), read_only=read_only, waiting=waiting)


def connect_to_execute(
    url: str | None = None, root: str | None = None, *, waiting: Callable[[str], None] = lambda text: None
) -> EmbeddedExecutions:
    """The same for processes in containers alone, which is quicker to load."""
    _check(url, root)
    from stackpy.engines.embedded_executions import EmbeddedExecutions

    return EmbeddedExecutions(root or default_root(), waiting=waiting)


def _check(url: str | None, root: str | None) -> None:
    import os

    if url not in (None, "", EMBEDDED):
        raise StackpyError(f"there is no engine `{url}`", hint=f"the engines are: {EMBEDDED}")
    if root and os.path.isfile(root):
        raise StackpyError(f"the engine root `{root}` is a file", hint="give --root, or STACKPY_ROOT, a folder")


def default_root() -> str:
    """Where the embedded engine of this user stores everything (DESIGN §6).

    Raises StackpyError for a user without an engine of their own where the host has one: an empty listing would say
    that nothing runs, and a plan that everything is to be made.
    """
    import os

    if root := os.environ.get("STACKPY_ROOT"):
        return root
    if os.geteuid() == 0:
        return SYSTEM_ROOT
    own = os.path.expanduser("~/.local/share/stackpy")
    if os.path.exists(SYSTEM_ROOT) and not os.path.exists(own):
        raise StackpyError(
            f"the engine of this host, in `{SYSTEM_ROOT}`, is root's, and this user is not root",
            hint="run it again with sudo, or give --root DIR",
        )
    return own
