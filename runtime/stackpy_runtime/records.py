"""NamedTuple without `typing` and `collections`, whose imports cost 5 ms and each class of theirs another 0.2.

A plan needs thirty of them. Type checkers see the original.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NamedTuple as NamedTuple
else:
    from _collections import _tuplegetter  # as collections.namedtuple does

    class _Maker(type):
        """Makes of `class X(NamedTuple)` what `typing` would: a class of tuples with its fields, defaults, methods."""

        def __new__(cls, name, bases, members):
            if not bases:
                return super().__new__(cls, name, bases, members)
            fields = tuple(members.pop("__annotations__", {}))
            defaults = {field: members.pop(field) for field in fields if field in members}
            getters = {field: _tuplegetter(index, "") for index, field in enumerate(fields)}
            own = {"__slots__": (), "__match_args__": fields, "_fields": fields, "_field_defaults": defaults}
            return type(name, (_Record,), {**own, **getters, **members})

    class _Record(tuple):
        """What the classes have in common; as collections.namedtuple documents it."""

        __slots__ = ()

        def __new__(cls, *values, **named):
            fields = cls._fields
            if named or len(values) != len(fields):
                values = cls._completed(values, named)
            return tuple.__new__(cls, values)

        @classmethod
        def _completed(cls, values, named):
            given = dict(zip(cls._fields, values, strict=False))
            wrong = [name for name in named if name in given or name not in cls._fields]
            complete = {**cls._field_defaults, **given, **named}
            missing = [name for name in cls._fields if name not in complete]
            if wrong or missing or len(values) > len(cls._fields):
                what = f"unexpected or twice: {wrong}, missing: {missing}, {len(values)} given by position"
                raise TypeError(f"{cls.__name__}{cls._fields}: {what}")
            return [complete[name] for name in cls._fields]

        def __repr__(self):
            shown = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
            return f"{type(self).__name__}({shown})"

        def __getnewargs__(self):
            return tuple(self)

        def _asdict(self):
            return dict(zip(self._fields, self, strict=True))

        def _replace(self, **changed):
            return type(self)(**{**self._asdict(), **changed})

    class NamedTuple(metaclass=_Maker):
        """The base to name."""
