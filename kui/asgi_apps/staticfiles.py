"""Directories as ASGI apps: `Files` serves the files as they are, `Pages` adds index.html and .html.

This module turns a path into the names of files that may be served. `responses/open_files.py` opens them without
leaving the directory, and `responses/file.py` sends them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from baize.datastructures import URL
from baize.typing import ASGIApp, Receive, Scope, Send

from kui.current import request_var
from kui.habits import DIRECTORY_PARAMETERS, told
from kui.http.exceptions import HTTPException
from kui.http.headers import ResponseHeaders
from kui.http.urls import build_url, full_paths
from kui.responses.base import HttpResponse
from kui.responses.content import RedirectResponse
from kui.responses.file import FileResponse
from kui.responses.open_files import FileBelow, OpenFile, open_first
from kui.routing.mounts import Forward
from kui.views import other_method

from .endpoint import EndpointApp

__all__ = ["Files", "Pages"]

LONGEST_FILE_NAME: Final = 255
"""Limit of a file's name, in bytes."""
DEEPEST: Final = 256
"""Limit of the names in a path."""

# Names that Windows reads as a separator, a drive, a stream or a device are served on no system.
_FORBIDDEN: Final = re.compile(
    r"[\0-\x1f\x7f\\]|[ .]\Z" + (r'|[:"*<>?|]' if os.name == "nt" else "")
)
_DEVICE: Final = re.compile(
    r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:[.:].*)?",
    re.IGNORECASE | re.DOTALL,
)


class _Candidate(NamedTuple):
    """A file that may be the response, or whose existence causes a redirect to its directory."""

    names: tuple[str, ...]
    redirects: bool = False


class Files(EndpointApp):
    """The files of a directory, and of those below it, as an ASGI app.

    It answers GET and HEAD, with conditional requests and ranges: see FileResponse. Names that some system could
    interpret differently get 404 on all systems: `..`, backslashes, control characters, devices of Windows, names that
    end with a dot or a space. The directory itself is resolved once.

    :param directory: a path, or `"package:directory"` for a directory in a package.
    :param package: the package, if `directory` is relative to one.
    :param handle_404: the ASGI app for paths without a file, such as a response. By default HTTPException 404 is
        raised, which the exception handlers of a Kui app may answer.
    :param cacheability: the beginning of each file's Cache-Control, as in `public, max-age=600`.
    :param max_age: in seconds; None to leave it out.
    :param cache_control: a function of the path of a file in the tree, such as `css/site.css`, that returns the
        Cache-Control to use instead; "" for none.
    :param follow_symlinks: True if symbolic links are followed, also out of the directory; otherwise they get 404.
    :param dotfiles: True if names that begin with a dot are served.
    :raises ValueError: the package or the directory does not exist, or the Cache-Control is no valid header value.

    Example::

        static = Files("static", cacheability="public, immutable", max_age=31_536_000)
        app = Kui(routes=[Mount("/static", static, name="static")])
        app.router.url_for("static", path="site.css")
    """

    @told(DIRECTORY_PARAMETERS)
    def __init__(
        self,
        directory: str | os.PathLike[str],
        package: str | None = None,
        *,
        handle_404: ASGIApp | None = None,
        cacheability: str = "public",
        max_age: int | None = 600,
        cache_control: Callable[[str], str] | None = None,
        follow_symlinks: bool = False,
        dotfiles: bool = False,
    ) -> None:
        super().__init__(self._answer)
        self.directory = _find(os.fspath(directory), package)
        self.handle_404 = handle_404
        self.follow_symlinks = follow_symlinks
        self.dotfiles = dotfiles
        self._cache_control = cache_control
        age = "" if max_age is None else f"max-age={max_age:d}"
        self._fixed = ", ".join(filter(None, (cacheability, age)))
        # It raises ValueError here, and not when a request arrives.
        ResponseHeaders({"cache-control": self._fixed})

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.directory}>"

    def names(self, path: str) -> tuple[str, ...] | None:
        """Return the names that a decoded path consists of, from the directory down; None if one is not served.

        The last name is "" if the path ends with a slash; the list is empty if the path is.
        """
        first, *names = path.split("/", DEEPEST + 1)
        if first or len(names) > DEEPEST:
            return None
        if not all(map(self._may_be, names[:-1] if names[-1:] == [""] else names)):
            return None
        return tuple(names)

    def _may_be(self, name: str) -> bool:
        if (
            not name
            or len(name) > LONGEST_FILE_NAME
            or _FORBIDDEN.search(name)
            or _DEVICE.fullmatch(name)
        ):
            return False
        return self.dotfiles or not name.startswith(".")

    def _candidates(self, names: tuple[str, ...]) -> list[_Candidate]:
        """Return the files that may be the response, the preferred first."""
        return [_Candidate(names)] if names and names[-1] else []

    def _file(self, file: OpenFile, names: tuple[str, ...]) -> HttpResponse:
        if self._cache_control is None:
            value = self._fixed
        else:
            value = self._cache_control("/".join(names))
        return _Found(file, {"cache-control": value} if value else None)

    async def _answer(self) -> Any:
        request = request_var.get()
        if request.method not in ("GET", "HEAD"):
            return await other_method("GET, HEAD, OPTIONS")
        root, path, _ = full_paths(request.scope)
        names = self.names(path[len(root) :])
        candidates = [] if names is None else self._candidates(names)
        if candidates:
            files = [self._at(each.names) for each in candidates]
            number = await open_first(files)
            if number is not None:
                return self._response(files[number], candidates[number])
        if self.handle_404 is None:
            raise HTTPException(404)
        return Forward(self.handle_404)

    def _response(self, file: OpenFile, candidate: _Candidate) -> HttpResponse:
        try:
            if not candidate.redirects:
                return self._file(file, candidate.names)
        except BaseException:
            file.close()
            raise
        file.close()
        return _with_a_slash(build_url(request_var.get().scope))

    def _at(self, names: tuple[str, ...]) -> OpenFile:
        if self.follow_symlinks:
            return OpenFile(os.path.join(self.directory, *names))
        return FileBelow(self.directory, names)


