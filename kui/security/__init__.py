"""Security schemes: what reads a client's credentials, refuses a request without them, and describes itself.

A scheme is a dependency. `Security(scheme)` gives the credentials; whether they are right is for the application to
say, in a dependency of its own.
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
