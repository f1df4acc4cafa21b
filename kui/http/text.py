"""Encode any str, also one with lone surrogates.

A str may contain half of a surrogate pair, for example from JSON that a client has sent (RFC 8259, section 8.2). No
encoding can represent it; it becomes U+FFFD, as in browsers (WHATWG Infra, "scalar value string").
"""

from __future__ import annotations

import re

__all__ = ["encode_text", "whole_text"]

_surrogate = re.compile("[\ud800-\udfff]").search


def whole_text(text: str) -> str:
    """Return `text` with U+FFFD for each lone surrogate. Two that form a pair become their character.

    Example: `whole_text("a\\ud83d")` -> `"a\\ufffd"`.
    """
    if text.isascii() or not _surrogate(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode_text(text: str, charset: str = "utf-8") -> bytes:
    """Return `text` in a charset, with U+FFFD for each lone surrogate.

    :raises LookupError: the charset is unknown.
    :raises UnicodeEncodeError: the charset lacks a character; UTF-8 lacks none.

    Example: `encode_text("a\\ud83d")` -> `b"a\\xef\\xbf\\xbd"`.
    """
    try:
        return text.encode(charset)
    except UnicodeEncodeError:
        return whole_text(text).encode(charset)
