"""Keeps a laptop in step with the files that are edited: `watch` applies a stack again whenever one of them changes."""

from stackpy.watching.loop import WatchView, watch

__all__ = ["WatchView", "watch"]
