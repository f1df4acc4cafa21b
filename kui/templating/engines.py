"""The interface of a template engine, and the engine Jinja2.

Pages are rendered when they are sent, by plain coroutines, which run on both loops. Jinja2 is imported when an
application makes a `Jinja2Templates`, so that `import kui.asgi` stays fast.
"""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AsyncExitStack
from functools import lru_cache, partial
from inspect import isasyncgen
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any, Never
from urllib.parse import urlsplit

from kui.concurrency import shielded
from kui.current import http_connection, request, request_var
from kui.habits import TEMPLATE_PARAMETERS, told
from kui.http.text import encode_text
from kui.responses.base import HttpResponse
from kui.responses.content import SmallResponse

if TYPE_CHECKING:
    import jinja2

__all__ = ["BaseTemplates", "Jinja2Templates"]

TemplateContext = Mapping[str, Any]
Render = Callable[[dict[str, Any]], "str | Awaitable[str]"]

# The extensions of templates that do not make HTML.
_OTHERS = (".css", ".csv", ".js", ".json", ".svg", ".text", ".txt", ".xhtml", ".xml")
_NOT_MARKUP = (".css", ".csv", ".js", ".json", ".text", ".txt")
_OF_TEMPLATES = (".j2", ".jinja", ".jinja2", ".tmpl", ".tpl")


@lru_cache(maxsize=512)
def _extension(name: str) -> str:
    """Return the extension of the page that a template makes: `.html` for `page.html.j2`."""
    stem, extension = os.path.splitext(name.lower())
    return os.path.splitext(stem)[1] if extension in _OF_TEMPLATES else extension


@lru_cache(maxsize=512)
def _media_type(name: str) -> str | None:
    from kui.http.media_types import (
        MEDIA_TYPES,  # a large table, which an app without templates does not need
    )

    extension = _extension(name)
    return MEDIA_TYPES[extension] if extension in _OTHERS else None


class _TemplateResponse(SmallResponse[TemplateContext]):
    """A page. It is rendered anew each time it is sent, with the request that it answers."""

    __slots__ = ("_render",)
    media_type = "text/html"

    def __init__(
        self,
        render: Render,
        context: TemplateContext,
        status_code: int,
        headers: Mapping[str, str] | None,
        media_type: str | None,
        charset: str | None,
    ) -> None:
        self._render = render
        super().__init__(context, status_code, headers, media_type, charset)

    async def render(self, content: TemplateContext) -> bytes:
        text = self._render(_with_the_request(content))
        if not isinstance(text, str):
            text = await text
        return encode_text(text, self.charset)

    def _produce(self) -> Coroutine[Any, Any, bytes]:
        return self.render(self.content)


def _with_the_request(context: TemplateContext) -> dict[str, Any]:
    current = request_var.get(None)
    return {**context} if current is None else {"request": current, "url_for": url_for, **context}


def url_for(name: str, params: Mapping[str, Any] | None = None, /, **more: Any) -> str:
    """Return the path of the route with this name, for the current request or WebSocket.

    Raises what `request.url_for` raises.

    :raises RuntimeError: there is no current request or WebSocket.
    """
    return urlsplit(http_connection.url_for(name, {**(params or {}), **more})).path


class BaseTemplates:
    """The interface of a template engine: override `render`, or all of `TemplateResponse`.

    Example::

        class Format(BaseTemplates):
            def render(self, name, context):
                return Path("pages", name).read_text().format_map(context)

        app = Kui(templates=Format())
    """

    def render(self, name: str, context: dict[str, Any]) -> str | Awaitable[str]:
        """Return the page as text. A subclass writes it as `def` or as `async def`; it is called when the page is sent.

        :param context: the variables of the handler, with `request` and `url_for(name, params=None, **params)`, which
            returns a path, unless the handler has given its own.
        """
        raise NotImplementedError(
            f"{type(self).__qualname__} has to define render(name, context) or TemplateResponse"
        )

    def TemplateResponse(
        self,
        name: str,
        context: TemplateContext | None = None,
        status_code: int = 200,
        headers: Mapping[str, str] | None = None,
        media_type: str | None = None,
        charset: str | None = None,
    ) -> HttpResponse:
        """Return a response with the page of a template.

        :param name: the name of the template.
        :param context: the variables.
        :param status_code: as for SmallResponse; so are `headers` and `charset`.
        :param media_type: by default that of the name's extension, or HTML.
        """
        media_type = media_type or _media_type(name)
        render = self._renderer(name)
        return _TemplateResponse(render, context or {}, status_code, headers, media_type, charset)

    def _renderer(self, name: str) -> Render:
        """Return the function that renders the page when it is sent. This itself is called in the handler."""
        return partial(self.render, name)


