"""Kui: a web framework whose every wait is structured."""

__version__ = "0.1.0"
