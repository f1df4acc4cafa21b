"""The markers that declare where a parameter comes from, for `Annotated`.

They hold what was written and nothing else: `planning` decides what it means, `validators` compiles it.
pydantic is not imported here, so that an application that declares nothing does not load it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Final, Literal, TypeAlias

from kui.argument_checks import describe

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
"""Where a parameter comes from; the `in` of a refusal and of OpenAPI."""


class SourceMarker:
    """What the markers of the five sources have in common; use one of its subclasses.

    Parameters, all optional:

    - `alias`: the name in the request, where it is not that of the parameter.
    - `exclusive`: the parameter is a model of the whole source, and not one of its values.
    - `description`, `examples`, `deprecated`: for the API's description.
    - `ge`, `gt`, `le`, `lt`, `multiple_of`, `min_length`, `max_length`, `pattern`, `strict`,
      `max_digits`, `decimal_places`, `allow_inf_nan`: constraints, as those of pydantic's `Field`.

    A default is written behind `=` and nowhere else.
    """

    source: ClassVar[Source]

    __slots__ = ("alias", "constraints", "deprecated", "description", "examples", "exclusive")

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
    """A parameter of the path, as a bare one is; for an alias, a description or constraints.

    Example: `item_id: Annotated[int, Path(alias="id", ge=1)]`.
    """

    source = "path"
    __slots__ = ()


class Query(SourceMarker):
    """A parameter of the query; a list is given all values of its name, another type the last.

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
    """A header. Its name is that of the parameter, with `-` for `_`, unless there is an `alias`.

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
    """A field of the body, or with `exclusive=True` the whole body: JSON or a form, by its type.

    `media_type`, if it is given, is the one content type that is accepted; others get 415.

    A field may be an `UploadFile`, a `list[UploadFile]`, or `bytes` (the content of a part of a form).
    The whole body may be `bytes`, or an `AsyncIterable[bytes]` as it arrives. An
    `AsyncIterable[Part]` is the parts of a form as they arrive, behind the fields that are declared.

    Example::

        async def create(item: Annotated[Item, Body(exclusive=True)]): ...

        async def upload(title: Annotated[str, Body()], photo: Annotated[UploadFile, Body()]): ...
    """

    source = "body"
    __slots__ = ("media_type",)

    def __init__(self, *, media_type: str | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.media_type: Final = media_type


class Depends:
    """A parameter whose value a function gives: `Annotated[Store, Depends(open_store)]`.

    - `function`: a function, an async function, a class, another callable, or a generator function
      (async or not) that yields once: what follows its `yield` runs when it is left. It declares
      its parameters as a handler does. It is called once for a request, however many ask for it.
    - `cache`: False for a call of its own.
    - `until`: "return" to be left when the handler has returned, before the answer is sent, so
      that a commit that fails is a 500; "sent" to be left after the body.
    - `scope`: "request"; or "app", to be entered once by the lifespan and shared by all requests.
    - `thread`: whether a `def` runs in a worker thread. Otherwise it runs in the event loop.

    Raises TypeError for what is not callable, ValueError for other options.

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
        function: Callable[..., Any],
        *,
        cache: bool = True,
        until: Literal["return", "sent"] = "return",
        scope: Literal["request", "app"] = "request",
        thread: bool = False,
    ) -> None:
        name = type(self).__name__
        if not callable(function):
            raise TypeError(f"{name}() takes a function, not {function!r}")
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

    It is resolved before everything else, and refuses with 401 or 403.

    `scopes` is for the API's description. Parameters and errors are those of Depends.

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
