"""Images and the references that name them."""

from __future__ import annotations

from stackpy_runtime.errors import Conflict, InvalidConfig, NotFound
from stackpy_runtime.store.database import Database, decode, encode

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable
    from typing import Any, NoReturn

    from stackpy_runtime.model import Image, ImageConfig

_PREFIX = "sha256:"
_IMAGE_NAMED = "SELECT images.id, document FROM images JOIN tags ON tags.image = images.id WHERE reference IN "
_TAG_NAMED = "SELECT reference, image FROM tags WHERE reference IN "
_DEFAULT_REGISTRY = ("docker.io/", "index.docker.io/")
_HEXADECIMAL = frozenset("0123456789abcdef")


def with_tag(reference: str) -> str:
    """`web` → `web:latest`; a reference with a tag or digest as it is."""
    return reference if "@" in reference or ":" in reference.rpartition("/")[2] else f"{reference}:latest"


def spellings(reference: str) -> list[str]:
    """All that mean the same as a valid reference: `web`, `docker.io/web`, `docker.io/library/web`, … as `with_tag`.

    The grammar, and the refusal of what is no reference, is image/references.py's; its tests hold both together.
    """
    whole = with_tag(reference)
    path = next((whole[len(name) :] for name in _DEFAULT_REGISTRY if whole.startswith(name)), whole)
    prefixes: tuple[str, ...] = ("", *_DEFAULT_REGISTRY)
    if _names_registry(path):
        if path is whole:
            return [whole]
        prefixes = _DEFAULT_REGISTRY  # docker.io/a.b/c is not a.b/c
    short = path.removeprefix("library/") if path.count("/") == 1 else path
    paths = [short] if "/" in short else [short, f"library/{short}"]
    return [prefix + each for each in paths for prefix in prefixes]


def _names_registry(path: str) -> bool:
    first, slash, _ = path.partition("/")
    return bool(slash) and (first == "localhost" or "." in first or ":" in first or first != first.lower())