class Jinja2Templates(BaseTemplates):
    """Jinja2, with templates from directories and packages, which are searched in order.

    Markup is escaped unless the template's name has an extension of another format (`.txt`, `.json`, `.js`, `.css`,
    `.csv`). The environment is `.env`, for filters and globals of your own. `request` and `url_for` are globals, so
    that imported macros can use them. A changed file is loaded again; files are checked at most every 0.25 seconds, and
    never with `auto_reload=False`.

    `TemplateResponse` raises jinja2.TemplateNotFound and jinja2.TemplateSyntaxError at once. Exceptions of the
    rendering are raised when the response is sent.

    :param directories: each is a path, or `"package:directory"` for a directory in a package.
    :param options: options of jinja2.Environment. With `enable_async=False`, pages that await nothing are rendered in
        half the time.
    :raises ImportError: jinja2 is not installed, or a package does not exist.
    :raises ValueError: a package does not have the directory, or no directory was given.

    Example: `Kui(templates=Jinja2Templates("templates", "my_package:templates"))`.
    """

    @told(TEMPLATE_PARAMETERS)
    def __init__(self, *directories: str | os.PathLike[str], **options: Any) -> None:
        import jinja2

        from .jinja import Environment, opened

        if not directories:
            raise ValueError('Jinja2Templates needs a directory, such as "templates"')
        self._directories = [os.fspath(directory) for directory in directories]
        loaders = [_loader(directory) for directory in self._directories]
        self._not_found = jinja2.TemplateNotFound
        self._opened = opened
        self.env: jinja2.Environment = Environment(
            **{
                "loader": jinja2.ChoiceLoader(loaders),
                "autoescape": _is_markup,
                "enable_async": True,
                **options,
            }
        )
        # Macros of imported templates have no context, and are kept from request to request.
        self.env.globals.update(request=request, url_for=url_for)

    def _renderer(self, name: str) -> Render:
        page = self._page if self.env.is_async else self._page_at_once
        return partial(page, self.get_template(name))

    async def render(self, name: str, context: dict[str, Any]) -> str:
        """Return the page as text."""
        page = self._renderer(name)(context)
        return page if isinstance(page, str) else await page

    def get_template(self, name: str) -> jinja2.Template:
        """Return the template with this name.

        :raises jinja2.TemplateNotFound: there is none; the message names the directories.
        """
        try:
            return self.env.get_template(name)
        except self._not_found as missing:
            raise self._located(missing) from None

    async def _page(self, template: jinja2.Template, context: dict[str, Any]) -> str:
        opened: list[AsyncGenerator[object, Never]] = [
            value for value in context.values() if isasyncgen(value)
        ]
        token = self._opened.set(opened)
        try:
            if not self.env.is_async:
                return template.render(context)
            return await template.render_async(context)
        except self._not_found as missing:  # a template that it includes or extends
            raise self._located(missing) from missing
        finally:
            self._opened.reset(token)
            if opened:
                await _close(opened)

    def _page_at_once(
        self, template: jinja2.Template, context: dict[str, Any]
    ) -> str | Awaitable[str]:
        if AsyncGeneratorType in map(type, context.values()):  # it must be closed afterwards
            return self._page(template, context)
        try:
            return template.render(context)
        except self._not_found as missing:
            raise self._located(missing) from missing

    def _located(self, missing: jinja2.TemplateNotFound) -> jinja2.TemplateNotFound:
        if missing.message != missing.name:  # the message says more than the name already
            return missing
        places = ", ".join(self._directories)
        return self._not_found(missing.name, f"there is no template {missing.name!r} in {places}")


async def _close(generators: list[AsyncGenerator[object, Never]]) -> None:
    with shielded():
        async with AsyncExitStack() as stack:
            for generator in generators:
                stack.push_async_callback(generator.aclose)


def _loader(directory: str) -> jinja2.BaseLoader:
    import jinja2

    package, colon, folder = directory.partition(":")
    # A single letter is a drive of Windows, and no package.
    if colon and len(package) > 1 and all(part.isidentifier() for part in package.split(".")):
        return jinja2.PackageLoader(package, folder)
    return jinja2.FileSystemLoader(os.path.abspath(directory))


def _is_markup(name: str | None) -> bool:
    return name is None or _extension(name) not in _NOT_MARKUP
