"""URLs of requests: the requested URL, the path for routing, and the query (RFC 3986).

In `kui run` and uvicorn, path and raw_path begin with root_path, as ASGI requires; hypercorn and granian do not change
them. These functions are right for all of them, with one exception: if a proxy removes root_path, then under hypercorn
and granian a path of the app that itself begins with root_path cannot be recognised. The server runner decides which
proxies may set scheme and host.
"""

from __future__ import annotations

import re
from binascii import a2b_qp
from urllib.parse import quote

from baize.datastructures import URL, QueryParams
from baize.typing import Scope

from .exceptions import HTTPException
from .hosts import valid_host

__all__ = [
    "base_url",
    "below_root",
    "build_url",
    "full_paths",
    "parse_pairs",
    "parse_query",
    "parse_query_pairs",
    "parse_referrer",
    "percent_decode",
    "put_root_first",
    "request_name",
    "route_path",
]

_DEFAULT_PORTS = {"http": 80, "https": 443, "ws": 80, "wss": 443}

# The characters that a path or a query may contain unescaped (RFC 3986, 3.3 and 3.4), without the percent sign.
_UNRESERVED_AND_MORE = r"A-Za-z0-9\-._~!$&'()*+,;=:@/"
_ILLEGAL_IN_PATH = re.compile(rf"[^{_UNRESERVED_AND_MORE}%]|%(?![0-9A-Fa-f]{{2}})")
_ILLEGAL_IN_QUERY = re.compile(rf"[^{_UNRESERVED_AND_MORE}?%]|%(?![0-9A-Fa-f]{{2}})")
_PATH_SAFE = "/:@!$&'()*+,;=~"

_ABSOLUTE = re.compile(r"[A-Za-z][A-Za-z0-9+\-.]*://[^/?#]*")


_LONGEST_NAME = 200


def request_name(scope: Scope) -> str:
    """Return the method and the path of a request, or of a WebSocket, for logs: `"GET /items/7"`.

    The path is percent-encoded, as it was sent, and without the query, which may hold secrets. It is cut after 200
    characters, and characters that could end a log line are escaped.
    """
    target: bytes = scope.get("raw_path") or quote(scope["path"], safe=_PATH_SAFE).encode("ascii")
    path = target.partition(b"?")[0].decode("latin-1").encode("unicode_escape").decode("ascii")
    if len(path) > _LONGEST_NAME:
        path = path[:_LONGEST_NAME] + "..."
    return f"{scope.get('method', 'WEBSOCKET')} {path}"


def _origin(scope: Scope) -> str:
    """Return scheme://host by the Host header or the server's address; "" if there is neither."""
    scheme = scope.get("scheme") or "http"
    if scheme not in _DEFAULT_PORTS:
        scheme = "http"
    for name, value in scope.get("headers", ()):
        if name == b"host":
            if _names_a_host(value):
                return f"{scheme}://{value.decode('ascii')}"
            break
    host, port = scope.get("server") or ("", None)
    if ":" in host:
        host = f"[{host}]"
    if port is not None and port != _DEFAULT_PORTS[scheme]:
        host = f"{host}:{port}"
    # A Unix socket has a path instead of a host.
    return f"{scheme}://{host}" if _names_a_host(host.encode("utf-8", "replace")) else ""


def _names_a_host(host: bytes) -> bool:
    # Addresses of future IP versions are valid, but cannot be used yet.
    return valid_host(host) and host[:2] not in (b"[v", b"[V")


def _root(scope: Scope) -> str:
    return _normal_root(scope.get("root_path") or "")


def _normal_root(root: str) -> str:
    root = root.strip("/")
    return f"/{root}" if root else ""


def _below(root: str, path: str) -> bool:
    return path.startswith(root) and path[len(root) : len(root) + 1] in ("", "/")


def _strip_authority(path: str) -> str:
    """Turn a request target in absolute form (RFC 9112 3.2.2) into its path."""
    match = _ABSOLUTE.match(path)
    return (path[match.end() :] or "/") if match else path


