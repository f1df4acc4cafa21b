"""`HTTPException`: a response that is raised instead of returned.

Its arguments are checked when it is made. `kui.exceptions` makes the response.
"""

from __future__ import annotations

import copyreg
from collections.abc import Iterable, Mapping
from typing import Any, NoReturn, TypeVar

from baize.exceptions import HTTPException as AnyHTTPException  # noqa: TID251 - all others take it from here

from kui.habits import EXCEPTION_PARAMETERS, told

from .headers import header_mapping

__all__ = ["AnyHTTPException", "HTTPException", "Unavailable", "abort"]

T = TypeVar("T")


class HTTPException(AnyHTTPException[T]):
    """Raised to end the handler with a response: a status, headers and content.

    It is derived from `baize.exceptions.HTTPException`, which Kui treats in the same way, but which checks nothing. To
    catch both, catch `AnyHTTPException`.

    :param status_code: an int from 200 to 599.
    :param headers: a mapping, or a sequence of pairs, of str; stored as a mapping.
    :param content: any value that a handler may return; None for a sentence about the status.
    :raises ValueError: the status is out of range, or HTTP does not allow the name or the value of a header (RFC 9110,
        sections 5.1 and 5.5).
    :raises TypeError: the status is no int, or the headers are neither a mapping nor pairs of str; the message says
        what to write instead.

    Example::

        raise HTTPException(403, content="Members only.")
    """

    headers: Mapping[str, str] | None
    content: T | None

    @told(EXCEPTION_PARAMETERS)
    def __init__(
        self,
        status_code: int = 400,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        content: T | None = None,
    ) -> None:
        if not isinstance(status_code, int) or isinstance(status_code, bool):
            raise TypeError(
                f"the status of an HTTPException is an int, not {status_code!r}:"
                " write HTTPException(403, content=...)"
            )
        if not 200 <= status_code <= 599:
            raise ValueError(f"an HTTPException has a status from 200 to 599, not {status_code}")
        try:
            checked = header_mapping(headers)
        except TypeError as error:
            advice = f"HTTPException({int(status_code)}, content={headers!r:.100})"
            raise TypeError(
                f"{error}; what the client is told is the content: write {advice}"
            ) from None
        super().__init__(status_code, checked, content)

    def __reduce__(self) -> tuple[Any, ...]:
        # By default a copy is made by calling the class with `args`, the second of which is a sentence.
        return copyreg.__newobj__, (type(self), *self.args), self.__dict__  # type: ignore[attr-defined]  # missing in typeshed


class Unavailable(HTTPException[str]):
    """Raised by Kui for a 503: the app is at its limit, is stopping, or lacks a resource (RFC 9110, section 15.6.4).

    A browser's `EventSource` never reconnects after a 503, so a request for an event stream gets an empty stream
    instead, which tells the client to reconnect later.

    :param content: the text for all other clients; None for a sentence about the status.
    :param retry_after: seconds for the header Retry-After; None for no such header.
    """

    def __init__(self, content: str | None = None, retry_after: int | None = None) -> None:
        headers = None if retry_after is None else {"retry-after": str(retry_after)}
        super().__init__(503, headers, content)


@told(EXCEPTION_PARAMETERS)
def abort(
    status_code: int = 400,
    headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    content: Any = None,
) -> NoReturn:
    """Raise an `HTTPException` made of these arguments.

    :raises HTTPException: always, unless an argument is wrong.
    :raises TypeError: as for HTTPException.
    :raises ValueError: as for HTTPException.

    Example: `abort(403, content="Members only.")`.
    """
    raise HTTPException(status_code, headers, content)
