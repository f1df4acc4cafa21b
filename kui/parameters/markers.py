"""The markers for `Annotated` that declare where a parameter comes from.

A marker only stores its arguments: `planning` interprets them, and `validators` compiles them. pydantic is not imported
here, so that an application that declares nothing does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias

from kui.argument_checks import describe
from kui.habits import MARKER_PARAMETERS, MARKER_POSITION, told

__all__ = [
    "Body",
    "Cookie",
    "Depends",
    "Header",
    "Path",
    "Query",
    "Security",
    "Source",
    "SourceMarker",
]

Source: TypeAlias = Literal["path", "query", "header", "cookie", "body"]
"""Where a parameter comes from. It is the `in` of a refusal and of OpenAPI."""


class SourceMarker:
    """The base of the markers of the five sources. Use one of its subclasses.

    All arguments are optional. A default must be written after `=`, and nowhere else.

    - `alias`: the name in the request, if it is not the name of the parameter.
    - `exclusive`: True if the parameter is a model of the whole source, and not one value of it.
    - `description`, `examples`, `deprecated`: for the OpenAPI description.
    - `ge`, `gt`, `le`, `lt`, `multiple_of`, `min_length`, `max_length`, `pattern`, `strict`,
      `max_digits`, `decimal_places`, `allow_inf_nan`: constraints with the meaning of pydantic's `Field`.

    :raises TypeError: a marker with `exclusive=True` has an alias or constraints.
    """

    source: ClassVar[Source]

    __slots__ = ("alias", "constraints", "deprecated", "description", "examples", "exclusive")

    @told(MARKER_PARAMETERS, MARKER_POSITION)
    def __init__(
        self,
        *,
        alias: str | None = None,
        exclusive: bool = False,
        description: str | None = None,
        examples: Sequence[Any] = (),
        deprecated: bool = False,
        ge: Any = None,
        gt: Any = None,
        le: Any = None,
        lt: Any = None,
        multiple_of: float | None = None,
        min_length: int | None = None,
        max_length: int | None = None,
        pattern: str | None = None,
        strict: bool | None = None,
        max_digits: int | None = None,
        decimal_places: int | None = None,
        allow_inf_nan: bool | None = None,
    ) -> None:
        constraints = {
            "ge": ge,
            "gt": gt,
            "le": le,
            "lt": lt,
            "multiple_of": multiple_of,
            "min_length": min_length,
            "max_length": max_length,
            "pattern": pattern,
            "strict": strict,
            "max_digits": max_digits,
            "decimal_places": decimal_places,
            "allow_inf_nan": allow_inf_nan,
        }
        self.constraints: Final = {
            name: value for name, value in constraints.items() if value is not None
        }
        if exclusive and (alias is not None or self.constraints):
            raise TypeError(
                f"{type(self).__name__}(exclusive=True) is a whole source, which has no alias and no "
                f"constraints: write them in the model"
            )
        self.alias: Final = alias
        self.exclusive: Final = exclusive
        self.description: Final = description
        self.examples: Final = tuple(examples)
        self.deprecated: Final = deprecated

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


class Path(SourceMarker):
    """A parameter of the path. A path parameter needs this marker only for an alias, a description or constraints.

    Example: `item_id: Annotated[int, Path(alias="id", ge=1)]`.
    """

    source = "path"
    __slots__ = ()


class Query(SourceMarker):
    """A parameter of the query. A list gets all values of its name, another type gets the last one.

    Example::

        async def search(
            q: Annotated[str, Query(min_length=2)],
            tag: Annotated[list[str], Query()] = [],
            page: Annotated[int, Query(ge=1)] = 1,
        ): ...

        async def filtered(filters: Annotated[Filters, Query(exclusive=True)]): ...
    """

    source = "query"
    __slots__ = ()


class Header(SourceMarker):
    """A header. Its default name is that of the parameter, with `-` in place of `_`.

    Example: `if_match: Annotated[str | None, Header()] = None`.
    """

    source = "header"
    __slots__ = ()


class Cookie(SourceMarker):
    """A cookie.

    Example: `theme: Annotated[Literal["dark", "light"], Cookie()] = "light"`.
    """

    source = "cookie"
    __slots__ = ()


class Body(SourceMarker):
    """A field of the body, or with `exclusive=True` the whole body. It may be JSON or a form, by its content type.

    A field may be an `UploadFile`, a `list[UploadFile]`, or `bytes` (the content of one part of a form). The whole
    body may be `bytes`, or an `AsyncIterable[bytes]` of its chunks as they arrive. An `AsyncIterable[Part]` gives the
    parts of a form as they arrive; fields that are declared beside it must come before them.

    :param media_type: the only content type that is accepted; others get 415. None accepts all that can be read.

    Example::

        async def create(item: Annotated[Item, Body(exclusive=True)]): ...

        async def upload(title: Annotated[str, Body()], photo: Annotated[UploadFile, Body()]): ...
    """

    source = "body"
    __slots__ = ("media_type",)

    @told(MARKER_PARAMETERS, MARKER_POSITION)
    def __init__(self, *, media_type: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.media_type: Final = media_type


class Depends:
    """A parameter whose value a function returns (a dependency): `Annotated[Store, Depends(open_store)]`.

    :param function: a function, an async function, a class, another callable, or a generator function (async or
        not) that yields once; the code after its `yield` runs when the dependency is left. The function declares
        parameters as a handler does. It is called once for each request, for all parameters that use it.
    :param cache: False to call the function for this parameter alone.
    :param until: "return" to leave the dependency when the handler has returned, before the response is sent, so that
        a commit that fails becomes a 500; "sent" to leave it after the body was sent.
    :param scope: "request", or "app" to enter the dependency once, in the lifespan, and share it among all requests.
    :param thread: True to call a `def` in a worker thread. Otherwise it is called in the event loop.
    :raises TypeError: `function` is not callable.
    :raises ValueError: another argument is none of these.

    Example::

        async def session():
            async with sessions.begin() as session:
                yield session

        Database = Annotated[Session, Depends(session)]

        async def show(id: int, database: Database): ...
    """

    __slots__ = ("cache", "function", "scope", "thread", "until")

    security: ClassVar[bool] = False

    def __init__(
        self,
        function: Callable[..., Any] | None = None,
        *,
        cache: bool = True,
        until: Literal["return", "sent"] = "return",
        scope: Literal["request", "app"] = "request",
        thread: bool = False,
    ) -> None:
        name = type(self).__name__
        if not callable(function):
            given = f": write {name}(function)" if function is None else f", not {function!r}"
            raise TypeError(f"{name}() takes a function{given}")
        if until not in ("return", "sent"):
            raise ValueError(f'{name}(until=) is "return" or "sent", not {until!r}')
        if scope not in ("request", "app"):
            raise ValueError(f'{name}(scope=) is "request" or "app", not {scope!r}')
        if scope == "app" and (until == "sent" or not cache):
            raise ValueError(
                f'{name}(scope="app") lasts as long as the app: leave until= and cache='
            )
        self.function: Final = function
        self.cache: Final = cache
        self.until: Final = until
        self.scope: Final = scope
        self.thread: Final = thread

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe(self.function)})"


class Security(Depends):
    """A dependency that decides which clients may call the handler.

    It is resolved before all other parameters. To refuse a client, it must raise HTTPException 401 or 403.

    :param scopes: the OAuth2 scopes, for the OpenAPI description only. Other parameters and errors are those of
        Depends.

    Example: `user: Annotated[User, Security(current_user)]`.
    """

    __slots__ = ("scopes",)

    security = True

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        scopes: Sequence[str] = (),
        cache: bool = True,
        until: Literal["return", "sent"] = "return",
        thread: bool = False,
    ) -> None:
        super().__init__(function, cache=cache, until=until, thread=thread)
        self.scopes: Final = tuple(scopes)
