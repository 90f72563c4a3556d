"""NamedTuple without `typing`: what its users rely on."""

from __future__ import annotations

import pickle

import pytest

from stackpy.records import NamedTuple


class Place(NamedTuple):
    """A place."""

    file: str
    line: int = 1
    names: tuple[str, ...] = ()

    @property
    def shown(self) -> str:
        return f"{self.file}:{self.line}"


def test_a_record_is_a_tuple_with_names() -> None:
    place = Place("stack.py", 3)
    assert (place.file, place.line, place.names, place.shown) == ("stack.py", 3, (), "stack.py:3")
    assert place == ("stack.py", 3, ()) and hash(place) == hash(("stack.py", 3, ()))
    assert repr(place) == "Place(file='stack.py', line=3, names=())"
    assert Place(line=2, file="a") == Place("a", 2)
    assert place._replace(line=4) == Place("stack.py", 4) and place._asdict()["line"] == 3
    assert Place._fields == ("file", "line", "names") and Place.__doc__ == "A place."
    assert pickle.loads(pickle.dumps(place)) == place
    match place:
        case Place(file, line):
            assert (file, line) == ("stack.py", 3)
    with pytest.raises(AttributeError):
        place.file = "other"  # type: ignore[misc]


@pytest.mark.parametrize("given", [{}, {"file": "a", "other": 1}])
def test_wrong_arguments_are_named(given: dict[str, object]) -> None:
    with pytest.raises(TypeError, match="Place"):
        Place(**given)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Place"):
        Place("a", 1, (), "more")  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="twice"):
        Place("a", file="b")  # type: ignore[misc]
