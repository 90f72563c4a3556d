"""References to images: [HOST[:PORT]/]PATH[:TAG][@DIGEST]; the grammar of github.com/distribution/reference."""

from __future__ import annotations

from stackpy.dsl.alphabets import DIGITS, LOWER, WORD, Alphabet
from stackpy.dsl.values import wrong
from stackpy.patterns import pattern

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy.dsl.specs import Spec

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST = r"(?:(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*(?::\d+)?/)?"
_REFERENCE = pattern(
    rf"{_HOST}{_PART}(?:/{_PART})*(?::[A-Za-z0-9_][A-Za-z0-9_.-]{{0,127}})?(?:@sha256:[0-9a-f]{{64}})?", ascii_only=True
)
_ARCHITECTURE = Alphabet(LOWER + DIGITS + "_")
_PLAIN = Alphabet(LOWER + DIGITS)
EXPECTED = 'an image\'s name such as "postgres:16"'


def reference(value: object) -> str:
    """A valid reference, as the user wrote it."""
    if isinstance(value, str) and len(value) <= 512 and _is_plain(value):
        return value
    if not isinstance(value, str) or len(value) > 512 or not _REFERENCE.fullmatch(value):
        lowered = value.lower() if isinstance(value, str) else ""
        hint = f'names are lower case: "{lowered}"' if lowered != value and _REFERENCE.fullmatch(lowered) else ""
        raise wrong(EXPECTED, value, hint)
    return value


def _is_plain(text: str) -> bool:
    """Whether a text is a reference as most are, without a port and a digest: told without a pattern."""
    name, colon, tag = text.partition(":")
    words = name.replace("/", "-").replace(".", "-").split("-")
    return all(_PLAIN.fullmatch(word) for word in words) and (not colon or (WORD.fullmatch(tag) and len(tag) <= 128))


def tag(value: object) -> str:
    """A reference that can name a new image: without a digest."""
    name = reference(value)
    if "@" in name:
        raise wrong('a name with or without a tag, such as "shop/app:1.2"', value)
    return name


def image_tags(stack: str, spec: Spec) -> list[str]:
    """The references of a stack's image: the user's, else STACK/NAME:latest."""
    given = [str(tag) for tag in spec.fields.get("tags", ())]
    return given or [f"{_path(stack)}/{_path(spec.name)}:latest"]


def _path(name: str) -> str:
    """A name as a part of a reference: lower case, single separators and none at the ends."""
    path = ""
    for letter in name.lower():
        if letter not in "._-" or path[-1:] not in ("", ".", "_", "-"):
            path += letter
    return path.rstrip("._-")


def with_tag(name: str) -> str:
    """The reference with the tag that it has when it names none."""
    return name if "@" in name or ":" in name.rpartition("/")[2] else f"{name}:latest"


def platform(value: object) -> str:
    """What an image is for: "linux/arm64", "linux/arm/v7", or the architecture alone."""
    expected = 'a platform such as "linux/arm64"'
    if not isinstance(value, str):
        raise wrong(expected, value)
    parts = value.lower().split("/")
    parts = ["linux", *parts] if len(parts) == 1 and parts[0] != "linux" else parts
    if not 2 <= len(parts) <= 3 or not all(_ARCHITECTURE.fullmatch(part) for part in parts):
        raise wrong(expected, value)
    if parts[0] != "linux":
        raise wrong(expected, value, "containers here are Linux's")
    return "/".join(parts)
