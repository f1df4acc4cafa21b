"""The limits on request bodies: one frozen value for an app, or for a route.

They keep a body from filling the memory or the disk. `kui.requests` and `kui.forms` enforce them, with 413.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Final

__all__ = ["DEFAULT_LIMITS", "Limits"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits on one request. If it exceeds one of them, the client gets 413.

    `request.stream()` has no limit: the application must count the bytes.

    :param body: bytes of a body that is kept in memory: `body`, `json`, an urlencoded form, one part that is read as
        a whole, and all small uploads of one form together.
    :param fields: how many fields an urlencoded form may have, counted before it is parsed.
    :param parts: how many parts a multipart form may have, fields and files.
    :param field_bytes: bytes of all multipart fields of one form together, names and values.
    :param file_bytes: bytes of one uploaded file.
    :param part_headers: bytes of the headers of one part.
    :raises ValueError: one of them is negative.
    :raises TypeError: one of them is not an int.

    Example::

        Limits(body=64 * 1024, file_bytes=10 * 1024**2)
    """

    body: int = 16 * 1024**2
    fields: int = 1000
    parts: int = 1000
    field_bytes: int = 1024**2
    file_bytes: int = 1024**3
    part_headers: int = 16 * 1024

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not isinstance(value, int) or isinstance(value, bool):
                raise TypeError(f"Limits({field.name}=) is a number of bytes or of things, an int.")
            if value < 0:
                raise ValueError(f"Limits({field.name}=) cannot be negative.")


DEFAULT_LIMITS: Final = Limits()
