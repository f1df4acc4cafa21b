"""Parse the Content-Disposition of a part: the names of the field and of the file (RFC 7578, section 4.2)."""

from __future__ import annotations

import re
from typing import NamedTuple
from unicodedata import category
from urllib.parse import unquote_to_bytes

from kui.http.charsets import codec_of

__all__ = ["Disposition", "clean_filename", "parse_disposition"]

# The form that browsers write (WHATWG HTML, multipart/form-data encoding): a backslash is no escape.
_usual = re.compile(r'form-data; name="([^"]*+)"(?:; filename="([^"]*+)")?+').fullmatch
# One parameter in the form of other clients. Possessive quantifiers, so that there is no backtracking.
_parameter = re.compile(
    r';[ \t]*+([\w!#$%&\'*+\-.^`|~]++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]++|\\.)*+)"?+|([^";\s]*+))',
    re.ASCII | re.DOTALL,
)
_escaped = re.compile(r'\\(["\\])')


class Disposition(NamedTuple):
    """The name of a field, and the name of its file as it was sent; None if it is no file."""

    name: str
    filename: str | None


def parse_disposition(value: str) -> Disposition | None:
    """Return the names in a Content-Disposition; None if it names no field of a form. It takes linear time.

    `filename` is preferred to `filename*` (RFC 8187), which browsers do not send. A malformed `filename*` gives a file
    with an empty name. If a parameter occurs twice, the first one is used.

    :raises HTTPException: 400, if the charset of a `filename*` is unknown.

    Example: `parse_disposition('form-data; name="a"; filename="b.txt"').filename` -> `"b.txt"`.
    """
    if usual := _usual(value):
        name, filename = usual.groups()
        return Disposition(_percent(name), None if filename is None else _percent(filename))
    kind, _, _ = value.partition(";")
    if kind.strip(" \t").lower() != "form-data":
        return None
    parameters: dict[str, str] = {}
    for parameter, quoted, plain in _parameter.findall(value, len(kind)):
        parameters.setdefault(parameter.lower(), _unquote(quoted) if quoted else plain)
    if "name" not in parameters:
        return None
    filename = parameters.get("filename")
    if filename is None and "filename*" in parameters:
        filename = _decode(parameters["filename*"])
    return Disposition(parameters["name"], filename)


def _percent(text: str) -> str:
    """Decode the three characters that browsers percent-encode between quotes."""
    if "%" not in text:
        return text
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%22", '"')


def _unquote(text: str) -> str:
    # A client that escapes only quotes does not mean other backslashes as escapes: "C:\a".
    return _escaped.sub(r"\1", text) if '\\"' in text else _percent(text)


def _decode(extended: str) -> str:
    """Return the text of `charset'language'percent-encoded` (RFC 8187, 3.2); "" for anything else."""
    charset, _, rest = extended.partition("'")
    _, quote, encoded = rest.partition("'")
    return unquote_to_bytes(encoded).decode(codec_of(charset), "replace") if quote else ""


def clean_filename(filename: str) -> str:
    """Return the last component of a file's name, without control characters; never `.` or `..`."""
    if not filename.isprintable():
        filename = "".join([char for char in filename if category(char) != "Cc"])
    last = filename.replace("\\", "/").rpartition("/")[2].strip()
    return "" if last in (".", "..") else last
