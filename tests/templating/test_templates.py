"""Templates: where they are found, what they know, and that they render on both loops."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import jinja2
import pytest

from kui.asgi import (
    BaseTemplates,
    HTMLResponse,
    HttpResponse,
    Jinja2Templates,
    Kui,
    TemplateResponse,
    request,
)
from kui.testing import AsyncTestClient

pytestmark = pytest.mark.anyio


@pytest.fixture
def pages(tmp_path: Path) -> Path:
    folder = tmp_path / "pages"
    folder.mkdir()
    return folder


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `html` in the package `kui_test_site.skin`."""
    folder = tmp_path / "kui_test_site" / "skin" / "html"
    folder.mkdir(parents=True)
    (tmp_path / "kui_test_site" / "__init__.py").touch()
    (tmp_path / "kui_test_site" / "skin" / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "kui_test_site", raising=False)
    monkeypatch.delitem(sys.modules, "kui_test_site.skin", raising=False)
    return folder


async def page(
    templates: BaseTemplates,
    name: str,
    *args: Any,
    path: str = "/",
    root_path: str = "",
    **kwargs: Any,
) -> Any:
    """The answer of an application whose handler returns this TemplateResponse."""
    app = Kui(templates=templates)

    @app.router.http(path, name="page")
    async def handler() -> HttpResponse:
        return TemplateResponse(name, *args, **kwargs)

    @app.router.http("/item/{id:int}/{word}", name="item")
    async def item() -> str:
        return "item"

    async with AsyncTestClient(app, base_url="http://testserver:8000") as client:
        return await client.get(path)


async def test_a_template_is_rendered_with_its_context(pages: Path) -> None:
    (pages / "hello.html").write_text("<h1>Hello, {{ name }}!</h1>")
    response = await page(Jinja2Templates(pages), "hello.html", {"name": "Grüße"})
    assert (response.status_code, response.text) == (200, "<h1>Hello, Grüße!</h1>")
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    assert response.headers["content-length"] == str(len(response.content))


async def test_all_parameters_by_position(pages: Path) -> None:
    (pages / "hello.html").write_text("{{ a }}")
    response = await page(
        Jinja2Templates(pages), "hello.html", {"a": "é"}, 404, {"X-A": "b"}, "text/plain", "latin-1"
    )
    assert (response.status_code, response.content, response.headers["x-a"]) == (404, b"\xe9", "b")
    assert response.headers["content-type"] == "text/plain; charset=latin-1"


