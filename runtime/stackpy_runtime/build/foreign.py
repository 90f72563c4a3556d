"""Images of other platforms: whether this machine runs their programs, itself or by an emulator of binfmt_misc."""

from __future__ import annotations

import os

from stackpy_runtime import platforms
from stackpy_runtime.build import settings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from stackpy_runtime.model import ImageSource, Recipe
    from stackpy_runtime.store.store import Store

_EMULATORS = "/proc/sys/fs/binfmt_misc"
# e_machine of ELF files (elf.h), as its two bytes stand in a magic of binfmt_misc.
_ELF = {
    "386": "0300", "amd64": "3e00", "arm": "2800", "arm64": "b700", "riscv64": "f300", "s390x": "0016",
    "ppc64le": "1500", "ppc64": "0015", "loong64": "0201", "mips64le": "0800", "mips64": "0008", "mips": "0008",
    "mipsle": "0800",
}  # fmt: skip
_MACHINE = slice(36, 40)  # hexadecimal digits of e_machine in a magic
# What a machine runs besides its own.
_NATIVE = {"amd64": ("386",), "arm64": ("arm",)}
HINT = "register an emulator that is opened beforehand (flag F), as Debian's qemu-user-static and binfmt-support do"


def runs(platform: str, emulators: str = _EMULATORS) -> bool:
    """Whether programs of a platform run here."""
    own, wanted = platforms.machine(), platforms.parse(platform)
    if wanted.architecture in (own.architecture, *_NATIVE.get(own.architecture, ())):
        return True
    try:
        names = os.listdir(emulators)
    except OSError:
        return False
    return any(_emulates(f"{emulators}/{name}", wanted.architecture) for name in names)


def _emulates(path: str, architecture: str) -> bool:
    """Whether an entry of binfmt_misc is for an architecture, and of use in a container, where its file is not."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            lines = [line.split() for line in file]
    except OSError:
        return False
    entry = {words[0].rstrip(":"): words[1] if len(words) > 1 else "" for words in lines if words}
    machine = entry.get("magic", "")[_MACHINE]
    return "enabled" in entry and "F" in entry.get("flags", "") and machine == _ELF.get(architecture)


def platform_of(source: ImageSource) -> str:
    """What a source without Dockerfiles makes an image for; "" means this machine."""
    return _platform(source, source)


def _platform(source: ImageSource, whole: ImageSource) -> str:
    base = source["base"]
    if base["kind"] == "stage":
        return _platform(whole.get("stages", {})[base["stage"]], whole)
    return base.get("platform", "")


def refuse(source: ImageSource, recipe: Recipe, store: Store) -> None:
    """Raises InvalidConfig for RUN steps of a platform whose programs do not run here, unless their results are there.

    source: without Dockerfiles; recipe: what was made of it
    """
    problems = []
    stages, made = source.get("stages", {}), recipe.get("stages", {})
    for each, resolved in [(source, recipe), *((stages[name], made[name]) for name in made)]:
        platform = _platform(each, source)
        if not platform or runs(platform):
            continue
        known = store.steps_present(step["id"] for step in resolved["steps"])
        for planned, step in zip(resolved["steps"][1:], each["steps"], strict=True):
            if step["instruction"] == "run" and planned["id"] not in known:
                message = f"it runs programs for {platform}, and this machine ({platforms.machine()}) has no emulator"
                problems.append((step["line"], message, HINT))
                break  # of this stage: the others fail for the same
    settings.refuse(problems)
