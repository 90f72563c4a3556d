"""Fixtures of the labs for the tests of this folder."""

from tests.build_lab import builder_fixture
from tests.engine_lab import canary_fixture, lab_fixture, lab_of_session_fixture
from tests.registry_lab import before_fixture, engine_fixture, registry_fixture

__all__ = [
    "before_fixture",
    "builder_fixture",
    "canary_fixture",
    "engine_fixture",
    "lab_fixture",
    "lab_of_session_fixture",
    "registry_fixture",
]
