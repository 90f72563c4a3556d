"""stackpy oci: runc's command line, for podman, containerd and others that bring bundles."""

from __future__ import annotations

import os
import sys

from stackpy.cli import parsing
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.options import HELP
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context


def run(context: Context, arguments: Any) -> int:
    """Runs a verb; what goes wrong is written to --log as well, where callers look for it."""
    if arguments.version:
        from stackpy.cli.oci_showing import program_version

        print(f"stackpy-oci version {program_version()}\nspec: 1.2.1")
        return 0
    log = _Log(arguments.log, arguments.log_format)
    try:
        return _dispatch(arguments, log)
    except StackpyError as error:
        log.write("error", error.message)
        raise


def _dispatch(arguments: Any, log: _Log) -> int:
    from stackpy.cli import oci_verbs

    verb, *words = arguments.verb or [""]
    if arguments.systemd_cgroup:
        raise UsageError(
            "`--systemd-cgroup`: control groups are managed as files, not by systemd",
            hint="`podman --cgroup-manager=cgroupfs`, or SystemdCgroup = false in containerd",
        )
    if arguments.rootless == "true":
        raise UsageError("`--rootless`: containers are run by root")
    if verb in oci_verbs.REFUSED:
        raise StackpyError(oci_verbs.REFUSED[verb])
    if verb not in oci_verbs.VERBS:
        names = ", ".join(oci_verbs.VERBS)
        raise UsageError(f"unknown verb `{verb}`" if verb else "`stackpy oci` needs a verb", hint=names)
    command = oci_verbs.VERBS[verb]
    options = (*command.options, HELP)
    found = parsing.parse_command(words, options, command.arguments, f"stackpy {command.name}")
    if found.values["help"]:
        from stackpy.cli import help as texts

        print(texts.of_command(command, ()))
        return 0
    from stackpy.engines.oci import OciRuntime

    # The tables are those of other commands; these take the runtime in place of the context.
    return command.run(OciRuntime(arguments.root, log.warn), parsing.to_arguments(found))  # type: ignore[arg-type]


class _Log:
    """--log: one line for each thing that went wrong or was left out, as runc writes them."""

    def __init__(self, path: str, form: str) -> None:
        self.path, self.form = path, form

    def write(self, level: str, message: str) -> None:
        """Adds a line; where that fails it is on stderr."""
        if not self.path:
            return
        import json
        import time

        moment = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        if self.form == "json":
            line = json.dumps({"level": level, "msg": message, "time": moment})
        else:
            line = f'time="{moment}" level={level} msg={json.dumps(message)}'
        try:
            descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
            with open(descriptor, "w", encoding="utf-8") as file:
                file.write(f"{line}\n")
        except OSError as error:
            print(f"warning: --log {self.path}: {(error.strerror or '').lower()}", file=sys.stderr)

    def warn(self, message: str) -> None:
        """Tells of something that was left out."""
        self.write("warning", message)
        if not self.path:
            print(f"warning: {message}", file=sys.stderr)


COMMAND = Command(
    "oci",
    "Be an OCI runtime: run bundles as runc does",
    run,
    details=(
        "Verbs: create, start, run, exec, kill, delete, pause, resume, update, state, list, ps, events, spec,\n"
        "features. `stackpy oci VERB --help` shows what each takes. The program `stackpy-oci` is the same,\n"
        "for those who want a runtime by its path."
    ),
    options=[
        Option("--root", metavar="DIR", default="", help="where containers are kept (default: /run/stackpy-oci)"),
        Option("--log", metavar="FILE", default="", help="where errors and warnings are written as well"),
        Option("--log-format", metavar="FORMAT", choices=("text", "json"), default="text", help="of the log"),
        Option("--debug", help="accepted: there is nothing more to tell"),
        Option("--systemd-cgroup", help="refused: control groups are managed as files"),
        Option("--rootless", metavar="BOOL", choices=("true", "false", "auto"), default="auto", help="true is refused"),
        Option("--criu", metavar="FILE", default="", help="accepted: there are no checkpoints"),
        Option("--version", help="show the versions of this runtime and of the specification"),
    ],
    arguments=[Argument("VERB", help="the verb and what it takes", rest=True, optional=True)],
    examples=[
        ("stackpy oci run -b bundle web", "run a bundle in the foreground"),
        ("podman --cgroup-manager=cgroupfs --runtime /usr/local/bin/stackpy-oci run alpine", "have podman use it"),
    ],
)
