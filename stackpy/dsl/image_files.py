"""The methods of Image that put files into it: COPY, ADD, WORKDIR, and a file written in the stack file."""

from __future__ import annotations

from stackpy.dsl import files, quantities, values
from stackpy.dsl.binding import checked
from stackpy.dsl.calls import caller
from stackpy.dsl.references import reference
from stackpy.dsl.session import Place
from stackpy.dsl.values import Invalid, show, text
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, Self

    from stackpy.dsl.calls import Call
    from stackpy.dsl.files import Content, File, Template
    from stackpy.dsl.images import Image

_GIT = pattern(r"(?:git|ssh)://.+|https?://[^?#]+\.git(?:[?#].*)?|[A-Za-z0-9_-]+@[A-Za-z0-9.-]+:(?!//).+", dot_all=True)
_URL = pattern(r"https?://[^\s/]+/?.*", dot_all=True)
_SYMBOLIC = pattern(r"[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+(?:,[ugoa]*(?:[-+=](?:[rwxXst]*|[ugo]))+)*")
_CHECKSUM = pattern(r"sha256:[0-9a-f]{64}|[0-9a-f]{7,64}")


class Files:
    """Mixed into Image."""

    __slots__ = ()

    if TYPE_CHECKING:

        def _then(
            self, instruction: str, written: str, call: Call, content: Content | None = None, **fields: Any
        ) -> Self:
            """The image after one more step."""

    def copy(
        self,
        *paths: str,
        from_: Image | str | None = None,
        exclude: str | Sequence[str] = (),
        chown: str | int | None = None,
        mode: int | str | None = None,
        link: bool = False,
        parents: bool = False,
    ) -> Self:
        """Copies files and folders into the image: SOURCE…, DESTINATION.

        paths: sources relative to the file that says it, globs allowed; the last one is where they go
        from_: another image, or the name of one, that they are taken from instead
        exclude: patterns, relative to a source, of what stays behind
        mode: permission bits, or a change of them: "u=rwX,go=rX"
        link: the layer does not depend on those below it
        parents: keeps the folders of the sources
        """
        call = caller()
        place = Place(call, "`copy`")
        split = _split(place, "copy", paths, folder=True)
        if split is None:
            return self
        sources, target = split
        fields: dict[str, Any] = {"sources": sources, "target": target}
        options = ""
        if from_ is None:
            fields["context"] = call.folder
        elif isinstance(from_, str):
            fields["from_image"] = place.item("from_").parse(reference, from_)
            options = f"--from={from_} "
        else:
            fields["from_"] = place.item("from_").parse(_image, from_)
            options = "--from=… "
        for name, given in (("link", link), ("parents", parents)):
            if given:
                fields[name] = place.item(name).parse(values.flag, given)
                options += f"--{name} "
        options += _common(place, fields, exclude, chown, mode)
        return self._then("copy", f"COPY {options}{' '.join([*sources, target])}", call, **fields)

    def add(
        self,
        *paths: str,
        exclude: str | Sequence[str] = (),
        chown: str | int | None = None,
        mode: int | str | None = None,
        link: bool = False,
        checksum: str | None = None,
        keep_git_dir: bool = False,
        unpack: bool | None = None,
    ) -> Self:
        """Copies as `copy` does, downloads URLs, clones git repositories and unpacks archives: SOURCE…, DESTINATION.

        checksum: "sha256:…" of the one URL, or the commit of the one repository
        keep_git_dir: keeps .git of repositories
        unpack: without it local archives are unpacked, and those of URLs are not
        """
        call = caller()
        place = Place(call, "`add`")
        split = _split(place, "add", paths, folder=False)
        if split is None:
            return self
        names, target = split
        git = [name for name in names if _GIT.fullmatch(name)]
        urls = [name for name in names if name not in git and _URL.fullmatch(name)]
        sources = [name for name in names if name not in git and name not in urls]
        fields: dict[str, Any] = {"sources": sources, "target": target}
        if sources:
            fields["context"] = call.folder
        fields |= {key: found for key, found in (("git", git), ("urls", urls)) if found}
        options = ""
        for name, given in (("link", link), ("keep_git_dir", keep_git_dir), ("unpack", unpack)):
            if given or (name == "unpack" and given is not None):
                fields[name] = place.item(name).parse(values.flag, given)
                options += f"--{name.replace('_', '-')}{'' if given else '=false'} "
        if checksum is not None:
            fields["checksum"] = place.item("checksum").parse(_checksum, checksum)
            options += f"--checksum={checksum} "
            if len(names) != 1 or sources:
                place.item("checksum").report(
                    "`checksum` of `add` needs one URL or repository as the only source", "use one `add` for each"
                )
        options += _common(place, fields, exclude, chown, mode)
        return self._then("add", f"ADD {options}{' '.join([*names, target])}", call, **fields)

    @checked("`workdir`", lambda self, *_: self)
    def workdir(self, path: str) -> Self:
        """The folder in which later steps and the container's process start; made when it does not exist."""
        call = caller(("path",))
        target = Place(call, "`workdir`", ("path",)).parse(text, path)
        return self._then("workdir", f"WORKDIR {target}", call, target=target)

    @checked("`file`", lambda self, *_: self)
    def file(
        self,
        path: str,
        content: str | bytes | Template | File,
        *,
        mode: int | str | None = None,
        chown: str | int | None = None,
    ) -> Self:
        """Writes a file into the image: text, a template or a `File`."""
        call = caller(("path", "content"))
        place = Place(call, "`file`")
        fields: dict[str, Any] = {"target": place.item("path").parse(values.below_root, path)}
        bits = None if mode is None else place.item("mode").parse(quantities.mode, mode)
        found = files.content(place.item("content"), content, bits)
        if chown is not None:
            fields["chown"] = place.item("chown").parse(values.user, chown)
        if found is None or (bits is None and mode is not None):
            return self
        return self._then("file", f"FILE {fields['target']}", call, found, **fields)


