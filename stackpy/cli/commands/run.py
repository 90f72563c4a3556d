"""stackpy run: a container from an image, or a job of this folder's stack."""

from __future__ import annotations

import sys

from stackpy.cli import isolation_options, mount_options, run_refusals, terminal_options
from stackpy.cli.commands.exec import refuse_tty_without_terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.cli.quantities import seconds, whole
from stackpy.cli.resource_options import LIMITS, SURROUNDINGS
from stackpy.errors import StackFileError, StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    from stackpy.cli.context import Context

    T = TypeVar("T")

FAILED = 125  # docker's: the engine could not run it, as opposed to what ran having failed


def run(context: Context, arguments: Any) -> int:
    """Runs the container and returns its exit code; prints its ID with -d."""
    refuse_tty_without_terminal(arguments.interactive, arguments.tty and not arguments.detach)
    try:
        return _run(context, arguments)
    except UsageError:
        raise
    except StackpyError as error:
        if error.exit_code == 1:
            error.exit_code = FAILED
        raise


def configuration(context: Context, arguments: Any, *, meet: bool = False) -> dict[str, Any]:
    """The container that the flags ask for, like a resource of this folder's stack where the name is one's.

    meet: what that resource depends on runs when this returns
    """
    from stackpy.cli.run_config import config

    asked = config(arguments)
    mount_options.add_from(asked, arguments.volumes_from, context.engine())
    if not _may_be_resource(arguments.image):
        return asked
    return _like(context, arguments.image, asked, meet=meet)


def _run(context: Context, arguments: Any) -> int:
    if arguments.detach and arguments.attach:
        raise UsageError("`-d` and `-a` exclude each other", hint="leave one of them away")
    document = configuration(context, arguments, meet=not arguments.no_deps)
    engine = context.engine()
    if arguments.detach or arguments.cidfile:
        identifier = created(context, arguments, document)
        if arguments.detach:
            engine.start(identifier)
            print(identifier)
            return 0
        return _attended(context, arguments, document, identifier)
    if arguments.learn:
        return _learn(context, arguments, document)
    wishes = terminal_options.attaching(arguments, stdin=bool(document.get("stdin_open")))
    code = with_image(
        context,
        arguments,
        document,
        lambda: engine.run(document, detach=False, remove=arguments.rm, attaching=wishes),
    )
    return 0 if code is None else code  # None: left by its keys, and it goes on


def _learn(context: Context, arguments: Any, document: dict[str, Any]) -> int:
    """Runs a container to its end and says what it has used; it is removed only then."""
    engine = context.engine()
    remove = bool(document.pop("auto_remove", False))
    identifier = created(context, arguments, document)
    try:
        code = _attended(context, arguments, document, identifier)
        # What it has written itself is what goes to stdout.
        print(engine.learned(identifier) or "nothing was learned", file=sys.stderr)
    finally:
        if remove:
            engine.remove(identifier, force=True, volumes=True)
    return code


def _attended(context: Context, arguments: Any, document: dict[str, Any], identifier: str) -> int:
    """Starts a container that is there, and stays with it; 0 when it was left by its keys, and goes on."""
    wishes = terminal_options.attaching(arguments, stdin=bool(document.get("stdin_open")))
    code = context.engine().attach(identifier, wishes, start=True)
    return 0 if code is None else code


def created(context: Context, arguments: Any, document: dict[str, Any]) -> str:
    """Makes a container, and writes its ID where --cidfile says; returns it."""
    from stackpy.cli.identity_file import IdentityFile

    with IdentityFile(arguments.cidfile) as file:
        identifier = with_image(context, arguments, document, lambda: context.engine().create(document))
        file.write(identifier)
    return identifier


