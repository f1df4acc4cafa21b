"""Receive, send and watch the client of one HTTP request (docs/design.md)."""
