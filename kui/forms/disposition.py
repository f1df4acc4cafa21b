"""The Content-Disposition of a part: the name of the field, and that of a file (RFC 7578, 4.2)."""

from __future__ import annotations

import re
from typing import NamedTuple
from unicodedata import category
from urllib.parse import unquote_to_bytes

from kui.http.charsets import codec_of

__all__ = ["Disposition", "clean_filename", "parse_disposition"]

# As browsers write it (WHATWG HTML, multipart/form-data encoding algorithm), a backslash is itself.
_usual = re.compile(r'form-data; name="([^"]*+)"(?:; filename="([^"]*+)")?+').fullmatch
# One parameter, as other clients write it. Possessive throughout: there is nothing to try again.
_parameter = re.compile(
    r';[ \t]*+([\w!#$%&\'*+\-.^`|~]++)[ \t]*+=[ \t]*+(?:"((?:[^"\\]++|\\.)*+)"?+|([^";\s]*+))',
    re.ASCII | re.DOTALL,
)
_escaped = re.compile(r'\\(["\\])')


class Disposition(NamedTuple):
    """The name of a field; the name of its file as it was sent, None where it is no file."""

    name: str
    filename: str | None


def parse_disposition(value: str) -> Disposition | None:
    """Return the names that a Content-Disposition gives; None if it names no field of a form.

    A `filename` comes before a `filename*` (RFC 8187), which browsers do not send. A `filename*`
    that cannot be read makes a file with an empty name. Of a parameter that is there twice the
    first counts. Takes linear time.

    :raises HTTPException: 400 for a `filename*` whose charset is not known.

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
    """Undo what browsers do to the three characters that cannot be between quotes."""
    if "%" not in text:
        return text
    return text.replace("%0D", "\r").replace("%0A", "\n").replace("%22", '"')


def _unquote(text: str) -> str:
    # A client that escapes nothing but quotes means its other backslashes as they are: "C:\a".
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
