"""The engine's lab for the tests of this folder."""

from tests.engine_lab import canary_fixture, lab_fixture, lab_of_session_fixture

__all__ = ["canary_fixture", "lab_fixture", "lab_of_session_fixture"]
