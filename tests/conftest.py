"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# A busy machine must not fail a property: speed is shown by benchmarks, never by tests.
settings.register_profile("tfgrpo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tfgrpo")
