"""The Redis of the tests of channels, for those in processes too."""

from tests.channels.conftest import redis  # noqa: F401 - a fixture
