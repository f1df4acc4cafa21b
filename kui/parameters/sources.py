"""What is read of a request for its declared parameters, all but the body, and handed to one validator a source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

from kui.http.urls import parse_query_pairs

from .markers import Source
from .plans import Parameter
from .refusals import Fault, RequestValidationError, missing
from .shapes import bare, fields_of, is_many, members, model_kind

if TYPE_CHECKING:
    from kui.connections import HTTPConnection

    from .validators import Fields, Model

__all__ = ["Given", "Reader", "Whole", "readers_of"]

_ABSENT: Final = object()

BEFORE_THE_BODY: Final[tuple[Source, ...]] = ("path", "query", "header", "cookie")


class Given(Protocol):
    """What a source has: names, each with one value or several."""

    def __contains__(self, name: object, /) -> bool: ...
    def __getitem__(self, name: str, /) -> Any: ...
    def get(self, name: str, default: Any, /) -> Any: ...
    def __iter__(self) -> Any: ...


class Values(dict[str, str]):
    """The values of a query, the last of each name; all of them by `getlist`.

    It is what `connection.query_params` is, at a third of its price. Raises HTTPException 400 as that does.
    """

    __slots__ = ("_pairs",)

    def __init__(self, connection: HTTPConnection) -> None:
        self._pairs = parse_query_pairs(connection.get("query_string", b""))
        super().__init__(self._pairs)

    def getlist(self, name: str) -> list[str]:
        return [value for key, value in self._pairs if key == name]


def _all(given: Given, name: str) -> list[Any]:
    getlist = getattr(given, "getlist", None)
    return [given[name]] if getlist is None else list(getlist(name))


class Whole:
    """How a whole model is read of a source: which names it takes, and how many values of each.

    Unless `closed`, it is given the names that it does not know as well, for it may forbid them.
    """

    __slots__ = ("_closed", "_names", "_open_many")

    def __init__(self, annotation: Any, source: Source) -> None:
        self._names: dict[str, tuple[str, bool]] = {}
        self._closed = source in ("header", "cookie")
        # A mapping has no names that are known: what counts is if its values are lists.
        arguments: tuple[Any, ...] = getattr(bare(annotation), "__args__", ())
        self._open_many = len(arguments) == 2 and is_many(arguments[1])
        kinds = [one for one in members(annotation) if one is not type(None)]
        for field in (field for one in kinds for field in fields_of(one)):
            for name in field.names:
                wire = name.replace("_", "-").lower() if source == "header" else name
                self._names[wire] = name, field.many
        if not any(model_kind(one) for one in kinds):
            self._closed = False

    def names(self) -> Iterable[str]:
        """Return the names that it takes."""
        return self._names

    def read(self, given: Given, taken: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return its values; those under the names in `taken` are other parameters'."""
        found: dict[str, Any] = {}
        for wire, (name, many) in self._names.items():
            if wire in given:
                found[name] = _all(given, wire) if many else given[wire]
        if not self._closed:
            for name in given:
                if name not in self._names and name not in taken:
                    found[name] = _all(given, name) if self._open_many else given[name]
        return found


class Reader:
    """The parameters of one source: read, validated, and put into their slots.

    - `converters`: those of the path's parameters, whose values need no second look.
    """

    __slots__ = ("_direct", "_fields", "_many", "_models", "_single", "_taken", "_wholes", "source")

    def __init__(
        self,
        source: Source,
        parameters: Iterable[Parameter],
        converters: Mapping[str, str | None] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        from .validators import Fields, fits_already, key_of, model_validator

        self.source: Source = source
        self._direct: list[Parameter] = []
        self._single: list[str] = []
        self._many: list[str] = []
        self._wholes: list[tuple[str, Whole, bool]] = []
        self._models: list[tuple[Parameter, Whole, Model]] = []
        checked = []
        for one in parameters:
            if fits_already(one, (converters or {}).get(one.alias)):
                self._direct.append(one)
            elif one.exclusive and any(
                model_kind(each) == "struct" for each in members(one.annotation)
            ):
                whole = Whole(one.annotation, source)
                self._models.append((one, whole, model_validator(one.annotation)))
            else:
                checked.append(one)
                if one.exclusive:
                    whole = Whole(one.annotation, source)
                    self._wholes.append((key_of(one), whole, one.required))
                elif is_many(one.annotation):
                    self._many.append(one.alias)
                else:
                    self._single.append(one.alias)
        self._taken = frozenset(
            (
                *taken,
                *(one.alias for one in self._direct),
                *self._single,
                *self._many,
                *(name for _, whole, _ in self._wholes for name in whole.names()),
                *(name for _, whole, _ in self._models for name in whole.names()),
            )
        )
        self._fields: Fields | None = Fields(source, checked) if checked else None

    def values(self, given: Given) -> dict[str, Any]:
        """Return what the validator of this source takes."""
        values: dict[str, Any] = {}
        for name in self._single:
            value = given.get(name, _ABSENT)
            if value is not _ABSENT:
                values[name] = value
        for name in self._many:
            if name in given:
                values[name] = _all(given, name)
        for key, whole, required in self._wholes:
            found = whole.read(given, self._taken)
            if found or required:
                values[key] = found
        return values

    def check(self, given: Given, slots: list[Any], faults: list[Fault]) -> None:
        """Put the values into their slots; what is wrong is added to `faults`."""
        for one in self._direct:
            value = given.get(one.alias, _ABSENT)
            if value is not _ABSENT:
                slots[one.slot] = value
            elif one.required:
                faults.append(missing(self.source, one.alias))
        if self._fields is not None:
            for slot, value in self._fields.validate(self.values(given), faults).items():
                slots[slot] = value
        for one, whole, model in self._models:
            found = whole.read(given, self._taken)
            if found or one.required:
                try:
                    slots[one.slot] = model.validate(found, self.source)
                except RequestValidationError as error:
                    faults += error.errors


class Readers:
    """The readers of some parameters of a plan. Raises RequestValidationError with all that is wrong."""

    __slots__ = ("_readers",)

    def __init__(self, readers: Iterable[Reader]) -> None:
        self._readers = tuple(readers)

    def __bool__(self) -> bool:
        return bool(self._readers)

    def check(self, connection: HTTPConnection, slots: list[Any], faults: list[Fault]) -> None:
        """Read and validate every source; what is wrong is added to `faults`."""
        for reader in self._readers:
            source = reader.source
            given: Given
            if source == "query":
                # What a middleware has put there, or a caller has read, counts.
                given = vars(connection).get("query_params") or Values(connection)
            elif source == "header":
                given = connection.headers
            elif source == "cookie":
                given = connection.cookies
            else:
                given = connection.path_params
            reader.check(given, slots, faults)


def readers_of(
    parameters: Iterable[Parameter],
    converters: Mapping[str, str | None],
    every: Iterable[Parameter] = (),
) -> Readers:
    """Return the readers of these parameters; those of the body are left out.

    :param converters: the names of the converters of the path's parameters.
    :param every: all parameters of the route: a model is not given what is another's.
    """
    parameters = list(parameters)
    every = list(every)
    readers = []
    for source in BEFORE_THE_BODY:
        own = [one for one in parameters if one.source == source]
        taken = [
            name
            for one in every
            if one.source == source
            for name in (Whole(one.annotation, source).names() if one.exclusive else (one.alias,))
        ]
        if own:
            readers.append(Reader(source, own, converters, taken))
    return Readers(readers)
