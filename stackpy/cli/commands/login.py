"""stackpy login, logout."""

from __future__ import annotations

import sys

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

HUB = "docker.io"


def login(context: Context, arguments: Any) -> int:
    """Asks the registry whether it takes a user and a password, and keeps them as docker does."""
    registry = _registry(arguments.server)
    username = arguments.username or ""
    if arguments.password_stdin:
        if not username:
            raise UsageError("`--password-stdin` needs `--username`")
        if arguments.password:
            raise UsageError("`--password` and `--password-stdin` contradict each other")
        password = sys.stdin.read().rstrip("\r\n")
    else:
        if arguments.password:
            terminal.note("warning: others can read a password on the command line; use --password-stdin")
        password = arguments.password or ""
        if not (username and password) and not sys.stdin.isatty():
            raise StackpyError(
                "there is no terminal to ask for the password on",
                hint="`--username NAME --password-stdin`, with the password on standard input",
            )
        username = username or _asked("Username: ")
        if not password:
            from getpass import getpass

            password = getpass("Password: ", sys.stderr)
    if not username or not password:
        raise StackpyError("a user and a password are needed", hint="a token of the registry serves as password")
    kept = context.engine().login(registry, username, password)
    if not context.globals.quiet:
        terminal.note(f"the password is kept {'in' if '/' in kept else 'by'} `{kept}`")
    print("Login Succeeded")
    return 0


def logout(context: Context, arguments: Any) -> int:
    """Forgets a registry's credentials."""
    registry = _registry(arguments.server)
    if context.engine().logout(registry):
        print(f"Removing login credentials for {registry}")
    else:
        print(f"Not logged in to {registry}")
    return 0


def _registry(given: str | None) -> str:
    """A registry's name, also where its URL is given."""
    return (given or HUB).rpartition("://")[2].partition("/")[0]


def _asked(question: str) -> str:
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline().strip()


_SERVER = Argument("SERVER", help="the registry's host, with its port (default: Docker Hub)", optional=True)
LOGIN = Command(
    "login",
    "Log in to a registry",
    login,
    details=(
        "What docker, podman and skopeo know is known here, and the other way round: credentials are kept in\n"
        "~/.docker/config.json (DOCKER_CONFIG names another folder), or by the helper that it names."
    ),
    options=[
        Option("-u", "--username", metavar="NAME", help="the user"),
        Option("-p", "--password", metavar="TEXT", help="the password; others can read it there"),
        Option("--password-stdin", help="read the password from standard input"),
    ],
    arguments=[_SERVER],
    examples=[
        ("stackpy login registry.example", "asks for user and password"),
        ("stackpy login -u ci --password-stdin registry.example < token", "in a script"),
    ],
)
LOGOUT = Command(
    "logout",
    "Log out of a registry",
    logout,
    arguments=[_SERVER],
    examples=[("stackpy logout registry.example", "its password is forgotten")],
)
