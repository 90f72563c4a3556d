"""Work beside other work: in order, within bounds, and what it fails with is raised where its result is wanted."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stackpy_runtime.image.beside import Beside

PIECE = bytes(64 << 10)


def failing(fails_at: int) -> tuple[list[int], Callable[[bytes], None]]:
    done: list[int] = []

    def work(data: bytes) -> None:
        if len(done) == fails_at:
            raise OSError(28, "No space left on device")
        done.append(data[0])

    return done, work


@pytest.mark.parametrize("size", [100, 64 << 10])
def test_everything_is_done_in_order(size: int) -> None:
    done, work = failing(-1)
    beside = Beside(work)
    for number in range(50):
        beside.give(bytes([number]) * size)
    beside.wait()
    assert done == list(range(50))
    beside.finish()
    beside.give(bytes([50]) * size)
    beside.finish()
    assert done == list(range(51))


def test_a_failure_is_raised_by_whatever_comes_next_and_stops_the_rest() -> None:
    asked: list[Callable[[Beside], None]] = [
        lambda beside: beside.wait(),
        lambda beside: beside.finish(),
        lambda beside: [beside.give(PIECE) for _ in range(10)] and None,  # type: ignore[func-returns-value]
    ]
    for ask in asked:
        done, work = failing(1)
        beside = Beside(work)
        beside.give(PIECE)
        beside.give(PIECE)
        with pytest.raises(OSError, match="No space left"):
            ask(beside)
        beside.close()  # raises nothing
        assert done == [0]
        with pytest.raises(OSError, match="No space left"):
            beside.finish()


def test_nobody_is_let_run_ahead_for_ever() -> None:
    done, work = failing(-1)
    beside = Beside(work)
    ahead = []
    for number in range(200):
        beside.give(PIECE)
        ahead.append(number + 1 - len(done))
    beside.finish()
    assert max(ahead) <= 5  # four that wait, and the one that is worked on
