"""Property tests assert no speed: on a machine that is busy one example may take seconds."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

settings.register_profile("busy machines", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machines")
