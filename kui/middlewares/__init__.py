"""Middlewares: each is an endpoint decorator, `middleware(endpoint) -> endpoint`."""
