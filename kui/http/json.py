"""Decode the JSON body of a request (RFC 8259), and check its headers.

Malformed JSON is answered with 400. msgspec decodes the body, because it is faster; a text that msgspec refuses is
decoded again by the standard library, which decides. `kui.requests` reads and limits the body, and `kui.responses`
encodes JSON.
"""

from __future__ import annotations

import codecs
from collections.abc import Callable, Mapping
from functools import cache
from json import JSONDecodeError, JSONDecoder
from typing import Any, Final, NoReturn

from .charsets import codec_of
from .exceptions import HTTPException
from .media import parse_content_type, refuse_encoding

__all__ = ["decode_json", "is_json", "is_plain_json", "json_charset"]


class _NotANumber(ValueError):
    """Raised for a number that JSON does not have. `decode_json` turns it into a sentence."""


def _refuse_constant(name: str) -> NoReturn:
    raise _NotANumber(name)


def _finite(text: str) -> float:
    number = float(text)
    if number - number:  # infinity less itself is NaN, which is true
        raise _NotANumber("an infinite number")
    return number


_decode: Final = JSONDecoder(parse_constant=_refuse_constant, parse_float=_finite).decode
"""Decodes a text that msgspec has refused, and raises the reason. It checks each float, which doubles the time."""


@cache
def _quick() -> tuple[Callable[[bytes], Any], tuple[type[Exception], ...]]:
    """Import msgspec, and return its decoder and the exceptions that it raises."""
    from msgspec import MsgspecError
    from msgspec.json import Decoder

    return Decoder().decode, (MsgspecError, UnicodeDecodeError, RecursionError)


def is_json(media_type: str) -> bool:
    """True if `media_type`, in lower case and without options, is JSON (RFC 6839 3.1).

    That is `application/json` and every `application/...+json`.
    """
    return media_type == "application/json" or (
        media_type.startswith("application/") and media_type.endswith("+json")
    )


def is_plain_json(fields: Mapping[bytes, bytes] | None) -> bool:
    """True if a request's headers say only that the body is JSON in UTF-8, as those of most clients do.

    Otherwise `json_charset` must check them.

    :param fields: the header fields by name in lower case, if each was sent once; otherwise None.
    """
    return (
        fields is not None
        and fields.get(b"content-type") == b"application/json"
        and b"content-encoding" not in fields
    )


def json_charset(content_type: str | None, content_encoding: str | None = None) -> str | None:
    """Check that a request announces JSON, and return the charset that it names, or None.

    Must be called before the body is read.

    :param content_type: the Content-Type header.
    :param content_encoding: the Content-Encoding header.
    :raises HTTPException: 415, if the type is missing or is not JSON, or the body is compressed.

    Example::

        json_charset("application/problem+json; charset=utf-8")  # "utf-8"
    """
    if content_encoding is not None:
        refuse_encoding(content_encoding)
    if content_type == "application/json":
        return None
    parsed = parse_content_type(content_type)
    if not is_json(parsed.type):
        raise HTTPException(
            415, headers={"accept": "application/json"}, content="A JSON body is wanted here."
        )
    return parsed.options.get("charset")


def decode_json(body: bytes, charset: str | None = None) -> Any:
    """Return the value of a JSON text.

    :param body: the text. Without a charset it is UTF-8; UTF-16 and UTF-32 are recognised by their zero bytes, and a
        byte order mark is skipped.
    :param charset: the result of `json_charset`.
    :raises HTTPException: 400 with a sentence, if the body is empty, is not JSON, has NaN, Infinity or a number that is
        too large, is nested too deeply, or does not fit its charset; or if the charset is unknown.

    Example::

        decode_json(b'{"id": 1}')  # {"id": 1}
    """
    codec = "utf-8" if charset is None else codec_of(charset)
    if codec == "utf-8":
        decode, refusals = _quick()
        try:
            return decode(body)
        except refusals:  # usually an error, for which there is a sentence below
            if b"\x00" in body[:4] or body[:1] >= b"\xef":
                codec = _guess_codec(body)
    try:
        return _decode(body.decode(codec))
    except UnicodeError:
        problem = "does not fit its charset"
    except _NotANumber as error:
        problem = f"has {error}, which JSON has not"
    except JSONDecodeError as error:
        problem = f"has an error in line {error.lineno}, column {error.colno}"
        if not body:
            problem = "is empty"
    except RecursionError:
        problem = "is nested too deeply"
    except ValueError:  # Python's limit of the digits of an int
        problem = "has a number of too many digits"
    raise HTTPException(400, content=f"The JSON body {problem}.")


def _guess_codec(body: bytes) -> str:
    """Return the encoding of a JSON text, by its byte order mark or its zero bytes."""
    if body.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if body.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    zeros = tuple(byte == 0 for byte in body[:4])
    if zeros == (True, True, True, False):
        return "utf-32be"
    if zeros[1:] == (True, True, True):
        return "utf-32le"
    if zeros[0]:
        return "utf-16be"
    return "utf-16le" if zeros[1:2] == (True,) else "utf-8"
