"""The security schemes: HTTP basic and bearer, API keys, the password flow of OAuth2 (OpenAPI 3.1, 4.8.27)."""

from __future__ import annotations

import binascii
import hmac
from abc import ABC, abstractmethod
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from kui.current import http_connection
from kui.http.exceptions import HTTPException
from kui.http.headers import is_token

__all__ = [
    "APIKey",
    "BasicCredentials",
    "HTTPBasic",
    "HTTPBearer",
    "OAuth2Password",
    "SecurityScheme",
    "same",
    "unauthorized",
]


def same(given: str, expected: str) -> bool:
    """Return True if two secrets are equal, in a time that does not depend on where they differ.

    Example: `same(token, settings.token)`.
    """
    return hmac.compare_digest(given.encode("utf-8", "surrogatepass"), expected.encode())


def unauthorized(*challenges: str) -> HTTPException[str]:
    """Return the exception to raise if credentials are missing or wrong: 401 (RFC 9110, section 15.5.2).

    :param challenges: one for each scheme, for `WWW-Authenticate`.

    Example: `raise unauthorized('Bearer realm="shop"')`.
    """
    headers = {"www-authenticate": ", ".join(challenges)} if challenges else None
    return HTTPException(401, headers, "Credentials are missing or malformed.")


class SecurityScheme(ABC):
    """Reads credentials of one kind, and describes itself for OpenAPI.

    Calling it returns the credentials of the current request or WebSocket handshake. A subclass of your own must
    override `read`, `challenge` and `described`.

    :raises HTTPException: 401, if it is called and the client has sent no such credentials.
    """

    name: str
    """The name of its component in the description."""

    @abstractmethod
    def read(self) -> Any:
        """Return the credentials of the current connection, or None if there are none of this kind."""

    @property
    @abstractmethod
    def challenge(self) -> str:
        """The value of `WWW-Authenticate` in a 401 (RFC 9110, 11.6.1)."""

    @abstractmethod
    def described(self) -> Mapping[str, Any]:
        """Return its Security Scheme Object (OpenAPI 3.1, 4.8.27)."""

    def __call__(self) -> Any:
        credentials = self.read()
        if credentials is None:
            raise unauthorized(self.challenge)
        return credentials


def header_values(name: str) -> list[str]:
    """Return the values of all headers with a name, one for each header line of the request."""
    wanted = name.lower().encode()
    return [value.decode("latin-1") for key, value in http_connection["headers"] if key == wanted]


def authorization(scheme: str) -> str | None:
    """Return the part of the Authorization header after the scheme's name.

    Return None if there is no such header, more than one, or another scheme.
    """
    values = header_values("authorization")
    if len(values) != 1:
        return None
    name, _, rest = values[0].strip(" \t").partition(" ")
    return rest.strip(" ") if name.lower() == scheme else None


def quoted(text: str) -> str:
    """Return a text as a quoted string (RFC 9110, 5.6.4).

    :raises ValueError: it is not printable ASCII.
    """
    if not text.isascii() or not text.isprintable():
        raise ValueError(f"a realm is printable ASCII, not {text!r}")
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


