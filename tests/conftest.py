"""What every test may ask for: `anyio_backend`, which runs a test once on asyncio and once on trio."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# A busy machine is no failure: no test here depends on how long an example takes.
settings.register_profile("kui", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kui")

# What runs in the background of a shell ignores Ctrl-C, and so would all the servers that are started here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)
