"""stackpy build: a Dockerfile, as `docker build`, or images of the stack."""

from __future__ import annotations

import os

from stackpy.cli import build_results, build_runs, stacks, terminal
from stackpy.cli.changing_options import LOCK_TIMEOUT
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.build_context import BuildContext
    from stackpy.cli.build_outputs import Output
    from stackpy.cli.context import Context

# What has a meaning for a Dockerfile alone; `-f` names the stack file where a stack's images are built.
_DOCKERFILE_ONLY = (
    "target build_arg build_context secret ssh no_cache pull platform label tag check iidfile metadata_file allow "
    "progress network add_host shm_size ulimit memory memory_swap cpu_shares cpu_period cpu_quota cpuset_cpus "
    "cpuset_mems cgroup_parent force_rm compress"
).split()


def run(context: Context, arguments: Any) -> int:
    """Builds a Dockerfile, or the stack's images: those that are not built, or those named."""
    place = _place(context, arguments)
    if place is not None:
        return _build(context, arguments, place)
    given = [name for name in _DOCKERFILE_ONLY if getattr(arguments, name) not in (None, False, [], "auto")]
    if given:
        option = f"--{given[0].replace('_', '-')}"
        raise UsageError(
            f"`{option}` is for a Dockerfile, and {_no_folder(arguments.image)}", hint="name its folder: `.`"
        )
    if arguments.file:
        context.globals.file = arguments.file
    from stackpy.cli import stack_builds

    if not context.globals.file and not context.stack_name():
        raise UsageError(
            f"there is no stack file here, and {_no_folder(arguments.image)}",
            hint="`stackpy build .` builds this folder's Dockerfile",
        )
    return stack_builds.build(context, arguments)


def _place(context: Context, arguments: Any) -> str | None:
    """The context that is named; None where images of the stack are meant."""
    from stackpy.cli.build_context import is_remote

    names = arguments.image
    if not names or len(names) > 1:
        return None
    if is_remote(names[0]) or names[0] in (".", "..") or names[0].startswith(("/", "./", "../")):
        return str(names[0])
    if not os.path.isdir(names[0]):
        return None
    # A stack's image of that name comes first, as elsewhere.
    address = names[0] if names[0].startswith("image.") else f"image.{names[0]}"
    return None if context.stack_name() and address in context.load().stack.resources else str(names[0])


def _no_folder(names: list[str]) -> str:
    return "no folder is named" if not names else f"`{names[0]}` is no folder" if len(names) == 1 else "names are given"


# --- a Dockerfile -----------------------------------------------------------------------------------------------------


def _build(context: Context, arguments: Any, place: str) -> int:
    from stackpy.cli import build_context, build_options, build_outputs

    for name in arguments.tag:
        build_options.check_tag(name)
    if context.globals.file and not arguments.file:
        raise UsageError("`--file` before `build` names a stack file", hint=f"as in `stackpy build -f FILE {place}`")
    limits = build_runs.limits(arguments)
    outputs = build_outputs.parse(arguments.output, push=arguments.push, load=arguments.load)
    build_outputs.check(outputs, arguments.tag)
    options = {
        "no_cache": arguments.no_cache,
        "secrets": build_options.secrets(arguments.secret),
        **build_options.agents(arguments.ssh),
        "allow": build_options.allowed(arguments.allow),
        "cache_from": build_options.cache_places_of("--cache-from", arguments.cache_from),
        "cache_to": build_options.cache_places_of("--cache-to", arguments.cache_to),
        **({"limits": limits} if limits else {}),
        **build_results.on_failure(context, arguments),
    }
    given = {
        "target": arguments.target or "",
        "args": build_options.arguments(arguments.build_arg),
        "contexts": build_options.contexts(arguments.build_context),
        "platform": arguments.platform or "",
        "run": build_runs.settings(arguments),
    }
    labels = build_options.labels(arguments.label)
    with build_context.opened(place, arguments.file or "", f"{context.engine().root}/contexts") as found:
        base = {"kind": "dockerfile", **_described(found), **{key: value for key, value in given.items() if value}}
        if arguments.check:
            return _check(context, base)
        steps = []
        if labels:
            text = " ".join(["LABEL", *(f"{name}={value}" for name, value in labels.items())])
            steps.append({"instruction": "label", "text": text, "line": "--label", "values": labels})
        return _make(context, arguments, {"base": base, "steps": steps}, options, _key(place, base), outputs)


