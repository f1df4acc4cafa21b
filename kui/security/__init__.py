"""Security schemes: they read a client's credentials, refuse a request without them, and describe themselves.

A scheme is a dependency: `Security(scheme)` gives the credentials. The application must check them itself, in a
dependency of its own.
"""

from .combined import any_of
from .schemes import (
    APIKey,
    BasicCredentials,
    HTTPBasic,
    HTTPBearer,
    OAuth2Password,
    SecurityScheme,
    same,
)

__all__ = [
    "APIKey",
    "BasicCredentials",
    "HTTPBasic",
    "HTTPBearer",
    "OAuth2Password",
    "SecurityScheme",
    "any_of",
    "same",
]