def route_path(scope: Scope) -> str:
    """Return the path for routing: decoded, and without the root_path at its beginning, if it is there.

    A root_path matches whole segments only: `/api` is no prefix of `/apiary`. If the rest is empty, the result is `/`.

    Example::

        route_path({"root_path": "/api", "path": "/api/users"})  # "/users"
    """
    path: str = scope["path"]
    if path[:1] != "/":
        path = _strip_authority(path)
    if not scope.get("root_path"):
        return path
    root = _root(scope)
    return (path[len(root) :] or "/") if _below(root, path) else path


def put_root_first(scope: Scope, root: str) -> Scope:
    """Return the scope with `root` at the beginning of its path (ASGI), behind a proxy that has removed `root`.

    Example::

        put_root_first({"path": "/users"}, "/api")  # {"path": "/api/users", "root_path": "/api"}
    """
    root = _normal_root(root)
    path = _strip_authority(scope["path"])
    if path == "*":  # a request for the server, not for the app (RFC 9110, 9.3.7)
        return {**scope, "root_path": root}
    changed = {**scope, "root_path": root, "path": root + path}
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        sent = _strip_authority(raw.decode("latin-1"))
        changed["raw_path"] = (quote(root, safe=_PATH_SAFE) + sent).encode("latin-1")
    return changed


def below_root(scope: Scope, root: str) -> Scope:
    """Return the scope with `root` as root_path, behind a proxy that leaves it in the path; "" for paths outside of it.

    Example::

        below_root({"path": "/api/users"}, "/api")  # {"path": "/api/users", "root_path": "/api"}
    """
    root = _normal_root(root)
    below = _below(root, _strip_authority(scope["path"]))
    return {**scope, "root_path": root if below else ""}


def full_paths(scope: Scope) -> tuple[str, str, bytes | None]:
    """Return root_path, path and raw_path as ASGI requires them: the others begin with root_path.

    raw_path is None if the server gives none. The host of a request target in absolute form is removed.

    Example::

        full_paths({"root_path": "/api", "path": "/users"})  # ("/api", "/api/users", None)
    """
    root = _root(scope)
    path = _strip_authority(scope["path"])
    if not _below(root, path):
        path = root + path
    raw: bytes | None = scope.get("raw_path")
    if raw is not None:
        sent = _strip_authority(raw.decode("latin-1"))
        if not _below(root, percent_decode(sent.encode("latin-1")).decode("utf-8", "replace")):
            sent = quote(root, safe=_PATH_SAFE) + sent
        raw = sent.encode("latin-1")
    return root, path, raw


def _escape(text: str, illegal: re.Pattern[str]) -> str:
    """Percent-encode the illegal characters of `text`, which are bytes decoded as latin-1."""
    return illegal.sub(lambda match: f"%{ord(match[0]):02X}", text)


def _url_path(scope: Scope) -> str:
    raw: bytes | None = scope.get("raw_path")
    sent = quote(scope["path"], safe=_PATH_SAFE) if raw is None else raw.decode("latin-1")
    if sent[:1] != "/":
        sent = "" if sent == "*" else _strip_authority(sent)
        if sent and sent[:1] != "/":
            sent = f"/{sent}"
    path = _escape(sent.partition("?")[0], _ILLEGAL_IN_PATH)
    if scope.get("root_path"):
        root = _root(scope)
        if not _below(root, percent_decode(path.encode("ascii")).decode("utf-8", "replace")):
            path = quote(root, safe=_PATH_SAFE) + path
    return path


def build_url(scope: Scope) -> URL:
    """Return the URL of a request, as the client sees it. It never raises.

    The path is raw_path if the server gives one: percent-encoding is kept as it was sent, and only characters that
    RFC 3986 does not allow are escaped; so is the query, which may be any bytes. The host is that of a valid Host
    header, or the server's address. The path begins with root_path exactly once.

    Example::

        str(build_url(scope))  # "https://example.com/api/a%2Fb?q=%E9"
    """
    origin, path = _origin(scope), _url_path(scope)
    if not origin and path.startswith("//"):
        origin = "http://"  # otherwise the first segment would be read as a host
    query: bytes = scope.get("query_string") or b""
    if query:
        return URL(f"{origin}{path}?{_escape(query.decode('latin-1'), _ILLEGAL_IN_QUERY)}")
    return URL(origin + path)