class ImageTable(Database):
    """Reading and writing images and their references.

    References come valid (image.references.parse) and are kept as they were written, with their tag completed. All
    spellings of one are one: to give one of them to an image takes the others away.
    """

    def images(self) -> list[Image]:
        """All images, oldest first."""
        references: dict[str, list[str]] = {}
        for reference, image_id in self.rows("SELECT reference, image FROM tags ORDER BY reference"):
            references.setdefault(image_id, []).append(reference)
        found = self.rows("SELECT id, document FROM images ORDER BY rowid")
        return [_image(text, references.get(image_id, [])) for image_id, text in found]

    def image_documents(self) -> list[bytes]:
        """The documents of all images as they are stored."""
        return [text.encode() for (text,) in self.rows("SELECT document FROM images")]

    def image(self, reference: str) -> Image:
        """The image that a reference names, or with this ID or beginning of an ID (`sha256:` may be left out).

        Raises NotFound, or InvalidConfig where several IDs begin so.
        """
        names = spellings(reference)
        row = self.row(_IMAGE_NAMED + _marks(names), names)
        if row is None:
            row = self._image_by_digest(reference) if "@" in reference else self._image_by_id(reference)
        if row is None:
            self._no_image(reference)
        tags = self.rows("SELECT reference FROM tags WHERE image = ? ORDER BY reference", (row[0],))
        return _image(row[1], [tag for (tag,) in tags])

    def image_config(self, image_id: str) -> ImageConfig:
        """The configuration of the image with this whole ID; raises NotFound."""
        row = self.row("SELECT document FROM images WHERE id = ?", (image_id,))
        if row is None:
            self._no_image(image_id)
        config: ImageConfig = decode(row[0])["config"]
        return config

    def of_platform(self, reference: str, platform: str) -> Image:
        """The image that a reference names for a platform; raises NotFound.

        That is the one of this name where it is for that architecture, else the one that was pulled beside it.
        """
        from stackpy_runtime.platforms import parse

        wanted = parse(platform)
        try:
            named = self.image(reference)
        except NotFound:
            named = None
        if named is not None and named["architecture"] in ("", wanted.architecture):
            return named
        names = {f"{name} {wanted}" for name in spellings(reference)}
        for image in self.images():
            if not names.isdisjoint(image.get("beside", ())):
                return image
        raise NotFound(f"no such image: `{reference}` for {wanted}", hint="`stackpy pull --platform` fetches it")

    def put_image(self, image: Image) -> None:
        """Adds an image, or replaces the document of the one with its ID; its references name it from now on."""

        def work(connection: sqlite3.Connection) -> None:
            connection.execute(
                "INSERT INTO images VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET document = excluded.document",
                (image["id"], encode({**image, "references": []})),
            )
            for reference in image["references"]:
                _tag(connection, reference, image["id"])

        self.transaction(work)

    def tag(self, reference: str, image_id: str) -> None:
        """Makes `reference` name the image with this whole ID, whatever it named before; raises NotFound."""

        def work(connection: sqlite3.Connection) -> bool:
            if not connection.execute("SELECT 1 FROM images WHERE id = ?", (image_id,)).fetchone():
                return False
            _tag(connection, reference, image_id)
            return True

        if not self.transaction(work):
            self._no_image(image_id)

    def untag(self, reference: str) -> str | None:
        """Takes a reference away; returns the ID of the image that it named, which stays, or None."""

        def work(connection: sqlite3.Connection) -> str | None:
            row = _named(connection, reference)
            if row is not None:
                connection.execute("DELETE FROM tags WHERE reference = ?", (row[0],))
            return None if row is None else str(row[1])

        return self.transaction(work)

    def image_users(self, image_id: str) -> list[str]:
        """Names of the containers, running or not, that were made of the image."""
        rows = self.rows("SELECT name FROM containers WHERE image = ? ORDER BY rowid", (image_id,))
        return [name for (name,) in rows]

    def delete_images(self, ids: Iterable[str], wanted: Callable[[Image], bool]) -> list[Image]:
        """Removes those of the images that `wanted` still agrees with and no container was made of; returns them."""

        def work(connection: sqlite3.Connection) -> list[Image]:
            gone = []
            for image_id in ids:
                row = connection.execute("SELECT document FROM images WHERE id = ?", (image_id,)).fetchone()
                if row is None or _users(connection, image_id):
                    continue
                tags = connection.execute("SELECT reference FROM tags WHERE image = ? ORDER BY reference", (image_id,))
                image = _image(row[0], [tag for (tag,) in tags])
                if wanted(image):
                    connection.execute("DELETE FROM images WHERE id = ?", (image_id,))
                    gone.append(image)
            return gone

        return self.transaction(work)

    def remove_image(self, reference: str, *, force: bool = False) -> list[str]:
        """`image rm`: takes the reference away, and removes the image when nothing names it any more.

        An ID removes all references. Returns what was done, a line each. Raises NotFound; Conflict when a container
        uses the image or an ID has several references. With `force` all references go, and an image in use stays,
        nameless, until its last container is gone, since it could not be started again without its layers.
        """
        image = self.image(reference)
        named = next((name for name in spellings(reference) if name in image["references"]), "")

        def work(connection: sqlite3.Connection) -> list[str]:
            tags = connection.execute("SELECT reference FROM tags WHERE image = ? ORDER BY reference", (image["id"],))
            references = [tag for (tag,) in tags]
            going = [named] if named else references
            if not named and len(references) > 1 and not force:
                raise Conflict(
                    f"it has several references: {', '.join(references)}",
                    subject=f"image {reference}",
                    hint="remove them one by one, or use --force",
                )
            lines = []
            if set(references) <= set(going) and not force:
                _unused(connection, image["id"], reference)
            for tag in going:
                connection.execute("DELETE FROM tags WHERE reference = ?", (tag,))
                lines.append(f"untagged: {tag}")
            if set(references) <= set(going):
                users = _users(connection, image["id"])
                if users:
                    lines.append(f"kept: {image['id']} (used by {', '.join(users)})")
                else:
                    connection.execute("DELETE FROM images WHERE id = ?", (image["id"],))
                    lines.append(f"deleted: {image['id']}")
            return lines

        return self.transaction(work)

    def _image_by_digest(self, reference: str) -> tuple[Any, ...] | None:
        """The image that a registry knows by `name@digest`, whatever name it has here; a tag between does not count."""
        name, _, digest = reference.partition("@")
        plain = name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name
        wanted = set(spellings(f"{plain}@{digest}"))
        for image_id, text in self.rows("SELECT id, document FROM images WHERE instr(document, ?)", (digest,)):
            if not wanted.isdisjoint(decode(text).get("origins", ())):
                return image_id, text
        return None

    def _image_by_id(self, reference: str) -> tuple[Any, ...] | None:
        digits = reference.removeprefix(_PREFIX)
        if not digits or not _HEXADECIMAL.issuperset(digits):
            return None
        beginning = _PREFIX + digits
        rows = self.rows(
            "SELECT id, document FROM images WHERE id >= ?1 AND id < ?1 || 'g' ORDER BY id LIMIT 2", (beginning,)
        )
        if len(rows) > 1 and rows[0][0] != beginning:
            raise InvalidConfig(f"several images' IDs begin with `{reference}`", hint="give more of the ID")
        return rows[0] if rows else None

    def _no_image(self, reference: str) -> NoReturn:
        meant = self.meant(reference, "SELECT reference FROM tags")
        hint = f"{meant}`stackpy image ls` lists the images of this engine"
        raise NotFound(f"no such image: `{reference}`", hint=hint)


def _marks(values: list[str]) -> str:
    return f"({','.join('?' * len(values))})"


def _named(connection: sqlite3.Connection, reference: str) -> tuple[str, str] | None:
    """The spelling in which a reference is kept, and the image that it names."""
    names = spellings(reference)
    found: tuple[str, str] | None = connection.execute(_TAG_NAMED + _marks(names), names).fetchone()
    return found


def _tag(connection: sqlite3.Connection, reference: str, image_id: str) -> None:
    kept = _named(connection, reference)
    if kept is not None and kept[0] != with_tag(reference):
        connection.execute("DELETE FROM tags WHERE reference = ?", (kept[0],))
    connection.execute(
        "INSERT INTO tags VALUES (?, ?) ON CONFLICT (reference) DO UPDATE SET image = excluded.image",
        (with_tag(reference), image_id),
    )


def _users(connection: sqlite3.Connection, image_id: str) -> list[str]:
    rows = connection.execute("SELECT name FROM containers WHERE image = ? ORDER BY rowid", (image_id,))
    return [name for (name,) in rows]


def _unused(connection: sqlite3.Connection, image_id: str, shown: str) -> None:
    users = _users(connection, image_id)
    if users:
        raise Conflict(
            f"in use by container {', '.join(users)}",
            subject=f"image {shown}",
            hint=f"remove it first: `stackpy rm {' '.join(users)}`",
        )


def _image(text: str, references: list[str]) -> Image:
    image: Image = decode(text)
    image["references"] = references
    return image
