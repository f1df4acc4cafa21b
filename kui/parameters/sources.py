"""Read the declared parameters of a request, except the body. Each source has one reader."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from kui.http.urls import parse_query_pairs

from .markers import Source
from .plans import Parameter
from .refusals import Fault, RequestValidationError, missing, of_value
from .shapes import bare, fields_of, is_many, members, model_kind

if TYPE_CHECKING:
    from kui.connections import HTTPConnection

    from .validators import Model

__all__ = ["Given", "Reader", "Whole", "readers_of"]

_ABSENT: Final = object()

BEFORE_THE_BODY: Final[tuple[Source, ...]] = ("path", "query", "header", "cookie")


class Given(Protocol):
    """The interface of a source: names, each with one value or several."""

    def __contains__(self, name: object, /) -> bool: ...
    def __getitem__(self, name: str, /) -> Any: ...
    def get(self, name: str, default: Any, /) -> Any: ...
    def __iter__(self) -> Any: ...


def _all(given: Given, name: str) -> list[Any]:
    getlist = getattr(given, "getlist", None)
    return [given[name]] if getlist is None else list(getlist(name))


class Whole:
    """Reads the values for a model of a whole source.

    Unless `closed`, the model also gets names that it does not know, because it may forbid them.
    """

    __slots__ = ("_closed", "_names", "_open_many")

    def __init__(self, annotation: Any, source: Source) -> None:
        self._names: dict[str, tuple[str, bool]] = {}
        self._closed = source in ("header", "cookie")
        # The names of a mapping are not known; only whether its values are lists matters.
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
        """Return the names that the model takes."""
        return self._names

    def read(self, given: Given, taken: frozenset[str] = frozenset()) -> dict[str, Any]:
        """Return the values for the model.

        :param taken: names of other parameters, which are left out.
        """
        found: dict[str, Any] = {}
        for wire, (name, many) in self._names.items():
            if wire in given:
                found[name] = _all(given, wire) if many else given[wire]
        if not self._closed:
            for name in given:
                if name not in self._names and name not in taken:
                    found[name] = _all(given, name) if self._open_many else given[name]
        return found


class Value(NamedTuple):
    """One value of a source: its name in the request, its slot, and its validator."""

    name: str
    slot: int
    required: bool
    many: bool
    """True if all values of the name are wanted, and not only the last one."""
    validate: Callable[[Any], Any] | None
    """Makes a value of the declared type; None if the value in the request has that type already."""


class Reader:
    """Reads the parameters of one source, validates them, and puts them into their slots.

    :param converters: the converters of the path's parameters, by which their types are known.
    :param taken: the names of other parameters, which a model of the whole source does not get.
    """

    __slots__ = ("_models", "_taken", "_values", "source")

    def __init__(
        self,
        source: Source,
        parameters: Iterable[Parameter],
        converters: Mapping[str, str | None] | None = None,
        taken: Iterable[str] = (),
    ) -> None:
        from .validators import model_of, validator_of

        self.source: Source = source
        self._values: list[Value] = []
        self._models: list[tuple[Parameter, Whole, Model]] = []
        for one in parameters:
            if one.exclusive:
                self._models.append((one, Whole(one.annotation, source), model_of(one)))
            else:
                validate = validator_of(one, (converters or {}).get(one.alias))
                many = is_many(one.annotation)
                self._values.append(Value(one.alias, one.slot, one.required, many, validate))
        self._taken = frozenset(
            (
                *taken,
                *(one.name for one in self._values),
                *(name for _, whole, _ in self._models for name in whole.names()),
            )
        )

    @property
    def singles(self) -> list[str] | None:
        """The names of the parameters if each takes only the last value of its name; otherwise None."""
        if self._models or any(one.many for one in self._values):
            return None
        return [one.name for one in self._values]

    def check(self, given: Given, slots: list[Any], faults: list[Fault]) -> None:
        """Put the values into their slots, and append what is wrong to `faults`."""
        for name, slot, required, many, validate in self._values:
            value = given.get(name, _ABSENT)
            if value is _ABSENT:
                if required:
                    faults.append(missing(self.source, name))
                continue
            if many:
                value = _all(given, name)
            if validate is not None:
                try:
                    value = validate(value)
                except ValueError as error:
                    faults += of_value(self.source, name, error)
                    continue
            slots[slot] = value
        for one, whole, model in self._models:
            found = whole.read(given, self._taken)
            if found or one.required:
                try:
                    slots[one.slot] = model.validate(found, self.source)
                except RequestValidationError as error:
                    faults += error.errors


class Readers:
    """Several readers, each with a function that returns its source."""

    __slots__ = ("_readers",)

    def __init__(self, readers: Iterable[Reader]) -> None:
        self._readers = [(_giver(one), one) for one in readers]

    def check(self, connection: HTTPConnection, slots: list[Any]) -> None:
        """Read and validate all sources.

        :raises RequestValidationError: a value does not fit; it has the faults of all sources.
        """
        faults: list[Fault] = []
        for given, reader in self._readers:
            reader.check(given(connection), slots, faults)
        if faults:
            raise RequestValidationError(faults)


def _giver(reader: Reader) -> Callable[[HTTPConnection], Given]:
    """Return a function that returns the source of a reader. For single values that is a dictionary, made quickly."""
    singles = reader.singles
    if singles is not None and reader.source == "query":
        return _last_of_query
    if singles is not None and reader.source == "header":
        return partial(_few_headers, [(name.encode(), name) for name in singles])
    return _WHOLE[reader.source]


_WHOLE: Final[Mapping[Source, Callable[[HTTPConnection], Given]]] = {
    "path": attrgetter("path_params"),
    "query": attrgetter("query_params"),
    "header": attrgetter("headers"),
    "cookie": attrgetter("cookies"),
}


def _last_of_query(connection: HTTPConnection) -> Given:
    return dict(parse_query_pairs(connection.scope.get("query_string", b"")))


def _few_headers(names: list[tuple[bytes, str]], connection: HTTPConnection) -> Given:
    """Return these headers if the names are found as they are; otherwise all headers, which takes longer."""
    fields = connection.plain_fields()
    if fields is None:
        return connection.headers
    found = {}
    for raw, name in names:
        value = fields.get(raw)
        if value is not None:
            found[name] = value.decode("latin-1")
        elif not b"".join(fields).islower():  # the header may be there with capital letters
            return connection.headers
    return found


def readers_of(
    parameters: Iterable[Parameter],
    converters: Mapping[str, str | None],
    every: Iterable[Parameter] = (),
) -> Readers | None:
    """Return the readers of these parameters, without those of the body; None if there are no others.

    :param converters: a mapping from the names of the path's parameters to the names of their converters.
    :param every: all parameters of the route; a model of a whole source does not get the values of others.
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
    return Readers(readers) if readers else None
