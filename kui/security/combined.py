"""Combine security schemes of which a client needs only one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .schemes import SecurityScheme

__all__ = ["AnyOf", "any_of"]


class AnyOf(SecurityScheme):
    """A scheme that `any_of` makes: it gives the credentials of the first of its schemes that finds some."""

    def __init__(self, schemes: tuple[SecurityScheme, ...]) -> None:
        self.schemes = schemes
        self.name = "_or_".join(scheme.name for scheme in schemes)

    def read(self) -> Any:
        for scheme in self.schemes:
            credentials = scheme.read()
            if credentials is not None:
                return credentials
        return None

    @property
    def challenge(self) -> str:
        return ", ".join(scheme.challenge for scheme in self.schemes)

    def described(self) -> Mapping[str, Any]:
        raise TypeError("any_of() has no description of its own: describe its schemes")


def any_of(*schemes: SecurityScheme) -> AnyOf:
    """Make a scheme of several of which a client needs only one. A 401 has the challenges of all.

    Without it, a client needs all schemes that a handler declares.

    :raises TypeError: there are fewer than two schemes, or an argument is no scheme.

    Example: `who: Annotated[str | BasicCredentials, Security(any_of(HTTPBearer(), HTTPBasic()))]`.
    """
    if len(schemes) < 2 or not all(isinstance(scheme, SecurityScheme) for scheme in schemes):
        raise TypeError(
            "any_of() takes two security schemes or more: any_of(HTTPBearer(), HTTPBasic())"
        )
    flat = [
        one
        for scheme in schemes
        for one in (scheme.schemes if isinstance(scheme, AnyOf) else (scheme,))
    ]
    return AnyOf(tuple(flat))
