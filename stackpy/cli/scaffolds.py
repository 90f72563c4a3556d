"""What `init` writes: the files of templates/init/NAME and templates/ci, those ending in .jinja rendered."""

from __future__ import annotations

import os

from stackpy.errors import StackpyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

RENDERED = ".jinja"  # not .j2: a scaffold may hold templates that the stack itself renders


def folder() -> str:
    """The templates: beside the package in an installed wheel, in the repository in an editable install."""
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    for path in (os.path.join(package, "templates"), os.path.join(os.path.dirname(package), "templates")):
        if os.path.isdir(path):
            return path
    raise StackpyError(f"no templates beside `{package}`", hint="install stackpy again")


def names() -> list[str]:
    """The scaffolds that there are."""
    return sorted(os.listdir(os.path.join(folder(), "init")))


def files(*parts: str, values: Mapping[str, str]) -> dict[str, tuple[str, int]]:
    """The files below templates/PARTS: path relative to it → (content, mode)."""
    top = os.path.join(folder(), *parts)
    found: dict[str, tuple[str, int]] = {}
    for path, folders, file_names in os.walk(top):
        folders[:] = sorted(name for name in folders if name != "__pycache__")
        for name in sorted(file_names):
            full = os.path.join(path, name)
            with open(full, encoding="utf-8") as file:
                content = file.read()
            relative = os.path.relpath(full, top)
            if relative.endswith(RENDERED):
                relative, content = relative.removesuffix(RENDERED), _render(content, values)
            found[relative] = (content, os.stat(full).st_mode & 0o777)
    return found


def _render(content: str, values: Mapping[str, str]) -> str:
    import jinja2  # 50 ms, for this command only

    # the output is Python, TOML and YAML: escaping for HTML would break it
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)  # noqa: S701
    return environment.from_string(content).render(values)


def write(target: str, wanted: Mapping[str, tuple[str, int]]) -> list[str]:
    """Writes the files into a folder, all or none; returns their paths.

    Raises StackpyError naming every file that is there already: nothing is overwritten.
    """
    there = [path for path in wanted if os.path.lexists(os.path.join(target, path))]
    if there:
        raise StackpyError(
            f"already there, and not overwritten: {', '.join(f'`{path}`' for path in there)}",
            hint="choose another folder: `stackpy init FOLDER`",
        )
    written = []
    try:
        for path, (content, mode) in wanted.items():
            full = os.path.join(target, path)
            os.makedirs(os.path.dirname(full) or ".", exist_ok=True)
            with open(full, "x", encoding="utf-8") as file:
                file.write(content)
            os.chmod(full, mode)
            written.append(os.path.normpath(full))
    except OSError as error:
        raise StackpyError(f"cannot write `{error.filename}`: {error.strerror}") from error
    return written
