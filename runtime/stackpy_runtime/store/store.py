"""The index of everything that the engine holds: one SQLite file, read directly by whoever wants to know.

Reading needs no process of ours and creates nothing; writing takes SQLite's write lock for about a millisecond. Both
may be done from several threads and processes at once.
"""

from __future__ import annotations

from stackpy_runtime.store.containers import ContainerTable
from stackpy_runtime.store.images import ImageTable
from stackpy_runtime.store.networks import NetworkTable
from stackpy_runtime.store.steps import StepTable
from stackpy_runtime.store.volumes import SecretTable, VolumeTable


class Store(ContainerTable, NetworkTable, VolumeTable, SecretTable, ImageTable, StepTable):
    """The store of one engine root.

    root: the root, or its path
    create: make the root and the database where they are missing; without it a missing root reads as empty, nothing
        is created, and writing raises EngineError
    read_only: writing raises EngineError whatever there is
    """