def _split(place: Place, name: str, paths: tuple[str, ...], *, folder: bool) -> tuple[list[str], str] | None:
    """Sources and destination; None after reporting what is wrong with them.

    folder: several sources need a folder to go to
    """
    if len(paths) < 2:
        place.report(f"`{name}` needs a source and a destination", f'as in .{name}("src/", "/app/src/")')
        return None
    names = [place.item(index).parse(text, path) for index, path in enumerate(paths)]
    if None in names:
        return None
    *sources, target = names
    if len(sources) > 1 and not target.endswith("/"):
        place.item(len(sources)).report(
            f"`{name}` of several sources needs a folder to copy to, not {show(target)}", f'write "{target}/"'
        )
    return sources, target


def _common(
    place: Place,
    fields: dict[str, Any],
    exclude: str | Sequence[str],
    chown: str | int | None,
    mode: int | str | None,
) -> str:
    """Takes the options that COPY and ADD share into `fields`; returns them as a Dockerfile has them."""
    if exclude:
        fields["exclude"] = place.item("exclude").parse(values.words_or_one, exclude)
    options = ""
    if chown is not None:
        fields["chown"] = place.item("chown").parse(values.user, chown)
        options += f"--chown={fields['chown']} "
    if isinstance(mode, str) and _SYMBOLIC.fullmatch(mode):
        fields["chmod"] = mode
        options += f"--chmod={mode} "
    elif mode is not None:
        fields["mode"] = place.item("mode").parse(quantities.mode, mode)
        options += f"--chmod={fields['mode']:o} " if fields["mode"] is not None else ""
    return options


def _image(value: object) -> object:
    from stackpy.dsl.images import Image  # which imports this module

    if not isinstance(value, Image):
        raise values.wrong("an Image or the name of one", value)
    return value


def _checksum(value: object) -> str:
    if not isinstance(value, str) or not _CHECKSUM.fullmatch(value):
        raise Invalid(f"must be `sha256:` and 64 digits, or a commit, not {show(value)}")
    return value