def _described(found: BuildContext) -> dict[str, str]:
    content = {} if found.content is None else {"content": found.content}
    return {"context": found.folder, "path": found.path, **content}


def _check(context: Context, base: dict[str, Any]) -> int:
    """Prints what is to be said of the Dockerfile; its errors are raised, all at once."""
    warnings = context.engine().dockerfile(base, check=True)["warnings"]
    if context.json:
        terminal.print_json([{key: value for key, value in warning.items() if key != "text"} for warning in warnings])
        return 0
    for warning in warnings:
        print(f"warning: {warning['text']}" + (f"\n      = {warning['url']}" if warning["url"] else ""))
    if not context.globals.quiet:
        count = len(warnings)
        stacks.say(context, f"{count or 'no'} warning{'' if count == 1 else 's'}")
    return 0


def _key(place: str, base: dict[str, Any]) -> str:
    """The name under which the recipe is remembered, which no stack's can be; "" for what comes by standard input."""
    if place == "-":
        return ""
    # A remote context lies in another folder each time.
    where = place if base["context"] != os.path.abspath(place) else base["context"]
    file = base["path"].removeprefix(base["context"] + "/")
    return ":".join(["dockerfile", where, file, base.get("target", "")])


def _make(
    context: Context, arguments: Any, source: dict[str, Any], options: dict[str, Any], key: str, outputs: list[Output]
) -> int:
    from stackpy.cli import build_outputs
    from stackpy.engines.provisioning import BuildEvents

    engine, base = context.engine(), source["base"]
    name = arguments.tag[0] if arguments.tag else "image"
    names = build_outputs.tags(outputs, arguments.tag)
    reasons = build_results.Reasons()
    if arguments.explain:
        reasons.expect(name, engine.image_explain(source, key=key, options=options))
    with reasons, build_results.progress(context, arguments.progress) as report:
        told = BuildEvents(name, reasons.heard(report))
        made = engine.image_build(source, key=key, tags=names, pull=arguments.pull, options=options, report=told)
    said = engine.dockerfile(base, check=False)
    for warning in said["warnings"]:
        first, *_ = str(warning["text"]).split("\n")
        stacks.say(context, f"warning: {first}")
    for argument in said["unused"]:
        stacks.say(context, f"warning: no ARG takes the build argument `{argument}`")
    build_results.deliver(context, arguments, made["id"], outputs, arguments.tag)
    if arguments.iidfile:
        build_outputs.write_file(arguments.iidfile, made["id"])
    if arguments.metadata_file:
        document = build_outputs.metadata(engine, made["id"], outputs, names)
        build_outputs.write_file(arguments.metadata_file, document)
    if not (context.globals.quiet or arguments.progress == "quiet"):
        stacks.say(context, f"built {' '.join([*names, made['id']])}")
    elif not any(each.dest == "-" for each in outputs):
        print(made["id"])
    if not arguments.verify:
        return 0
    again = {key: value for key, value in options.items() if key in ("secrets", "ssh", "ssh_keys", "allow", "limits")}
    return build_results.verify(context, arguments, [build_results.Again("", source, again)])