class Pages(Files):
    """A directory of HTML pages as an ASGI app: `Files`, with these rules.

    - For a path that ends with a slash, the `index.html` of the directory is sent.
    - A path of such a directory without the slash is redirected to the path with it (307); the query is
      kept.
    - For a path without a file, the file with `.html` appended is sent: `about.html` for `/about`.

    Parameters and errors are those of Files.

    Example::

        app = Kui(routes=[Mount("/", Pages("my_package:site", handle_404=HTMLResponse("Lost?", 404)))])
    """

    def _candidates(self, names: tuple[str, ...]) -> list[_Candidate]:
        if not names:
            return [_Candidate(("index.html",), redirects=True)]
        *above, name = names
        if not name:
            return [_Candidate((*above, "index.html"))]
        candidates = [_Candidate(names), _Candidate((*names, "index.html"), redirects=True)]
        if not name.endswith(".html"):
            candidates.append(_Candidate((*above, f"{name}.html")))
        return candidates


def _with_a_slash(url: URL) -> HttpResponse:
    # The path alone: a Host header must not decide where a client is redirected.
    query = f"?{url.query}" if url.query else ""
    return RedirectResponse(f"{url.path}/{query}")


class _Found(FileResponse):
    """A response for a file that is already open."""

    __slots__ = ("_file",)

    def __init__(self, file: OpenFile, headers: dict[str, str] | None) -> None:
        super().__init__(os.fsdecode(file.path), headers)
        self._file = file

    async def _open(self) -> OpenFile:
        return self._file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._file.close()


def _find(directory: str, package: str | None) -> str:
    """Return the real path of a directory, which may be in a package."""
    if package is None:
        before, colon, behind = directory.partition(":")
        # A single letter is a drive of Windows, and not a package.
        if colon and len(before) > 1 and all(map(str.isidentifier, before.split("."))):
            package, directory = before, behind
    if package is None:
        places = [directory]
    else:
        if os.path.isabs(directory):
            raise ValueError(
                f"{directory!r} is absolute: give a directory of the package {package!r}"
            )
        try:
            spec = find_spec(package)
        except ModuleNotFoundError:
            spec = None
        if spec is None:
            raise ValueError(f"there is no package {package!r}")
        places = [os.path.join(place, directory) for place in spec.submodule_search_locations or ()]
    for place in places:
        if os.path.isdir(place):
            return os.path.realpath(place)
    where = "" if package is None else f" in the package {package!r}"
    raise ValueError(f"there is no directory {directory!r}{where}")
