"""stackpy save, load; image save, load."""

from __future__ import annotations

import os
import sys

from stackpy.cli import archives, terminal
from stackpy.cli.grammar import Argument, Command, Option
from stackpy.errors import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from stackpy.cli.context import Context

FORMATS = ("docker", "docker-archive", "oci", "oci-archive", "oci-dir")


def save(context: Context, arguments: Any) -> int:
    """Writes the images as one archive."""
    engine = context.engine()
    if arguments.format == "oci-dir":
        if arguments.output in (None, "-"):
            raise UsageError("`--format oci-dir` needs a folder to write to", hint="add `-o FOLDER`")
        engine.image_save_layout(arguments.image, os.path.abspath(arguments.output))
        return 0
    form = arguments.format.removesuffix("-archive")
    with archives.output(arguments.output) as out:
        engine.image_save(arguments.image, out, form)
    return 0


def load(context: Context, arguments: Any) -> int:
    """Brings the archive's images into the store, and says what they are called."""
    path = arguments.input or "-"
    if path == "-" and sys.stdin.isatty():
        raise UsageError("an archive is not read from a terminal", hint="use -i FILE, or redirect the input")
    quiet = arguments.quiet or context.globals.quiet or context.json

    def progress(event: dict[str, Any]) -> None:
        if event["kind"] == "state" or event.get("done") == event.get("total"):
            terminal.note(event["text"])

    images = context.engine().image_load(path, None if quiet else progress)
    if context.json:
        terminal.print_json([{"id": image["id"], "references": image["references"]} for image in images])
        return 0
    for image in images:
        for reference in image["references"]:
            print(f"Loaded image: {reference}")
        if not image["references"]:
            print(f"Loaded image ID: {image['id']}")
    return 0


def _save(name: str) -> Command:
    return Command(
        name,
        "Save images as an archive",
        save,
        details=(
            "The archive is read by `docker load`, `podman load` and skopeo. An image that was built here is named by\n"
            "its configuration's digest there, and the same image always gives the same bytes (SOURCE_DATE_EPOCH, or\n"
            "the time at which its base was made, stands for all later times)."
        ),
        options=[
            Option(
                "-o", "--output", metavar="FILE", help="the file (default: standard output), or folder", words="file"
            ),
            Option(
                "--format",
                metavar="FORMAT",
                choices=FORMATS,
                default="docker",
                help="docker: what `docker save` writes; oci: an OCI image layout as a tar; oci-dir: as a folder",
            ),
        ],
        arguments=[Argument("IMAGE", help="a reference or ID", many=True, words="image")],
        examples=[
            (f"stackpy {name} -o web.tar shop/web", "one image"),
            (f"stackpy {name} shop/web shop/api | ssh host sudo stackpy load", "two, to another host"),
        ],
    )


def _load(name: str) -> Command:
    return Command(
        name,
        "Load images from an archive",
        load,
        details="The archive is docker's or OCI's, a tar (plain, gzip, zstd) or an image layout's folder.",
        options=[
            Option("-i", "--input", metavar="FILE", help="file or folder (default: standard input)", words="file"),
            Option("-q", "--quiet", help="say only what was loaded"),
        ],
        examples=[
            (f"stackpy {name} -i web.tar", "what `save`, `docker save` or skopeo wrote"),
            (f"stackpy {name} -i layout/", "an OCI image layout"),
        ],
    )


SAVE, IMAGE_SAVE = _save("save"), _save("image save")
LOAD, IMAGE_LOAD = _load("load"), _load("image load")
