"""Receive, send and keep the time for one WebSocket (docs/design.md, "A WebSocket")."""
