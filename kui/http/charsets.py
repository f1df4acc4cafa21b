"""The charsets that a client may name for its text, and the codec of each.

Only charsets in a table are accepted: some of Python's codecs take quadratic time (punycode) or are no charsets
(unicode_escape), and Python caches each unknown name that is looked up.
"""

from __future__ import annotations

from .exceptions import HTTPException

__all__ = ["codec_of"]

_CODECS = {
    **{name: "utf-8" for name in ("utf-8", "utf8", "unicode-1-1-utf-8", "utf-8-sig")},
    **{name: "ascii" for name in ("ascii", "us-ascii", "ansi_x3.4-1968", "iso646-us")},
    **{name: "latin-1" for name in ("iso-8859-1", "iso8859-1", "latin-1", "latin1", "l1")},
    **{name: name for name in ("utf-16", "utf-16le", "utf-16be", "utf-32", "utf-32le", "utf-32be")},
    "utf-16-le": "utf-16le",
    "utf-16-be": "utf-16be",
    **{f"iso-8859-{n}": f"iso8859-{n}" for n in (*range(2, 12), *range(13, 17))},
    **{f"{prefix}125{n}": f"cp125{n}" for n in range(9) for prefix in ("windows-", "cp")},
    **{name: "gb18030" for name in ("gb18030", "gbk", "gb2312")},
    "big5": "big5hkscs",
    **{name: "cp932" for name in ("shift_jis", "shift-jis", "sjis", "windows-31j")},
    **{name: "cp949" for name in ("euc-kr", "ks_c_5601-1987")},
    "euc-jp": "euc_jp",
    "koi8-r": "koi8-r",
    "koi8-u": "koi8-u",
}


def codec_of(charset: str, *, ascii_based: bool = False) -> str:
    """Return the codec with which to decode a request's text.

    :param charset: the name that the client gave; case is ignored.
    :param ascii_based: True to refuse charsets in which ASCII bytes are not ASCII characters.
    :raises HTTPException: 400, if the charset is unknown, or cannot be used there.
    """
    codec = _CODECS.get(charset.lower() if len(charset) < 40 else "")
    if codec is None:
        raise HTTPException(400, content="The charset of the body is not known.")
    if ascii_based and codec.startswith(("utf-16", "utf-32")):
        raise HTTPException(400, content="The charset of the body cannot be used for a form.")
    return codec