def with_image(context: Context, arguments: Any, document: dict[str, Any], make: Callable[[], T]) -> T:
    """Makes a container; its image is fetched before, or when there turns out to be none, as `--pull` says."""
    from stackpy.engines.facade import Missing

    image, platform = str(document["image"]), arguments.platform or ""
    if arguments.pull == "always" or (platform and not _lacks(context, image)):
        # With `missing`: where the one that has the name is for another.
        _fetch(context, image, arguments.pull, platform, quiet=arguments.quiet)

    def making() -> T:
        if arguments.publish_all:
            document["ports"] = [*document.get("ports", []), *_exposed(context, image, arguments.expose)]
        return make()

    try:
        return making()
    except Missing:
        if arguments.pull != "missing" or not _lacks(context, image):
            raise
    if not (arguments.quiet or context.globals.quiet):
        from stackpy.cli import terminal

        terminal.note(f"Unable to find image '{image}' locally")
    _fetch(context, image, "missing", platform, quiet=arguments.quiet)
    return making()


def _exposed(context: Context, image: str, more: list[str]) -> list[dict[str, Any]]:
    """The ports that an image exposes, and those of --expose, as bindings to free ports of the host."""
    from stackpy.cli.run_config import LOOPBACK, exposed

    names = [*(context.engine().image_inspect(image)["Config"].get("ExposedPorts") or {}), *more]
    bindings = exposed(list(dict.fromkeys(names)))
    return [{**one, "host_ip": one["host_ip"] or LOOPBACK} for one in bindings]


def _lacks(context: Context, image: str) -> bool:
    """Whether it is the image that is missing, and its name can be a registry's."""
    from stackpy.engines.facade import Missing

    if image.startswith("sha256:"):
        return False
    try:
        context.engine().image_inspect(image)
    except Missing:
        return True
    return False


def _fetch(context: Context, image: str, policy: str, platform: str, *, quiet: bool) -> None:
    from stackpy.cli.commands.pull import fetch

    fetch(context, image, policy, platform, quiet=quiet)


def _may_be_resource(name: str) -> bool:
    """Whether a name can be a resource's: a tag, a digest or a registry cannot. Spares loading the stack file."""
    return not any(character in name for character in ":/@")


def _like(context: Context, name: str, asked: dict[str, Any], *, meet: bool) -> dict[str, Any]:
    """The configuration asked for, laid over that of the stack's container or job of this name where there is one.

    meet: what that depends on runs when this returns
    """
    if not context.stack_name():
        return asked
    try:
        project = context.load()
    except StackFileError:
        return asked  # a stack file with mistakes has no resources: the name is an image's
    kinds = ("",) if name.startswith(("container.", "job.")) else ("job.", "container.")
    address = next((f"{kind}{name}" for kind in kinds if f"{kind}{name}" in project.stack.resources), "")
    if not address:
        return asked
    engine = context.engine()
    if meet:
        from stackpy.cli import terminal

        spec = project.stack.resources[address]
        engine.meet_all(project.stack.name, address, spec.dependencies, terminal.note)
    own = engine.one_off(engine.resolve(project.stack, project.secrets), address)
    merged = {**own, **asked, "image": own["image"], "auto_remove": True}
    for key in ("environment", "labels", "networks"):
        if key in own or key in asked:
            merged[key] = {**own.get(key, {}), **asked.get(key, {})}
    if "mounts" in own or "mounts" in asked:
        merged["mounts"] = [*own.get("mounts", []), *asked.get("mounts", [])]
    return merged


