"""NamedTuple without `typing`: the same classes, for a tenth of what a command with nothing to do takes.

`typing` costs 4 ms to import beside what is loaded anyway, and makes an object of each annotation of each class; a plan
needs thirty of them. Type checkers see the original.
"""

from __future__ import annotations

from collections import namedtuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:

    class _Maker(type):
        """Makes of `class X(NamedTuple)` what `typing` would: a class of tuples with its fields, defaults, methods."""

        def __new__(cls, name, bases, members):
            if not bases:
                return super().__new__(cls, name, bases, members)
            fields = members.get("__annotations__", {})
            defaults = [members.pop(field) for field in list(fields) if field in members]
            made = namedtuple(name, fields, defaults=defaults, module=members["__module__"])
            for key, value in members.items():
                if key not in ("__module__", "__qualname__"):
                    setattr(made, key, value)
            return made

    class NamedTuple(metaclass=_Maker):
        """The base to name."""