@dataclass(frozen=True, slots=True)
class BasicCredentials:
    """A name and a password, as a client has sent them. The password is not shown by `repr`."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"BasicCredentials(username={self.username!r}, password=...)"


class HTTPBasic(SecurityScheme):
    """A name and a password in the Authorization header (RFC 7617). Gives `BasicCredentials`.

    :param realm: the area that the credentials are for; browsers may show it.
    :param name: the name of its component in the OpenAPI description.
    :param description: a text for the OpenAPI description.
    :raises ValueError: the realm is not printable ASCII.

    Example::

        basic = HTTPBasic(realm="shop")

        async def user(credentials: Annotated[BasicCredentials, Security(basic)]) -> User:
            user = await find_user(credentials.username)
            if user is None or not await fits(user, credentials.password):
                raise unauthorized(basic.challenge)
            return user
    """

    def __init__(self, *, realm: str = "api", name: str = "basic", description: str = "") -> None:
        self.name = name
        self._description = description
        self._challenge: Final = f'Basic realm={quoted(realm)}, charset="UTF-8"'

    def read(self) -> BasicCredentials | None:
        encoded = authorization("basic")
        if encoded is None:
            return None
        try:
            text = b64decode(encoded, validate=True).decode()
        except (binascii.Error, ValueError):
            return None
        username, colon, password = text.partition(":")
        if not colon or not (text.isprintable()):
            return None
        return BasicCredentials(username, password)

    @property
    def challenge(self) -> str:
        return self._challenge

    def described(self) -> Mapping[str, Any]:
        return _described("http", self._description, scheme="basic")


class HTTPBearer(SecurityScheme):
    """A token in the Authorization header (RFC 6750). Gives the token, a str.

    :param realm: the area that the token is for.
    :param bearer_format: the format of the token, such as `JWT`, for the OpenAPI description.
    :param name: the name of its component in the OpenAPI description.
    :param description: a text for the OpenAPI description.
    :raises ValueError: the realm is not printable ASCII.

    Example: `token: Annotated[str, Security(HTTPBearer())]`.
    """

    def __init__(
        self,
        *,
        realm: str = "api",
        bearer_format: str = "",
        name: str = "bearer",
        description: str = "",
    ) -> None:
        self.name = name
        self._format = bearer_format
        self._description = description
        self._challenge: Final = f"Bearer realm={quoted(realm)}"

    def read(self) -> str | None:
        token = authorization("bearer")
        return token if token and " " not in token and token.isprintable() else None

    @property
    def challenge(self) -> str:
        return self._challenge

    def described(self) -> Mapping[str, Any]:
        more = {"bearerFormat": self._format} if self._format else {}
        return _described("http", self._description, scheme="bearer", **more)


class APIKey(SecurityScheme):
    """A key in a header, in the query or in a cookie. Gives the key, a str.

    A key in the query is written to logs and histories: use a header if you can.

    :param key: the name of the header, of the query parameter or of the cookie.
    :param location: `"header"`, `"query"` or `"cookie"`.
    :param name: the name of its component in the OpenAPI description; by default made of location and key.
    :param description: a text for the OpenAPI description.
    :raises ValueError: there is no such location, or `key` cannot be the name of a header or cookie.

    Example: `key: Annotated[str, Security(APIKey("x-api-key"))]`.
    """

    def __init__(
        self,
        key: str,
        location: Literal["header", "query", "cookie"] = "header",
        *,
        name: str = "",
        description: str = "",
    ) -> None:
        if location not in ("header", "query", "cookie"):
            raise ValueError(f'an API key is in "header", "query" or "cookie", not {location!r}')
        if location != "query" and not is_token(key):
            raise ValueError(f"{key!r} is no name of a {location} (RFC 9110, 5.6.2)")
        self._key = key
        self._location = location
        self._description = description
        self.name = name or f"key_{key.lower().replace('-', '_')}"

    def read(self) -> str | None:
        if self._location == "header":
            values = header_values(self._key)
        elif self._location == "query":
            values = http_connection.query_params.getlist(self._key)
        else:
            cookie = http_connection.cookies.get(self._key)
            values = [] if cookie is None else [cookie]
        return values[0] if len(values) == 1 and values[0] else None

    @property
    def challenge(self) -> str:
        # There is no registered scheme for keys; a 401 must have a challenge (RFC 9110, 15.5.2).
        return f"ApiKey in={quoted(self._location)}, name={quoted(self._key)}"

    def described(self) -> Mapping[str, Any]:
        more = {"in": self._location, "name": self._key}
        return _described("apiKey", self._description, **more)


class OAuth2Password(HTTPBearer):
    """A bearer token that a client gets for a name and a password (OAuth 2.0, RFC 6749, section 4.3). Gives the token.

    The application must write the handler of `token_url`, which gives the token.

    :param token_url: the URL at which a client gets a token, absolute or relative to the OpenAPI description.
    :param scopes: a mapping from the name of each scope to a sentence about it.
    :param realm: the area that the token is for.
    :param name: the name of its component in the OpenAPI description.
    :param description: a text for the OpenAPI description.

    Example: `oauth = OAuth2Password("/token", scopes={"orders": "read and write orders"})`.
    """

    def __init__(
        self,
        token_url: str,
        *,
        scopes: Mapping[str, str] | None = None,
        realm: str = "api",
        name: str = "oauth2",
        description: str = "",
    ) -> None:
        super().__init__(realm=realm, name=name, description=description)
        self._token_url = token_url
        self._scopes = dict(scopes or {})

    def described(self) -> Mapping[str, Any]:
        flow = {"tokenUrl": self._token_url, "scopes": self._scopes}
        return _described("oauth2", self._description, flows={"password": flow})


def _described(kind: str, description: str, **more: Any) -> Mapping[str, Any]:
    return {"type": kind, **({"description": description} if description else {}), **more}
