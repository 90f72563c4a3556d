"""Hashing beside other work gives what hashing does, and leaves no thread behind."""

from __future__ import annotations

import gc
import hashlib
import threading
import time

from hypothesis import given, settings
from hypothesis import strategies as st

from stackpy_runtime.image.hashing import Sha256

sizes = st.lists(st.sampled_from([0, 1, 1000, 32 << 10, 100_000]), max_size=8)


@settings(deadline=None)  # a busy machine stops it for longer than any
@given(sizes, sizes)
def test_the_digest_is_sha256(before: list[int], after: list[int]) -> None:
    ours, theirs = Sha256(), hashlib.sha256()
    for part in (before, after):
        for number, size in enumerate(part):
            piece = bytes([number]) * size
            ours.update(piece)
            theirs.update(piece)
        # Asked for in the middle it goes on afterwards.
        assert ours.hexdigest() == theirs.hexdigest()


def test_no_thread_stays() -> None:
    before = threading.active_count()
    abandoned = [Sha256() for _ in range(5)]
    for each in abandoned:
        for _ in range(10):
            each.update(bytes(100_000))
    asked = Sha256()
    asked.update(bytes(100_000))
    asked.hexdigest()
    abandoned.clear()
    del each
    gc.collect()
    deadline = time.monotonic() + 60
    while threading.active_count() > before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert threading.active_count() == before
