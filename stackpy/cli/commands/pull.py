"""stackpy pull, push; image pull, push."""

from __future__ import annotations

from contextlib import nullcontext

from stackpy.cli import terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import StackpyError, UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

PLATFORM_OPTION = Option("--platform", metavar="OS/ARCH", help="which image of several: linux/arm64")


def pull(context: Context, arguments: Any) -> int:
    """Fetches an image, or all tags of a repository; prints docker's last lines."""
    engine, name = context.engine(), arguments.image
    if not arguments.all_tags:
        names = [name]
    elif ":" in name.rpartition("/")[2] or "@" in name:
        raise UsageError(f"`{name}` has a tag, and --all-tags takes all", hint="leave the tag out")
    else:
        names = [f"{name}:{tag}" for tag in engine.registry_tags(name)]
        if not names:
            raise StackpyError(f"`{name}` has no tags")
    quiet = arguments.quiet or context.globals.quiet or context.json
    found = []
    for each in names:
        with _progress(quiet) as report:
            found.append(engine.image_pull(each, platform=arguments.platform or "", policy="always", report=report))
    if context.json:
        terminal.print_json(found)
        return 0
    for image in found:
        if not quiet:
            if image["digest"]:
                print(f"Digest: {image['digest']}")
            state = "Downloaded newer image for" if image["new"] else "Image is up to date for"
            print(f"Status: {state} {image['reference']}")
        print(image["reference"])
    return 0


def fetch(context: Context, name: str, policy: str, platform: str = "", *, quiet: bool = False) -> None:
    """Fetches the image of a container that is going to be made, as `--pull` says."""
    with _progress(quiet or context.globals.quiet) as report:
        context.engine().image_pull(name, platform=platform, policy=policy, report=report)


def push(context: Context, arguments: Any) -> int:
    """Gives an image, or all tags of it, to the registry that its name says."""
    engine, name = context.engine(), arguments.image
    names = [name]
    if arguments.all_tags:
        if ":" in name.rpartition("/")[2] or "@" in name:
            raise UsageError(f"`{name}` has a tag, and --all-tags takes all", hint="leave the tag out")
        names = [row["reference"] for row in engine.images() if row["reference"].rpartition(":")[0] == name]
        if not names:
            raise StackpyError(
                f"no image is called `{name}`", hint="`stackpy image ls` lists the images of this engine"
            )
    quiet = arguments.quiet or context.globals.quiet or context.json
    pushed = []
    for each in names:
        with _progress(quiet) as report:
            digest = engine.image_push(each, report)
        pushed.append({"reference": each, "digest": digest})
        if not context.json:
            tag = each.rpartition(":")[2] if ":" in each.rpartition("/")[2] else "latest"
            print(each if quiet else f"{tag}: digest: {digest}")
    if context.json:
        terminal.print_json(pushed)
    return 0


def _progress(quiet: bool) -> Any:
    from stackpy.cli import transfers

    return transfers.shown(quiet) or nullcontext()


def _pull(name: str) -> Command:
    return Command(
        name,
        "Fetch an image from a registry",
        pull,
        details=(
            "Layers that are here already are not fetched, and what breaks off is taken up where it broke. Every size\n"
            "and digest is checked before anything of the image is kept. Registries are configured in\n"
            "/etc/stackpy/registries.toml; credentials are docker's (`stackpy login`)."
        ),
        options=[
            Option("-a", "--all-tags", help="every tag of the repository"),
            PLATFORM_OPTION,
            Option("-q", "--quiet", help="print only the image's name"),
            Option("--disable-content-trust", help="accepted for docker's sake: signatures are not looked at"),
        ],
        arguments=[Argument("IMAGE", help="a name, with a tag or a digest", words="image")],
        examples=[
            (f"stackpy {name} debian:bookworm", "from Docker Hub"),
            (f"stackpy {name} --platform linux/arm64 registry.example/shop/web:1.4", "for another machine"),
        ],
    )


def _push(name: str) -> Command:
    return Command(
        name,
        "Push an image to a registry",
        push,
        details=(
            "The name says where it goes; `stackpy tag` gives it one. What the registry has is not sent. An image\n"
            "that was pulled leaves with the digest that it came with; one that was built, with the same each time."
        ),
        options=[
            Option("-a", "--all-tags", help="every tag of the repository that is here"),
            Option("-q", "--quiet", help="print only the image's name"),
            Option("--disable-content-trust", help="accepted for docker's sake: nothing is signed"),
        ],
        arguments=[Argument("IMAGE", help="its name in the registry", words="image")],
        examples=[
            (
                f"stackpy {name} registry.example/shop/web:1.4",
                "after `stackpy tag shop/web registry.example/shop/web:1.4`",
            ),
            (f"stackpy {name} localhost:5000/shop/web", "to a registry on this host, which may be plain http"),
        ],
    )


PULL, IMAGE_PULL = _pull("pull"), _pull("image pull")
PUSH, IMAGE_PUSH = _push("push"), _push("image push")