OPTIONS = [
    Option("-d", "--detach", help="leave it running and print its ID"),
    Option("-i", "--interactive", help="pass standard input on"),
    Option("-t", "--tty", help="give it a terminal"),
    terminal_options.ATTACH,
    terminal_options.SIG_PROXY,
    terminal_options.DETACH_KEYS,
    Option("--rm", help="remove it when it has ended"),
    Option("--name", metavar="NAME", help="its name (default: one made up)"),
    Option("-e", "--env", metavar="KEY=VALUE", many=True, help="an environment variable; KEY alone takes ours"),
    Option("--env-file", metavar="FILE", many=True, help="environment variables, a line each", words="file"),
    *mount_options.OPTIONS,
    Option(
        "-p",
        "--publish",
        metavar="[IP:]HOST:PORT",
        many=True,
        help="publish a port, on loopback unless IP is given; PORT alone takes a free one",
    ),
    Option("--expose", metavar="PORT[/PROTOCOL]", many=True, help="a port more for --publish-all"),
    Option("-P", "--publish-all", help="publish the ports that the image exposes, each on a free one"),
    Option(
        "--net",
        "--network",
        metavar="NETWORK",
        many=True,
        help="a network, none, host, container:NAME; name=NETWORK,ip=…",
        words="network",
    ),
    Option("--net-alias", "--network-alias", metavar="NAME", many=True, help="another name of it on its networks"),
    Option("--ip", metavar="ADDRESS", help="its IPv4 address on its network"),
    *LIMITS,
    *SURROUNDINGS,
    Option("-w", "--workdir", metavar="DIR", help="where it starts"),
    Option("-u", "--user", metavar="USER[:GROUP]", help="who it runs as"),
    Option("--entrypoint", metavar="PROGRAM", help="instead of the image's entrypoint"),
    Option("--read-only", help="nothing of its root can be written"),
    Option("-h", "--hostname", metavar="NAME", help="its host name (default: its short ID)"),
    Option("-l", "--label", metavar="KEY=VALUE", many=True, help="a label"),
    Option("--label-file", metavar="FILE", many=True, help="labels, a line each", words="file"),
    Option("--log-driver", metavar="DRIVER", help="local (the default), none or journald"),
    Option("--log-opt", metavar="KEY=VALUE", many=True, help="max-size, max-file, tag or labels of the log"),
    Option("--restart", metavar="POLICY", help="no, on-failure[:N], always or unless-stopped"),
    *isolation_options.OPTIONS,
    Option("--stop-signal", metavar="SIGNAL", help="what `stop` sends"),
    Option("--stop-timeout", metavar="SECONDS", convert=seconds, help="grace period of `stop`"),
    Option(
        "--pull",
        metavar="WHEN",
        choices=("missing", "always", "never"),
        default="missing",
        help="fetch the image from its registry: missing (the default), always or never",
    ),
    Option("-q", "--quiet", help="say nothing of what is fetched"),
    Option("--cidfile", metavar="FILE", help="write its ID into a file that is not there yet", words="file"),
    Option("--platform", metavar="OS/ARCH", help="which image is fetched, of several: linux/arm64"),
    Option("--health-cmd", metavar="COMMAND", help="health check, run by /bin/sh in the container"),
    Option("--health-interval", metavar="SECONDS", convert=seconds, help="between two checks"),
    Option("--health-timeout", metavar="SECONDS", convert=seconds, help="of one check"),
    Option("--health-retries", metavar="NUMBER", convert=whole, help="failures in a row that make it unhealthy"),
    Option("--health-start-period", metavar="SECONDS", convert=seconds, help="in which failures don't count"),
    Option("--health-start-interval", metavar="SECONDS", convert=seconds, help="between two checks while it starts"),
    Option(
        "--on-unhealthy",
        metavar="ACTION",
        choices=("none", "restart", "stop"),
        help="what is done with it when its health check fails: none (the default), restart or stop",
    ),
    Option("--no-healthcheck", help="not even the image's"),
    Option("--no-deps", help="of a resource: neither start nor wait for what it depends on"),
]

ARGUMENTS = [
    Argument("IMAGE", help="a reference or ID; inside a stack's folder also a resource", words="image"),
    Argument("COMMAND", help="what to run instead of the image's command", rest=True, optional=True),
]

COMMAND = Command(
    "run",
    "Run a container from an image, or a job of the stack in this folder",
    run,
    details=(
        "Inside a stack's folder a name of the stack wins: `run migrate` runs one more container like the job's, with\n"
        "its image, networks, volumes, secrets and variables, but no published port; it is removed when it has ended.\n"
        "What it depends on is started first, and its conditions are waited for."
    ),
    options=OPTIONS,
    arguments=ARGUMENTS,
    refused=run_refusals.REFUSED,
    examples=[
        ("stackpy run --rm -it debian:bookworm bash", "a shell that leaves nothing behind"),
        ("stackpy run -d --name web -p 8080:80 -v data:/data shop/web", "a service in the background"),
        ("stackpy run migrate", "the job of this folder's stack"),
    ],
)