async def test_a_directory_is_relative_to_where_the_program_was_started(
    pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (pages / "hello.html").write_text("hello")
    monkeypatch.chdir(pages.parent)
    templates = Jinja2Templates("pages")
    monkeypatch.chdir("/")
    assert (await page(templates, "hello.html")).text == "hello"


async def test_a_package_has_templates_too(package: Path) -> None:
    (package / "hello.html").write_text("from the package")
    templates = Jinja2Templates("kui_test_site.skin:html")
    assert (await page(templates, "hello.html")).text == "from the package"


async def test_the_first_directory_that_has_a_template_gives_it(pages: Path, package: Path) -> None:
    (pages / "both.html").write_text("first")
    (package / "both.html").write_text("second")
    (package / "one.html").write_text("second {% include 'both.html' %}")
    templates = Jinja2Templates(str(pages), "kui_test_site.skin:html")
    assert (await page(templates, "both.html")).text == "first"
    assert (await page(templates, "one.html")).text == "second first"


async def test_url_for_gives_a_path(pages: Path) -> None:
    (pages / "links.html").write_text(
        "{{ url_for('page') }} {{ url_for('item', {'id': 7, 'word': 'a b'}) }}"
        " {{ url_for('item', {'id': 7}, word='é?') }} {{ url_for('item', id=8, word='x') }}"
    )
    assert (await page(Jinja2Templates(pages), "links.html")).text == (
        "/ /item/7/a%20b /item/7/%C3%A9%3F /item/8/x"
    )


async def test_url_for_takes_parameters_of_any_name(pages: Path) -> None:
    (pages / "names.html").write_text("{{ url_for('any', name='a', self='b', params='c') }}")
    app = Kui(templates=Jinja2Templates(pages))

    @app.router.http.get("/{name}/{self}/{params}", name="any")
    async def names() -> HttpResponse:
        url = request.url_for("any", **request.path_params)
        return TemplateResponse("names.html", headers={"location": url})

    async with AsyncTestClient(app) as client:
        response = await client.get("/a/b/c")
        assert response.text == "/a/b/c"
        assert response.headers["location"].endswith("/a/b/c")


async def test_url_for_gives_a_path_that_works_behind_a_prefix(pages: Path) -> None:
    (pages / "links.html").write_text("{{ url_for('page') }}")
    app = Kui(templates=Jinja2Templates(pages))

    @app.router.http("/here", name="page")
    async def handler() -> HttpResponse:
        return TemplateResponse("links.html")

    async def behind_a_prefix(scope: Any, receive: Any, send: Any) -> None:
        await app({**scope, "root_path": "/pre fix"}, receive, send)

    async with AsyncTestClient(behind_a_prefix, lifespan=False) as client:
        assert (await client.get("/pre%20fix/here")).text == "/pre%20fix/here"


async def test_the_request_is_in_the_context(pages: Path) -> None:
    (pages / "who.html").write_text("{{ request.method }} {{ request.url.path }}")
    response = await page(Jinja2Templates(pages), "who.html", path="/who")
    assert response.text == "GET /who"


@pytest.mark.parametrize("is_async", [True, False])
@pytest.mark.parametrize(
    "line",
    [
        "{% import 'macros.html' as m %}{{ m.link() }}",
        "{% from 'macros.html' import link %}{{ link() }}",
        "{% import 'macros.html' as m with context %}{{ m.link() }}",
        "{% import 'outer.html' as m %}{{ m.outer() }}",
        "{% include 'included.html' %}",
    ],
)
async def test_imported_macros_know_the_request_and_url_for(
    line: str, is_async: bool, pages: Path
) -> None:
    (pages / "macros.html").write_text(
        "{% macro link() %}{{ request.method }} {{ url_for('page', n=request.path_params.n) }}"
        "{% endmacro %}"
    )
    (pages / "outer.html").write_text(
        "{% import 'macros.html' as m %}{% macro outer() %}{{ m.link() }}{% endmacro %}"
    )
    (pages / "included.html").write_text("{% import 'macros.html' as m %}{{ m.link() }}")
    (pages / "page.html").write_text(line)
    app = Kui(templates=Jinja2Templates(pages, enable_async=is_async))

    @app.router.http("/page/{n:int}", name="page")
    async def handler() -> HttpResponse:
        return TemplateResponse("page.html")

    async with AsyncTestClient(app) as client:
        for number in 1, 2:  # what is imported is kept: the second must not see the first's
            assert (await client.get(f"/page/{number}")).text == f"GET /page/{number}"
            assert (await client.post(f"/page/{number}")).text == f"POST /page/{number}"


async def test_a_template_may_ask_whether_there_is_a_request(pages: Path) -> None:
    (pages / "mail.html").write_text(
        "{% if request %}{{ request.method }}{% else %}none{% endif %}"
    )
    templates = Jinja2Templates(pages)
    assert await templates.render("mail.html", {}) == "none"
    assert (await page(templates, "mail.html")).text == "GET"


async def test_what_the_handler_gives_comes_before_what_is_there(pages: Path) -> None:
    (pages / "who.html").write_text("{{ request }}")
    assert (await page(Jinja2Templates(pages), "who.html", {"request": "mine"})).text == "mine"


async def test_the_context_is_not_changed(pages: Path) -> None:
    (pages / "set.html").write_text("{% set a = 2 %}{{ a }}")
    context = {"a": 1}
    assert (await page(Jinja2Templates(pages), "set.html", context)).text == "2"
    assert context == {"a": 1}


@pytest.mark.parametrize(
    "name", ["a.html", "a.htm", "a.xml", "a.svg", "a.html.j2", "A.HTML.jinja2", "a.j2", "a"]
)
async def test_markup_is_escaped(pages: Path, name: str) -> None:
    (pages / name).write_text("{{ x }}")
    assert (await page(Jinja2Templates(pages), name, {"x": "<&"})).text == "&lt;&amp;"


@pytest.mark.parametrize(
    ("name", "media_type"),
    [
        ("a.txt", "text/plain; charset=utf-8"),
        ("a.txt.j2", "text/plain; charset=utf-8"),
        ("a.json", "application/json"),
        ("a.csv", "text/csv; charset=utf-8"),
    ],
)
async def test_what_is_no_markup_is_not_escaped_and_not_called_html(
    pages: Path, name: str, media_type: str
) -> None:
    (pages / name).write_text("{{ x }}")
    response = await page(Jinja2Templates(pages), name, {"x": "<&"})
    assert (response.text, response.headers["content-type"]) == ("<&", media_type)


async def test_xml_says_that_it_is_xml(pages: Path) -> None:
    (pages / "feed.xml").write_text("<feed/>")
    response = await page(Jinja2Templates(pages), "feed.xml")
    assert response.headers["content-type"] == "application/xml"


async def test_everything_that_jinja_awaits_works_on_every_loop(pages: Path) -> None:
    (pages / "base.html").write_text("[{% block body %}{% endblock %}]")
    (pages / "macros.html").write_text(
        "{% macro twice(x) %}{{ x }}{{ caller() }}{{ x }}{% endmacro %}"
    )
    (pages / "part.html").write_text("<{{ word }}>")
    (pages / "all.html").write_text(
        "{% extends 'base.html' %}{% from 'macros.html' import twice %}{% block body %}"
        "{% for n in numbers() %}{{ n }}{{ ';' if not loop.last }}{% else %}none{% endfor %}"
        " {{ later('a') }} {{ 'b'|slow }} {% call twice('c') %}d{% endcall %}"
        " {% for w in words %}{% include 'part.html' with context %}{% set word = w %}{% endfor %}"
        " {{ numbers()|list|length }} {{ words|map('upper')|join }} {{ super() }}{% endblock %}"
    )

    async def numbers() -> AsyncIterator[int]:
        for number in range(3):
            await anyio.lowlevel.checkpoint()
            yield number

    async def later(text: str) -> str:
        await anyio.lowlevel.checkpoint()
        return text.upper()

    templates = Jinja2Templates(pages)
    templates.env.filters["slow"] = later
    context = {"numbers": numbers, "later": later, "words": ["x", "y"], "word": "w"}
    response = await page(templates, "all.html", context)
    assert response.text == "[0;1;2 A B cdc &lt;w>&lt;w> 3 XY ]".replace("&lt;", "<")


@pytest.mark.parametrize("call", ["numbers", "numbers()"])
async def test_an_error_in_a_template_is_the_handlers_and_closes_what_it_iterates_over(
    pages: Path, call: str
) -> None:
    (pages / "broken.html").write_text(
        f"{{% for n in {call} %}}"
        "{{ n }}{% include 'part.html' %}{{ 1 // n }}{% endfor %}"
    )
    (pages / "part.html").write_text("part")

    closed: list[object] = []

    async def numbers() -> AsyncIterator[int]:
        try:
            for number in (1, 0):
                await anyio.lowlevel.checkpoint()
                yield number
        finally:
            await anyio.lowlevel.checkpoint()
            closed.append(anyio.get_current_task().id == tasks.pop())

    tasks: list[int] = []
    app = Kui(
        templates=Jinja2Templates(pages),
        exception_handlers={ZeroDivisionError: lambda exc: (f"caught: {exc}", 400)},
    )

    @app.router.http("/")
    async def handler() -> HttpResponse:
        tasks.append(anyio.get_current_task().id)
        return TemplateResponse(
            "broken.html", {"numbers": numbers if call.endswith("()") else numbers()}
        )

    async with AsyncTestClient(app) as client:
        response = await client.get("/")
    assert response.status_code == 400
    assert response.text.startswith("caught: ")
    assert closed == [True]


async def test_a_template_response_may_be_sent_again_with_the_request_of_the_time(
    pages: Path,
) -> None:
    (pages / "who.html").write_text("{{ request.url.path }}")
    templates = Jinja2Templates(pages)
    response = templates.TemplateResponse("who.html")
    app = Kui()

    @app.router.http("/{path}")
    async def handler() -> HttpResponse:
        return response

    async with AsyncTestClient(app) as client:
        assert [(await client.get(path)).text for path in ("/a", "/b")] == ["/a", "/b"]


@pytest.mark.parametrize("name", ["missing.html", "../secret.html", ""])
def test_a_missing_template_says_where_it_was_looked_for(pages: Path, name: str) -> None:
    (pages.parent / "secret.html").write_text("secret")
    templates = Jinja2Templates(pages, pages.parent / "more")
    with pytest.raises(jinja2.TemplateNotFound) as caught:
        templates.TemplateResponse(name)
    assert str(caught.value) == f"there is no template {name!r} in {pages}, {pages.parent / 'more'}"


async def test_a_missing_template_that_another_includes_says_so_too(pages: Path) -> None:
    (pages / "outer.html").write_text("{% include 'inner.html' %}")
    with pytest.raises(jinja2.TemplateNotFound, match=r"there is no template 'inner\.html' in /"):
        await page(Jinja2Templates(pages), "outer.html")


async def test_a_choice_of_templates_keeps_the_message_of_jinja(pages: Path) -> None:
    (pages / "outer.html").write_text("{% include ['a.html', 'b.html'] %}")
    with pytest.raises(jinja2.TemplatesNotFound, match=r"a\.html, b\.html"):
        await page(Jinja2Templates(pages), "outer.html")


def test_a_template_that_cannot_be_parsed_is_an_error_in_the_handler(pages: Path) -> None:
    (pages / "broken.html").write_text("{% if %}")
    with pytest.raises(jinja2.TemplateSyntaxError):
        Jinja2Templates(pages).TemplateResponse("broken.html")


def test_a_directory_is_needed() -> None:
    with pytest.raises(ValueError, match="needs a directory"):
        Jinja2Templates()


def test_a_package_that_is_not_there_is_an_error_at_once(package: Path) -> None:
    with pytest.raises(ModuleNotFoundError, match="kui_test_nowhere"):
        Jinja2Templates("kui_test_nowhere:html")
    with pytest.raises(ValueError, match="nowhere"):
        Jinja2Templates("kui_test_site.skin:nowhere")


@pytest.mark.parametrize("directory", ["C:\\templates", "./a:b", "a-b:c"])
def test_a_colon_alone_makes_no_package(directory: str) -> None:
    with pytest.raises(jinja2.TemplateNotFound):
        Jinja2Templates(directory).TemplateResponse("a.html")


async def test_the_environment_takes_options(pages: Path) -> None:
    (pages / "a.html").write_text("{% if true %}\n<{{ x }}>\n{% endif %}\n")
    templates = Jinja2Templates(pages, trim_blocks=True, autoescape=False)
    assert (await page(templates, "a.html", {"x": "&"})).text == "<&>\n"


async def test_a_page_that_awaits_nothing_may_be_rendered_without_waiting(pages: Path) -> None:
    (pages / "list.html").write_text("{% for n in numbers %}{{ n }} {% endfor %}{{ url_for('/') }}")
    app = Kui(templates=Jinja2Templates(str(pages), enable_async=False))

    @app.router.http.get("/", name="/")
    async def handler() -> object:
        return TemplateResponse("list.html", {"numbers": [1, 2]})

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "1 2 /"


@pytest.mark.parametrize("enable_async", [True, False])
async def test_an_async_generator_of_the_context_is_closed(pages: Path, enable_async: bool) -> None:
    closed = False

    async def numbers() -> AsyncGenerator[int, None]:
        nonlocal closed
        try:
            yield 1
            yield 2
        finally:
            await anyio.lowlevel.checkpoint()
            closed = True

    started = numbers()
    await anext(started)
    (pages / "page.html").write_text("page")
    templates = Jinja2Templates(pages, enable_async=enable_async)
    assert (await page(templates, "page.html", {"numbers": started})).text == "page"
    assert closed


@pytest.mark.parametrize("enable_async", [True, False])
async def test_what_a_template_calls_need_not_be_what_it_can_iterate_over(
    pages: Path, enable_async: bool
) -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1

    (pages / "call.html").write_text("{% set all = numbers() %}called")
    templates = Jinja2Templates(pages, enable_async=enable_async)
    assert (await page(templates, "call.html", {"numbers": numbers})).text == "called"
    assert (await page(templates, "call.html", {"numbers": list})).text == "called"


class Bag:
    """It has attributes and items."""

    name = "attribute"

    def __getitem__(self, key: str) -> str:
        return f"item {key}"


class Named(dict[str, object]):
    name = "attribute"


@pytest.mark.parametrize(
    "thing",
    [
        {"name": "item"},
        {"name": None, "other": 1},
        {},
        {"items": "item", "keys": 1},
        Named(name="item"),
        Named(other="item"),
        Bag(),
        object(),
        [1, 2],
        "text",
        None,
    ],
)
def test_a_dot_means_what_it_means_in_jinja(pages: Path, thing: object) -> None:
    source = (
        "{{ x.name }} {{ x.other }} {{ x.name is defined }} {{ x.items is callable }}"
        " {{ x.keys is callable }} {{ x.__class__ }} {{ x['name'] }} {{ x.__len__ is defined }}"
    )
    env = Jinja2Templates(pages, enable_async=False).env
    expected = jinja2.Environment(autoescape=True).from_string(source).render(x=thing)
    assert env.from_string(source).render(x=thing) == expected


def test_what_is_undefined_says_where(pages: Path) -> None:
    env = Jinja2Templates(pages, enable_async=False, undefined=jinja2.StrictUndefined).env
    with pytest.raises(jinja2.UndefinedError, match="'dict object' has no attribute 'name'"):
        env.from_string("{{ x.name }}").render(x={})


@pytest.mark.parametrize("enable_async", [True, False])
async def test_globals_are_those_of_the_time_and_the_nearest_come_first(
    pages: Path, enable_async: bool
) -> None:
    (pages / "a.html").write_text("{{ one }} {{ two }} {{ three }} {% include 'b.html' %}")
    (pages / "b.html").write_text(
        "{{ one }} {{ two }} {% import 'c.html' as c %}{{ c.m() }}"
        " {% import 'c.html' as c with context %}{{ c.m() }}"
    )
    (pages / "c.html").write_text("{% macro m() %}{{ one }}{{ three }}{% endmacro %}")
    templates = Jinja2Templates(pages, enable_async=enable_async)
    templates.env.globals.update(one=1, two=1, three=1)
    templates.env.get_template("a.html", globals={"two": 2, "three": 2})
    assert (await page(templates, "a.html", {"three": 3})).text == "1 2 3 1 2 11 13"
    templates.env.globals["one"] = "new"
    assert (await page(templates, "a.html", {"three": 3})).text.startswith("new 2 3 new 2")
    assert templates.env.globals["two"] == 1


class Clock:
    """Stands for the time at which files are looked at."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr("kui.templating.jinja.monotonic", lambda: self.now)


def rewrite(file: Path, text: str) -> None:
    """Change a file so that its time of change is another, however fast that is."""
    before = file.stat().st_mtime_ns
    file.write_text(text)
    os.utime(file, ns=(before, before + 10**9))


@pytest.mark.parametrize("changed", ["page.html", "part.html"])
def test_a_file_that_has_changed_is_loaded_anew_but_not_looked_at_all_the_time(
    pages: Path, changed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    (pages / "part.html").write_text("old")
    (pages / "page.html").write_text("{% include 'part.html' %} old")
    templates = Jinja2Templates(pages, enable_async=False)

    def render() -> str:
        return templates.get_template("page.html").render()

    assert render() == "old old"
    assert render() == "old old"  # it has looked
    rewrite(pages / changed, (pages / changed).read_text().replace("old", "new"))
    clock.now += 0.24
    assert render() == "old old"
    clock.now += 0.02
    assert render().count("new") == 1


def test_a_file_that_was_broken_or_deleted_stays_so(
    pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    (pages / "broken.html").write_text("old")
    (pages / "gone.html").write_text("old")
    templates = Jinja2Templates(pages)
    for name in ("broken.html", "gone.html"):
        templates.get_template(name)
    rewrite(pages / "broken.html", "{% if %}")
    (pages / "gone.html").unlink()
    clock.now += 0.26
    for _ in range(3):
        with pytest.raises(jinja2.TemplateSyntaxError):
            templates.get_template("broken.html")
        with pytest.raises(jinja2.TemplateNotFound):
            templates.get_template("gone.html")


def test_without_auto_reload_a_file_is_not_looked_at_again(
    pages: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    (pages / "page.html").write_text("old")
    templates = Jinja2Templates(pages, auto_reload=False)
    assert templates.get_template("page.html").filename == str(pages / "page.html")
    before = templates.get_template("page.html")
    rewrite(pages / "page.html", "new")
    clock.now += 1
    assert templates.get_template("page.html") is before


async def test_an_engine_may_define_render(pages: Path) -> None:
    class Format(BaseTemplates):
        def render(self, name: str, context: dict[str, Any]) -> str:
            return name.format_map(context)

    class Later(BaseTemplates):
        async def render(self, name: str, context: dict[str, Any]) -> str:
            await anyio.lowlevel.checkpoint()
            return f"{name} {context['request'].method} {context['url_for']('page')}"

    response = await page(Format(), "Hello, {name}!", {"name": "<x>"}, 201)
    assert (response.status_code, response.text) == (201, "Hello, <x>!")
    assert (await page(Later(), "page")).text == "page GET /"


async def test_an_engine_may_define_the_whole_response() -> None:
    class Fixed(BaseTemplates):
        def TemplateResponse(self, name: str, context: Any = None, *args: Any) -> HttpResponse:
            return HTMLResponse(f"fixed {name} {context} {args[0]}")

    assert (await page(Fixed(), "a", {"b": 1}, status_code=201)).text == "fixed a {'b': 1} 201"
    with pytest.raises(TypeError, match="contxt"):
        TemplateResponse("a", contxt={})  # type: ignore[call-arg]  # the mistake


async def test_an_engine_that_defines_neither_is_named() -> None:
    class Half(BaseTemplates):
        pass

    with pytest.raises(NotImplementedError, match="Half has to define render"):
        await page(Half(), "a")


async def test_an_application_without_templates_says_what_it_needs() -> None:
    app = Kui()

    @app.router.http("/")
    async def handler() -> HttpResponse:
        return TemplateResponse("a.html")

    async with AsyncTestClient(app) as client:
        with pytest.raises(RuntimeError, match=r"Kui\(templates=Jinja2Templates"):
            await client.get("/")


def test_outside_of_a_handler_there_is_no_shortcut() -> None:
    with pytest.raises(RuntimeError, match="TemplateResponse is for handlers"):
        TemplateResponse("a.html")


async def test_a_template_works_in_a_thread(pages: Path) -> None:
    (pages / "who.html").write_text("{{ request.method }}")
    app = Kui(templates=Jinja2Templates(pages))

    @app.router.http("/")
    def handler() -> HttpResponse:
        assert request.method == "GET"
        return TemplateResponse("who.html")

    async with AsyncTestClient(app) as client:
        assert (await client.get("/")).text == "GET"


def test_jinja_is_imported_when_it_is_used() -> None:
    program = (
        "import sys, kui.asgi; assert 'jinja2' not in sys.modules;"
        " kui.asgi.Jinja2Templates('.'); assert 'jinja2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
