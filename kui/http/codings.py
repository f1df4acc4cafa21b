"""Choose the content coding for a client (RFC 9110, section 8.4.1), and compress piece by piece.

Nothing here waits. `middlewares/compression.py` decides what is compressed. br and zstd are available if their packages
are installed.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Final, NamedTuple, Protocol

__all__ = ["LEVELS", "Coder", "Preference", "available", "compressible", "maker", "preferred"]

LEVELS: Final = {"zstd": 3, "br": 4, "gzip": 6}
"""The codings, the preferred one first, with the compression level of each for responses."""

_WINDOW: Final = 18
"""The binary logarithm of the window of br and zstd: 256 KiB of memory for each open response."""

_PACKAGES: Final = {
    "br": ("brotli", "brotlicffi"),
    "zstd": ("compression.zstd", "backports.zstd"),  # in the standard library since Python 3.14
}
_ELEMENT: Final = re.compile(
    r"[ \t]*([!#$%&'*+\-.^_`|~0-9A-Za-z]+)[ \t]*(?:;[ \t]*[qQ]=([01](?:\.[0-9]{0,3})?)[ \t]*)?"
)


class Preference(NamedTuple):
    """The result of an Accept-Encoding header."""

    coding: str | None
    """The coding to use; None for none."""
    identity: bool
    """True if the client takes the content without a coding."""


def preferred(header: str | None, offered: Sequence[str]) -> Preference:
    """Choose one of the offered codings (RFC 9110, section 12.5.3). It takes linear time.

    The coding with the client's highest weight is chosen, or the first of equals in `offered`. The content without a
    coding is acceptable unless the client says otherwise, and is preferred to codings with a lower weight. Malformed
    elements are ignored.

    :param header: the Accept-Encoding header; None if there is none.
    :param offered: the codings, the preferred one first.

    Example: `preferred("gzip;q=0.5, br", ["br", "gzip"])` -> `("br", True)`.
    """
    weights: dict[str, float] = {}
    for element in (header or "").split(","):
        found = _ELEMENT.fullmatch(element)
        if found is not None:
            name = found[1].lower().removeprefix("x-")
            weights.setdefault(name, min(float(found[2] or 1), 1.0))
    others = weights.get("*", 0.0)
    best, best_weight = None, 0.0
    for name in offered:
        weight = weights.get(name, others)
        if weight > best_weight:
            best, best_weight = name, weight
    identity = weights.get("identity", weights.get("*", 1.0))
    if weights.get("identity", 0.0) > best_weight:
        best = None
    return Preference(best, identity > 0)


def compressible(media_type: str) -> bool:
    """True if content of this media type becomes smaller by compression.

    That is text, and formats that consist of text. Images, video, archives and web fonts are compressed already.
    """
    main, _, sub = media_type.partition("/")
    if main == "text":
        return True
    return sub.endswith(("+json", "+xml", "+text", "json", "xml", "javascript")) or media_type in (
        "application/wasm",
        "application/x-ndjson",
        "application/x-www-form-urlencoded",
        "application/vnd.ms-fontobject",
        "application/yaml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/x-icon",
        "image/vnd.microsoft.icon",
    )


class Coder(Protocol):
    """Compresses one body, piece by piece."""

    def compress(self, data: bytes) -> bytes:
        """Take a piece; return what is ready, which may be nothing."""

    def flush(self) -> bytes:
        """Return the rest of what was taken, so that a client can decode all of it."""

    def finish(self) -> bytes:
        """Return the rest, and the end."""


class _Gzip:
    __slots__ = ("_object", "compress")

    def __init__(self, level: int) -> None:
        self._object = zlib.compressobj(level, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self.compress = self._object.compress

    def flush(self) -> bytes:
        return self._object.flush(zlib.Z_SYNC_FLUSH)

    def finish(self) -> bytes:
        return self._object.flush(zlib.Z_FINISH)


class _Brotli:
    __slots__ = ("_object", "compress", "finish", "flush")

    def __init__(self, module: Any, quality: int) -> None:
        self._object = module.Compressor(quality=quality, lgwin=_WINDOW)
        self.compress: Callable[[bytes], bytes] = self._object.process
        self.flush: Callable[[], bytes] = self._object.flush
        self.finish: Callable[[], bytes] = self._object.finish


class _Zstandard:
    __slots__ = ("_block", "_object", "compress", "finish")

    def __init__(self, module: Any, options: Any) -> None:
        self._object = module.ZstdCompressor(options=options)
        self._block = module.ZstdCompressor.FLUSH_BLOCK
        self.compress: Callable[[bytes], bytes] = self._object.compress
        self.finish: Callable[[], bytes] = self._object.flush

    def flush(self) -> bytes:
        data: bytes = self._object.flush(self._block)
        return data


def available() -> list[str]:
    """Return the codings whose packages are installed, the preferred one first."""
    return [name for name in LEVELS if name == "gzip" or _package(name) is not None]


def _package(coding: str) -> str | None:
    return next(filter(_is_there, _PACKAGES[coding]), None)


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # its parent package is not installed
        return False


def maker(coding: str, level: int | None = None) -> Callable[[], Coder]:
    """Return a function that makes a coder for a body.

    :param coding: gzip, br or zstd.
    :param level: the compression level; None for the default.
    :raises ValueError: the coding is another one, or does not have the level.
    :raises ImportError: the package of the coding is not installed.

    Example: `maker("gzip")().compress(data)`.
    """
    if coding not in LEVELS:
        raise ValueError(f"{coding!r} is none of the codings {', '.join(LEVELS)}")
    level = LEVELS[coding] if level is None else level
    most = {"gzip": 9, "br": 11, "zstd": 19}[coding]
    if not isinstance(level, int) or not 1 <= level <= most:
        raise ValueError(f"the level of {coding} is a number from 1 to {most}, not {level!r}")
    if coding == "gzip":
        return lambda: _Gzip(level)
    name = _package(coding)
    if name is None:
        wanted = " or ".join(_PACKAGES[coding])
        raise ImportError(
            f"{coding} needs the package {wanted}: pip install {_PACKAGES[coding][0]}"
        )
    module: Any = import_module(name)
    if coding == "br":
        return lambda: _Brotli(module, level)
    parameter = module.CompressionParameter
    options = {parameter.compression_level: level, parameter.window_log: _WINDOW}
    return lambda: _Zstandard(module, options)