COMMAND = Command(
    "build",
    "Build a Dockerfile, or images of the stack without applying it",
    run,
    stack=True,
    options=[
        Option("-t", "--tag", metavar="NAME", many=True, help="name the image"),
        Option("-f", "--file", metavar="FILE", help="the Dockerfile (default: CONTEXT/Dockerfile)", words="file"),
        Option("--target", metavar="STAGE", help="the stage to build, by name or number"),
        Option("--build-arg", metavar="KEY[=VALUE]", many=True, help="the value of an ARG"),
        Option("--build-context", metavar="NAME=PLACE", many=True, help="a folder or docker-image:// for --from"),
        Option("--secret", metavar="id=ID[,src=FILE]", many=True, help="a secret for RUN --mount=type=secret"),
        Option(
            "--ssh",
            metavar="ID[=SOCKET|KEY,KEY]",
            many=True,
            help="an agent or keys for RUN --mount=type=ssh: `default`",
        ),
        Option("--label", metavar="KEY=VALUE", many=True, help="a label of the image"),
        Option("--no-cache", help="run every step again"),
        Option(
            "--cache-from", metavar="PLACE", many=True, help="a folder or reference to take steps from", words="file"
        ),
        Option("--cache-to", metavar="PLACE", many=True, help="a folder or reference to bring steps to", words="file"),
        Option("--pull", help="ask the registry for newer base images"),
        Option("--platform", metavar="OS/ARCH", help="the image's platform (default: this host's)"),
        Option("--progress", metavar="STYLE", choices=("auto", "plain", "quiet"), default="auto", help="what is shown"),
        Option("--allow", metavar="WHAT", many=True, help="security.insecure or network.host, for RUN"),
        Option("--on-failure", metavar="WHAT", choices=("shell",), help="`shell`: open one where a RUN step fails"),
        Option("--explain", help="say of each step whether it is cached, and if not, what differs from before"),
        Option("--verify", help="make every step once more and list the files that differ"),
        Option(
            "-o", "--output", metavar="OUTPUT", many=True, help="write the result: DIR, or type=…,dest=…", words="file"
        ),
        Option("--push", help="push it to the registry that its name says: --output type=registry"),
        Option("--load", help="keep it in the store beside other outputs: --output type=docker"),
        Option("--check", help="print the Dockerfile's warnings and build nothing"),
        Option("--iidfile", metavar="FILE", help="write the image's ID to a file", words="file"),
        Option("--metadata-file", metavar="FILE", help="write the image's digests to a file, as JSON", words="file"),
        *build_runs.options(),
        LOCK_TIMEOUT,
    ],
    refused=build_runs.REFUSED,
    arguments=[
        Argument(
            "IMAGE",
            help="a folder, URL or - to build its Dockerfile; else names of the stack's images (default: all)",
            many=True,
            optional=True,
            words="resource",
        )
    ],
    details=(
        "With a folder, the URL of a git repository or of an archive, or - for standard input, it builds the\n"
        "Dockerfile there as docker build does. With names, or nothing, it builds images of the stack in this\n"
        "folder; -f is the stack file then.\n"
        "\n"
        "--output takes what buildx takes: DIR or type=local,dest=DIR for the files of the result, type=tar for one\n"
        "tar of them, type=oci and type=docker for archives, type=image and type=registry for the store and a\n"
        "registry; type=cacheonly for none. dest=- is standard output. Without --output the image is in the store."
    ),
    examples=[
        ("stackpy build -t shop/web .", "the Dockerfile of this folder"),
        ("stackpy build --target test --build-arg PYTHON=3.12 web/", "one stage of another"),
        ("stackpy build --target binary -o dist .", "the files of a stage, in a folder"),
        ("stackpy build -t shop/web -o type=oci,dest=web.tar .", "an archive instead of a name in the store"),
        ("stackpy build --check .", "only look for mistakes"),
        ("stackpy build --on-failure shell .", "look around where a step fails"),
        ("stackpy build -t tool https://github.com/me/tool.git#main:cli", "a folder of a repository"),
        ("stackpy build --cache-from ci-cache --cache-to ci-cache .", "a CI machine that begins empty, as if warm"),
        ("stackpy build --explain .", "why does it build that again?"),
        ("stackpy build --verify .", "does the same Dockerfile give the same image?"),
        ("stackpy build - < Dockerfile", "a Dockerfile that copies nothing"),
        ("stackpy build", "every image of the stack; what is built already costs nothing"),
        ("stackpy build web", "one of them"),
    ],
)
