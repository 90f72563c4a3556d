"""The commands and where each lives; a module is imported when its command is typed."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.cli.grammar import Command

# group → command → attribute of stackpy/cli/commands/MODULE.py
GROUPS: tuple[tuple[str, tuple[tuple[str, str, str], ...]], ...] = (
    (
        "Stacks",
        (
            ("init", "init", "COMMAND"),
            ("validate", "validate", "COMMAND"),
            ("plan", "plan", "COMMAND"),
            ("apply", "apply", "COMMAND"),
            ("show", "show", "COMMAND"),
            ("destroy", "destroy", "COMMAND"),
            ("adopt", "adopt", "COMMAND"),
            ("drift", "drift", "COMMAND"),
            ("graph", "graph", "COMMAND"),
            ("test", "test", "COMMAND"),
            ("why", "why", "COMMAND"),
            ("history", "history", "COMMAND"),
            ("rollback", "rollback", "COMMAND"),
            ("output", "output", "COMMAND"),
            ("build", "build", "COMMAND"),
            ("lock", "lock", "COMMAND"),
            ("watch", "watch", "COMMAND"),
            ("reconcile", "reconcile", "COMMAND"),
            ("ls", "ls", "COMMAND"),
        ),
    ),
    (
        "Containers",
        (
            ("ps", "ps", "COMMAND"),
            ("logs", "logs", "COMMAND"),
            ("exec", "exec", "COMMAND"),
            ("run", "run", "COMMAND"),
            ("attach", "attach", "COMMAND"),
            ("create", "create", "COMMAND"),
            ("cp", "cp", "COMMAND"),
            ("start", "start", "COMMAND"),
            ("stop", "stop", "COMMAND"),
            ("restart", "restart", "COMMAND"),
            ("kill", "kill", "COMMAND"),
            ("pause", "pause", "PAUSE"),
            ("unpause", "pause", "UNPAUSE"),
            ("rm", "rm", "COMMAND"),
            ("rename", "rename", "COMMAND"),
            ("update", "update", "COMMAND"),
            ("port", "port", "COMMAND"),
            ("top", "top", "COMMAND"),
            ("stats", "stats", "COMMAND"),
            ("wait", "wait", "COMMAND"),
            ("inspect", "inspect", "COMMAND"),
            ("events", "events", "COMMAND"),
            ("diff", "snapshot", "DIFF"),
            ("commit", "snapshot", "COMMIT"),
            ("export", "snapshot", "EXPORT"),
        ),
    ),
    (
        "Images, networks, volumes",
        (
            ("image ls", "image", "LS"),
            ("image inspect", "image", "INSPECT"),
            ("image rm", "image", "RM"),
            ("image prune", "prune", "IMAGES"),
            ("image history", "image_history", "HISTORY"),
            ("image tag", "image_history", "IMAGE_TAG"),
            ("image pull", "pull", "IMAGE_PULL"),
            ("image push", "pull", "IMAGE_PUSH"),
            ("image save", "save", "IMAGE_SAVE"),
            ("image load", "save", "IMAGE_LOAD"),
            ("image import", "snapshot", "IMAGE_IMPORT"),
            ("tag", "image_history", "TAG"),
            ("pull", "pull", "PULL"),
            ("push", "pull", "PUSH"),
            ("login", "login", "LOGIN"),
            ("logout", "login", "LOGOUT"),
            ("save", "save", "SAVE"),
            ("load", "save", "LOAD"),
            ("import", "snapshot", "IMPORT"),
            ("network ls", "network", "LS"),
            ("network inspect", "network", "INSPECT"),
            ("network create", "network_changing", "CREATE"),
            ("network connect", "network_changing", "CONNECT"),
            ("network disconnect", "network_changing", "DISCONNECT"),
            ("network rm", "network_changing", "RM"),
            ("network prune", "prune", "NETWORKS"),
            ("volume ls", "volume", "LS"),
            ("volume inspect", "volume", "INSPECT"),
            ("volume create", "volume", "CREATE"),
            ("volume rm", "volume", "RM"),
            ("volume prune", "prune", "VOLUMES"),
        ),
    ),
    (
        "Host",
        (
            ("system check", "system", "CHECK"),
            ("system info", "system", "INFO"),
            ("system df", "system", "DF"),
            ("system prune", "prune", "SYSTEM"),
            ("system install", "service", "INSTALL"),
            ("system start", "service", "START"),
            ("system stop", "service", "STOP"),
            ("builder prune", "prune", "BUILDER"),
            ("oci", "oci", "COMMAND"),
            ("completion", "completion", "COMMAND"),
            ("version", "version", "COMMAND"),
        ),
    ),
)

NAMES = tuple(name for _, rows in GROUPS for name, _, _ in rows)
NOUNS = tuple(dict.fromkeys(name.partition(" ")[0] for name in NAMES if " " in name))
VERBS = tuple(dict.fromkeys(name.partition(" ")[0] for name in NAMES))


def load(name: str) -> Command:
    """The command of that name, its module imported."""

    module, attribute = next((m, a) for _, rows in GROUPS for n, m, a in rows if n == name)
    command: Command = getattr(__import__(f"stackpy.cli.commands.{module}", fromlist=[attribute]), attribute)
    return command


def commands() -> list[tuple[str, list[Command]]]:
    """All commands by group: imports every module, for --help and completion."""
    return [(title, [load(name) for name, _, _ in rows]) for title, rows in GROUPS]
