"""A base image made of programs of this host: they, what they load, and the least of /etc. No network is needed.

Everything keeps the path that it has on the host, so that what is compiled into programs stays true. Nothing is hard
linked (root of a container could write to the host's file), nothing has set-id bits, and a file that not everybody may
read comes along only when it is named. No gathered program is run, but Python, which is asked for its library.
"""

from __future__ import annotations

import os
import posixpath
import stat

from stackpy_runtime.errors import InvalidConfig
from stackpy_runtime.image import elf, gathering, host_python, programs
from stackpy_runtime.image.gathering import Tree
from stackpy_runtime.image.host_etc import add_etc
from stackpy_runtime.image.loader import Libraries, expanded

# What the C library loads by itself, when a thread ends or a name is looked up (before glibc 2.34).
_LOADED_LATER = ("libgcc_s.so.1", "libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2")
_LOCALES = ("/usr/lib/locale/C.utf8", "/usr/lib/locale/C.UTF-8")


def plan(names: list[str]) -> Tree:
    """The tree of these programs (names, or absolute paths). Reads only.

    Raises InvalidConfig for all names that cannot be found at once, and for a library that the host does not have.
    """
    tree, wrong, hints = Tree(), [], []
    gatherer = _Gatherer(tree)
    gatherer.add_layout()
    for name in dict.fromkeys(names):
        tree.owner = name
        try:
            gatherer.add_named(name)
        except InvalidConfig as error:
            wrong.append(error.message)
            hints.append(error.hint)
    if wrong:
        raise InvalidConfig("; ".join(wrong), hint="; ".join(dict.fromkeys(hint for hint in hints if hint)))
    tree.owner = "/etc"
    gatherer.finish()
    return tree


def gather(names: list[str], folder: str) -> None:
    """Writes the tree of these programs into an empty folder; raises as `plan` does."""
    gathering.write(plan(names), folder)
    os.chmod(folder, 0o755)  # noqa: S103 - the root of an image is for everybody


class _Gatherer:
    """A tree in the making."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._libraries = Libraries()
        self._loaded: set[str] = set()
        self._found: set[str] = set()
        self._pythons: set[str] = set()
        self._bundles: set[str] = set()
        self._sample: elf.Elf | None = None

    def add_layout(self) -> None:
        """Folders that every image has, and the merged /usr where the host has it: scripts say /bin/sh."""
        tree = self._tree
        for name in ("bin", "sbin", "lib", "lib64", "lib32"):
            try:
                linked = stat.S_ISLNK(os.lstat(f"/{name}").st_mode)
            except OSError:
                continue
            if linked:
                tree.add_if_there(f"/{name}")
            elif name in ("bin", "sbin", "lib"):
                tree.folder(f"/{name}", 0o755)
        folders = "/dev /etc /home /proc /run /sys /usr/bin /usr/sbin /usr/local/bin /usr/local/sbin /var/lib /var/log"
        for path in folders.split():
            tree.folder(path, 0o755)
        for path in ("/tmp", "/var/tmp"):  # noqa: S108 - the image's
            tree.folder(path, 0o1777)
        tree.link("/var/run", "/run")

    def add_named(self, name: str) -> None:
        """A program that the user named, found under its name in the image."""
        found = programs.find(name)
        place = self._add_program(found, named=True)
        called = os.path.basename(name)
        # The interpreter behind a virtual environment's `python` may be called python3.11 alone.
        if posixpath.dirname(place) not in programs.IMAGE_PATH or posixpath.basename(place) != called:
            self._tree.link(f"/usr/local/bin/{called}", place)

    def _add_program(self, path: str, *, named: bool = False) -> str:
        """Adds a program with all that it needs; returns where it is to be found in the image."""
        shim = programs.is_shim(path)
        if host_python.is_python(path) and (shim or programs.in_virtual_environment(path)):
            interpreter = host_python.ask(path)
            self._add_file(interpreter.executable, secret=True)
            self._add_python(os.path.realpath(interpreter.executable), interpreter)
            return interpreter.executable
        if shim:
            raise InvalidConfig(
                f"`{path}` is a version manager's shim, which works only there",
                hint="give the absolute path of the program that it runs",
            )
        real = self._add_file(path, secret=named)
        if not self._load(real, []):
            for wanted in programs.interpreter_of(real):
                self._add_interpreter(wanted)
        elif host_python.is_python(real) and real not in self._pythons:
            self._add_python(real, host_python.ask(real))
        return path

    def _add_interpreter(self, wanted: str) -> None:
        """What a script's first line asks for, to be found there by the path that the line says."""
        found = programs.find(wanted)
        place = self._add_program(found)
        if found != place:
            self._tree.link(found, place)

    def _add_python(self, real: str, interpreter: host_python.Interpreter) -> None:
        if real in self._pythons:
            return
        self._pythons.add(real)
        self._load(real, [])
        for extension in host_python.add_library(self._tree, interpreter):
            # A module whose library the host lacks cannot be imported on the host either.
            self._load(os.path.realpath(extension), [], optional=True)
        if interpreter.bundle:
            self._bundles.add(interpreter.bundle)

    def _add_file(self, path: str, *, secret: bool = False) -> str:
        try:
            return self._tree.add(path, secret=secret)
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise InvalidConfig(f"`{path}` cannot be taken into an image: {reason}") from None

    def _load(self, path: str, inherited: list[str], *, optional: bool = False) -> bool:
        """Adds the loader and the libraries of an ELF file; False for another file."""
        found = elf.read(path)
        if found is None:
            return False
        if path in self._loaded:
            return True
        self._loaded.add(path)
        origin = os.path.dirname(path)
        if found.interpreter:
            self._add_file(found.interpreter)
        if found.needed:
            self._sample = self._sample or found
        passed = inherited if found.runpath else [*expanded(found.rpath, origin, found), *inherited]
        for name in found.needed:
            library = self._libraries.find(name, found, origin, inherited)
            if library is None:
                if optional:
                    continue
                raise InvalidConfig(
                    f"`{path}` needs the library `{name}`, which this host does not have",
                    hint="install the package that has it",
                )
            self._found.add(library)
            self._load(self._add_file(library), passed, optional=optional)
        return True

    def finish(self) -> None:
        """What is loaded without being asked for, and /etc with the loader's cache of what has come along."""
        if self._sample is not None:
            for name in _LOADED_LATER:
                library = self._libraries.find(name, self._sample, "/", [])
                if library is not None and self._tree.add_if_there(library):
                    self._found.add(library)
                    self._load(os.path.realpath(library), [], optional=True)
            for folder in _LOCALES:
                self._add_all(folder)
        cache = [entry for entry in self._libraries.cache if entry.path in self._found and not entry.hardware]
        add_etc(self._tree, cache if self._sample is not None else [], self._bundles)
        self._tree.folder("/root", 0o700)

    def _add_all(self, folder: str) -> None:
        if not os.path.isdir(folder):
            return
        for parent, _, names in os.walk(folder):
            for name in names:
                self._tree.add_if_there(f"{parent}/{name}")
