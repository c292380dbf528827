"""Settings of all tests."""

import signal

from hypothesis import HealthCheck, settings

# A busy machine must not fail a property: speed is shown by benchmarks, never by tests.
settings.register_profile("tfgrpo", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("tfgrpo")

# A shell starts what it runs in the background with Ctrl-C ignored, and what tests start there would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
