"""Text on its way out: every str becomes bytes, a lone surrogate included.

A str may have half of a surrogate pair in it: JSON that a client sends can (RFC 8259, 8.2). It is
no text, and no encoding can represent it; each becomes U+FFFD, as in a browser's own strings
(WHATWG Infra, "scalar value string").
"""

from __future__ import annotations

import re

__all__ = ["encode_text", "whole_text"]

_surrogate = re.compile("[\ud800-\udfff]").search


def whole_text(text: str) -> str:
    """Return `text` with U+FFFD for each lone surrogate; two that make a pair become their character.

    Example: `whole_text("a\\ud83d")` -> `"a\\ufffd"`.
    """
    if text.isascii() or not _surrogate(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def encode_text(text: str, charset: str = "utf-8") -> bytes:
    """Return `text` in a charset, with U+FFFD for each lone surrogate.

    :raises LookupError: if the charset is not known.
    :raises UnicodeEncodeError: if the charset lacks a character; UTF-8 lacks none.

    Example: `encode_text("a\\ud83d")` -> `b"a\\xef\\xbf\\xbd"`.
    """
    try:
        return text.encode(charset)
    except UnicodeEncodeError:
        return whole_text(text).encode(charset)