def base_url(scope: Scope) -> str:
    """Return the beginning of every URL of this app: scheme, host, root_path, without a slash at the end.

    Example::

        base_url(scope) + "/users"  # "https://example.com/api/users"
    """
    return _origin(scope) + quote(_root(scope), safe=_PATH_SAFE)


def parse_referrer(header: str | None) -> URL | None:
    """Return the URL of a Referer header, absolute or relative; None if it is missing or no URL."""
    if not header or not header.isprintable() or " " in header:
        return None
    try:
        url = URL(header)
        _ = url.port  # parsed only here, and may raise
    except ValueError:
        return None
    return url


_PERCENT = ord("%")  # `in` finds a number in bytes nine times as fast as a bytes object
_SWAP = bytes.maketrans(b"%=", b"=%")


def percent_decode(data: bytes) -> bytes:
    """Decode `%41` and so on. A percent sign without two hexadecimal digits is kept (WHATWG URL).

    This takes linear time and a small multiple of the memory of `data`.
    """
    if _PERCENT not in data:
        return data
    # Quoted-printable is the same encoding with another sign, and Python decodes it in C. First the
    # signs that it would treat differently (doubled, before a line break, at the end) are encoded.
    data = data.replace(b"%%", b"%25%").replace(b"%%", b"%25%")
    data = data.replace(b"%\r", b"%25\r").replace(b"%\n", b"%25\n")
    if data.endswith(b"%"):
        data += b"25"
    data = data.replace(b"%3d", b"%3D").replace(b"%25", b"%3d").replace(b"%3D", b"%25")
    return a2b_qp(data.translate(_SWAP)).translate(_SWAP)


def parse_pairs(data: bytes, codec: str = "utf-8") -> list[tuple[str, str]]:
    """Return the names and values of `name=value&name=value`, decoded (WHATWG URL 5.1).

    `+` is a space, a name without `=` has an empty value, and bytes that do not fit the codec become U+FFFD. This takes
    linear time. The caller must have limited the number of fields.
    """
    data = data.replace(b"+", b" ")
    if _PERCENT not in data:
        pairs = []
        for piece in data.decode(codec, "replace").split("&"):
            if piece:
                name, _, value = piece.partition("=")
                pairs.append((name, value))
        return pairs
    fields = [piece.partition(b"=") for piece in data.split(b"&") if piece]
    return [
        (
            percent_decode(name).decode(codec, "replace"),
            percent_decode(value).decode(codec, "replace"),
        )
        for name, _, value in fields
    ]


def parse_query(query_string: bytes, max_fields: int = 10_000) -> QueryParams:
    """Return the fields of a query as a mapping with several values for a key. Invalid UTF-8 becomes U+FFFD.

    :param max_fields: the limit of fields, which are counted before they are parsed.
    :raises HTTPException: 400, if there are more.

    Example::

        parse_query(b"a=1&a=2").getlist("a")  # ["1", "2"]
    """
    return _Query(parse_query_pairs(query_string, max_fields))


class _Query(QueryParams):
    """QueryParams that are made of a list of pairs, which is faster than the general constructor of baize."""

    __slots__ = ()

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._list = pairs
        self._dict = dict(pairs)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QueryParams) and sorted(self._list) == sorted(other.multi_items())

    def __repr__(self) -> str:
        return f"QueryParams({str(self)!r})"


def parse_query_pairs(query_string: bytes, max_fields: int = 10_000) -> list[tuple[str, str]]:
    """Return the names and values of a query in order. Parameters and errors are those of `parse_query`."""
    if not query_string:
        return []
    if query_string.count(b"&") >= max_fields:
        raise HTTPException(400, content=f"The query has more than {max_fields} fields.")
    return parse_pairs(query_string)
