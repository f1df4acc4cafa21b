"""Read the declared parts of a body: from JSON or a form, by its content type, or as a stream.

The body is read last, after all other parameters were accepted, so that an upload that is refused is never stored.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from types import NoneType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, get_args, get_origin

from kui.concurrency.http.exchange import body_expected
from kui.forms import FormData, MultipartReader, Part, UploadFile
from kui.http.exceptions import HTTPException
from kui.http.json import is_json, is_plain_json, json_charset
from kui.http.media import MULTIPART, URLENCODED, refuse_encoding

from .markers import Body
from .plans import Parameter
from .refusals import Fault, RequestValidationError, missing, pointer
from .shapes import members, parts_of
from .signatures import place
from .sources import Reader, Whole

if TYPE_CHECKING:
    from kui.requests import HttpRequest

__all__ = ["BodyReader", "body_reader"]


_STREAMS: Final = (AsyncIterable, AsyncIterator, AsyncGenerator)

BodyReader: TypeAlias = "_Document | _Raw | _Streamed"
"""The result of `body_reader`: `await reader.read(request, slots)` puts the values into their slots."""


def body_reader(parameters: Iterable[Parameter]) -> BodyReader:
    """Return a reader for all parameters of one route that come from the body.

    :raises TypeError: they exclude one another, or cannot be read.
    """
    parameters = list(parameters)
    media_types = {one.marker.media_type for one in parameters if isinstance(one.marker, Body)}
    media_types.discard(None)
    if len(media_types) > 1:
        raise _cannot(parameters[-1], "wants another media_type than a parameter beside it")
    media_type = next(iter(media_types), None)
    streams = [one for one in parameters if _streamed(one) is not None]
    raw = [one for one in parameters if one.exclusive and _is_bytes(one.annotation)]
    if not streams and not raw:
        return _Document(parameters, media_type)
    only = (streams or raw)[0]
    if only.exclusive:
        if len(parameters) > 1:
            raise _cannot(only, "is the whole body, and there is another parameter of the body")
        return _Raw(only, media_type)
    if len(streams) > 1:
        raise _cannot(streams[1], "is a second stream of one body: a body arrives once")
    for one in parameters:
        if one.exclusive or any(kind is UploadFile for kind in parts_of(one.annotation)):
            raise _cannot(one, "is beside a stream: what is beside one is a field that precedes it")
    return _Streamed(only, [one for one in parameters if one is not only])


def _cannot(parameter: Parameter, reason: str) -> TypeError:
    return TypeError(f"{place(parameter.owner)}: {parameter.name!r} {reason}")


def _streamed(parameter: Parameter) -> Any:
    """Return the type of the pieces, bytes or Part, if a parameter is a stream; otherwise None."""
    kinds = [one for one in members(parameter.annotation) if one is not NoneType]
    kind = kinds[0] if len(kinds) == 1 else None
    if (get_origin(kind) or kind) not in _STREAMS:
        return None
    piece = next(iter(get_args(kind)), None)
    if piece is not bytes and piece is not Part:
        raise _cannot(parameter, "is a stream of something else than bytes or Part")
    return piece


def _is_bytes(annotation: Any) -> bool:
    return all(one in (bytes, type(None)) for one in members(annotation))


def _wrong_type(accepted: str) -> HTTPException[str]:
    return HTTPException(415, {"accept": accepted}, f"A body of type {accepted} is wanted here.")


def _is_absent(request: HttpRequest) -> bool:
    return not body_expected(request.scope, request.fields)


def _require(parameters: Iterable[Parameter]) -> None:
    """Check that all parameters have a default.

    :raises RequestValidationError: one has none.
    """
    faults = [
        missing("body") if one.exclusive else missing("body", one.alias)
        for one in parameters
        if one.required
    ]
    if faults:
        raise RequestValidationError(faults)


class _Raw:
    """Reads the body as bytes: whole, or as a stream."""

    __slots__ = ("_media_type", "_parameter", "_piece")

    def __init__(self, parameter: Parameter, media_type: str | None) -> None:
        self._parameter = parameter
        self._piece = _streamed(parameter)
        self._media_type = media_type

    async def read(self, request: HttpRequest, slots: list[Any]) -> None:
        one = self._parameter
        if _is_absent(request) and not one.required:
            return
        if self._media_type is not None and request.content_type.type != self._media_type:
            raise _wrong_type(self._media_type)
        if self._piece is Part:
            slots[one.slot] = request.parts()
        elif self._piece is bytes:
            slots[one.slot] = request.stream()
        else:
            slots[one.slot] = await request.body


class _Document:
    """Reads a whole body: JSON or a form, by its content type."""

    __slots__ = (
        "_accepted",
        "_fields",
        "_form",
        "_parameters",
        "_takes_json",
        "_texts",
        "_wholes",
    )

    def __init__(self, parameters: list[Parameter], media_type: str | None) -> None:
        from .validators import Fields, model_of

        self._parameters = parameters
        # A field of a form that is declared as bytes may be sent as a file.
        self._texts = {one.alias for one in parameters if _is_bytes(one.annotation)}
        uploads = self._texts or any(
            kind is UploadFile for one in parameters for kind in parts_of(one.annotation)
        )
        self._accepted: tuple[str, ...]
        if media_type is None:
            self._accepted = (
                (MULTIPART, URLENCODED) if uploads else ("application/json", MULTIPART, URLENCODED)
            )
        elif is_json(media_type) or media_type in (MULTIPART, URLENCODED):
            self._accepted = (media_type,)
        else:
            raise _cannot(
                parameters[0],
                f"cannot be read of {media_type}: declare it as bytes, exclusive=True",
            )
        self._takes_json = "application/json" in self._accepted
        wholes = [one for one in parameters if one.exclusive]
        fields = [one for one in parameters if not one.exclusive]
        self._wholes = [(one, Whole(one.annotation, "body"), model_of(one)) for one in wholes]
        self._fields = Fields(fields) if fields else None
        self._form = Reader("body", fields)

    async def read(self, request: HttpRequest, slots: list[Any]) -> None:
        if self._takes_json and is_plain_json(request.plain_fields()):
            self._read_json(await request.body, None, slots)
        elif _is_absent(request):
            _require(self._parameters)
        else:
            await self._read_by_type(request, slots)

    async def _read_by_type(self, request: HttpRequest, slots: list[Any]) -> None:
        kind = request.content_type.type
        if is_json(kind) and not {"application/json", kind}.isdisjoint(self._accepted):
            headers = request.headers
            charset = json_charset(headers.get("content-type"), headers.get("content-encoding"))
            self._read_json(await request.body, charset, slots)
        elif kind in (MULTIPART, URLENCODED) and kind in self._accepted:
            await self._read_form(_with_chosen_files(await request.form), slots)
        else:
            raise _wrong_type(", ".join(self._accepted))

    def _read_json(self, body: bytes, charset: str | None, slots: list[Any]) -> None:
        if not body:
            _require(self._parameters)
            return
        faults: list[Fault] = []
        if self._fields is not None:
            try:
                self._fields.validate_json(body, charset, slots)
            except RequestValidationError as error:
                faults += error.errors
        for one, _, model in self._wholes:
            try:
                slots[one.slot] = model.validate_json(body, charset)
            except RequestValidationError as error:
                faults += error.errors
        if faults:
            raise RequestValidationError(faults)

    async def _read_form(self, form: FormData, slots: list[Any]) -> None:
        faults: list[Fault] = []
        if self._fields is not None:
            given: Any = form
            if self._texts:
                given = {name: form[name] for name in form}
                for name in self._texts & given.keys():
                    value = given[name]
                    given[name] = await value.aread() if isinstance(value, UploadFile) else value
            self._form.check(_Several(form, given), slots, faults)
        taken = frozenset(one.alias for one in self._parameters if not one.exclusive)
        for one, whole, model in self._wholes:
            try:
                slots[one.slot] = model.validate(whole.read(form, taken), "body")
            except RequestValidationError as error:
                faults += error.errors
        if faults:
            raise RequestValidationError(faults)


def _with_chosen_files(form: FormData) -> FormData:
    """Return a form without the empty files that browsers send for inputs in which no file was chosen.

    They have no name and no content (HTML, "constructing the entry list").
    """
    items = form.multi_items()
    chosen = [(name, value) for name, value in items if not _is_unchosen(value)]
    return form if len(chosen) == len(items) else FormData(chosen)


def _is_unchosen(value: str | UploadFile) -> bool:
    if isinstance(value, str) or value.filename or not value.in_memory:
        return False
    size = value.file.seek(0, os.SEEK_END)
    value.file.seek(0)
    return size == 0


class _Several:
    """A form of which some values have been read as bytes already."""

    def __init__(self, form: FormData, given: Any) -> None:
        self._form = form
        self._given = given

    def __contains__(self, name: object) -> bool:
        return name in self._given

    def __getitem__(self, name: str) -> Any:
        return self._given[name]

    def __iter__(self) -> Any:
        return iter(self._given)

    def get(self, name: str, default: Any) -> Any:
        return self._given.get(name, default)

    def getlist(self, name: str) -> list[Any]:
        return self._form.getlist(name)


class _Streamed:
    """Reads the fields of a form that precede a stream of its other parts."""

    __slots__ = ("_fields", "_piece", "_reader", "_stream")

    def __init__(self, stream: Parameter, fields: list[Parameter]) -> None:
        self._stream = stream
        self._piece = _streamed(stream)
        self._fields = {one.alias for one in fields}
        self._reader = Reader("body", fields) if fields else None

    async def read(self, request: HttpRequest, slots: list[Any]) -> None:
        if request.content_type.type != MULTIPART:
            raise _wrong_type(MULTIPART)
        refuse_encoding(request.headers.get("content-encoding"))
        parts = request.parts()
        found: dict[str, list[str]] = {}
        limit = request.limits.field_bytes
        first: Part | None = None
        async for part in parts:
            if part.name not in self._fields:
                first = part
                break
            text = await part.text(limit)
            limit -= len(text)
            found.setdefault(part.name, []).append(text)
        faults: list[Fault] = []
        if self._reader is not None:
            self._reader.check(_Texts(found), slots, faults)
        if self._piece is bytes and (first is None or first.name != self._stream.alias):
            if first is not None or self._stream.required:
                faults.append(missing("body", self._stream.alias))
        if faults:
            raise RequestValidationError(faults)
        if self._piece is Part:
            slots[self._stream.slot] = _Rest(parts, first, self._fields)
        elif first is not None:
            slots[self._stream.slot] = _Content(parts, first, self._fields)


class _Texts(dict[str, list[str]]):
    """The texts of fields by name: the last one, or all of them with `getlist`."""

    def get(self, name: str, default: Any = None) -> Any:
        return self[name] if name in self else default

    def __getitem__(self, name: str) -> Any:
        return super().__getitem__(name)[-1]

    def getlist(self, name: str) -> list[str]:
        return super().__getitem__(name)


class _Rest(AsyncIterator[Part]):
    """Iterates over the remaining parts of a form.

    :raises RequestValidationError: a declared field comes after the first of these parts.
    """

    def __init__(self, parts: MultipartReader, first: Part | None, fields: set[str]) -> None:
        self._parts = parts
        self._first = first
        self._fields = fields

    async def __anext__(self) -> Part:
        part, self._first = self._first, None
        if part is None:
            part = await anext(self._parts)
        if part.name in self._fields:
            raise _late(part)
        return part


class _Content(AsyncIterator[bytes]):
    """Iterates over the content of one part.

    :raises RequestValidationError: a declared field comes after this part.
    """

    def __init__(self, parts: MultipartReader, part: Part, fields: set[str]) -> None:
        self._parts = parts
        self._part = part
        self._fields = fields

    async def __anext__(self) -> bytes:
        chunk = await self._part.next_chunk()
        if chunk:
            return chunk
        async for part in self._parts:
            if part.name in self._fields:
                raise _late(part)
        raise StopAsyncIteration


def _late(part: Part) -> RequestValidationError:
    return RequestValidationError(
        [
            {
                "in": "body",
                "detail": "This field must be sent before the files",
                "pointer": pointer([part.name]),
            }
        ]
    )
