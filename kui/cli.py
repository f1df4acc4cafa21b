"""The command `kui`: `kui new` starts a project, `kui run` serves an app, `kui routes` lists its routes.

An error before the app is loaded is one line on stderr. An exception of the app's own module is shown with its
traceback.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .distribution import other_distributions
from .new_project import new_project
from .serving.binding import CannotServe
from .serving.importing import find_app
from .serving.process import BACKENDS, ProcessDeadline, complain, run_process
from .serving.runner import LAST

if TYPE_CHECKING:
    from .applications import Kui

__all__ = ["main"]

SPEC = "module:app, or module:create_app() for a function that makes it"
HOST = "127.0.0.1"
PORT = 8000
FOUND = "; without it app.py or main.py in this directory, and its app"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status.

    :param arguments: by default those of the process. In that case the process ends at most ten seconds after the
        command, even if threads of the app still run.
    """
    deadline = ProcessDeadline()
    chosen = vars(_parser(deadline).parse_args(arguments))
    command = chosen.pop("command")
    try:
        status: int = command(**chosen)
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BrokenPipeError:  # the reader has closed the pipe; the rest is written to /dev/null
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except Exception:
        traceback.print_exc()
        status = 1
    if arguments is None:
        deadline.arm()
        deadline.start(LAST)
    else:
        deadline.stop()
    return status


def _run(deadline: ProcessDeadline, app: str | None, **options: Any) -> int:
    if app is None:
        try:
            app = find_app()
        except CannotServe as error:
            return complain(error)
        print(f"kui: serving {app}", file=sys.stderr)
    try:
        options["bind"] = _binds(options.pop("bind"), options.pop("host"), options.pop("port"))
    except CannotServe as error:
        return complain(error)
    return run_process(app, deadline, **options)


def _binds(binds: list[str] | None, host: str | None, port: int | None) -> list[str]:
    """Return the addresses to listen on, from --bind or from --host and --port."""
    if host is None and port is None:
        return binds or [f"{HOST}:{PORT}"]
    if binds:
        raise CannotServe(
            "--bind says where to listen, and so do --host and --port: give one of them"
        )
    host = host or HOST
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    return [f"{host}:{PORT if port is None else port}"]


def _new(directory: Path) -> int:
    try:
        files = new_project(directory)
    except OSError as error:
        return complain(CannotServe(str(error)))
    print("\n".join(map(str, files)))
    print(f"Now: cd {shlex.quote(str(directory))} && kui run --reload")
    return 0


def _routes(app: str | None) -> int:
    from .serving.importing import load_app

    try:
        app = app or find_app()
        rows = _table(load_app(app), app)
    except CannotServe as error:
        return complain(error)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(map(str.ljust, row, widths)).rstrip())
    return 0


def _openapi(app: str | None) -> int:
    from .applications import Kui
    from .serving.importing import load_app

    try:
        app = app or find_app()
        found = load_app(app)
        if not isinstance(found, Kui) or found.openapi is None:
            raise CannotServe(f"{app} describes nothing: write Kui(openapi=OpenAPI(title=...))")
        print(json.dumps(found.openapi.document(found), indent=2, ensure_ascii=False))
    except (CannotServe, TypeError) as error:
        return complain(CannotServe(str(error)))
    return 0


def _table(app: object, spec: str) -> list[tuple[str, str, str, str]]:
    from .applications import Kui

    if not isinstance(app, Kui):
        raise CannotServe(f"{spec} is no Kui application, but {app!r}")
    return [("METHODS", "PATH", "NAME", "ENDPOINT"), *_rows(app)]


def _rows(app: Kui, prefix: str = "") -> Iterator[tuple[str, str, str, str]]:
    """Yield a row for each route of an app, and below a mounted Kui its routes.

    A mount is one row: that it answers the prefix itself, and WebSockets, goes without saying.
    """
    from .applications import Kui
    from .argument_checks import describe
    from .routing import HttpRoute
    from .routing.mounts import Mounted

    for route in app.router:
        path, name = prefix + route.path, route.full_name or "-"
        mounted = getattr(route.endpoint, "__self__", route.endpoint)  # for WebSockets: its method
        if not (isinstance(mounted, Mounted) and mounted.grows):
            kind = "WEBSOCKET"
            if isinstance(route, HttpRoute):
                kind = ",".join(sorted(app.router.methods(route) or ["*"]))
            yield kind, path, name, describe(route.endpoint)
        elif isinstance(route, HttpRoute) and path.endswith("/{path:any}"):
            yield "MOUNT", path, name, repr(mounted.app)
            if isinstance(mounted.app, Kui):
                yield from _rows(mounted.app, path.removesuffix("/{path:any}"))


class _Version(argparse.Action):
    """Print the version, and warnings about other installed distributions, when the option is parsed."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str) -> None:
        super().__init__(option_strings, dest=argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(f"kui {__version__}")
        for warning in other_distributions():
            print(f"kui: {warning}", file=sys.stderr)
        parser.exit()


def _parser(deadline: ProcessDeadline) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="kui", description="Serve a Kui app, or look at its routes."
    )
    parser.add_argument("--version", action=_Version, help="show the version and exit")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    routes = commands.add_parser("routes", help="list the routes of an app")
    routes.set_defaults(command=_routes)
    routes.add_argument("app", nargs="?", help=SPEC + FOUND)

    openapi = commands.add_parser("openapi", help="write the description of an app to stdout")
    openapi.set_defaults(command=_openapi)
    openapi.add_argument("app", nargs="?", help=SPEC + FOUND)

    new = commands.add_parser("new", help="write a small project: an app, its tests, a container")
    new.set_defaults(command=_new)
    new.add_argument("directory", type=Path, metavar="DIR")

    run = commands.add_parser(
        "run", help="serve an app", formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    run.set_defaults(command=partial(_run, deadline))
    run.add_argument("app", nargs="?", help=SPEC + FOUND)
    add = run.add_argument
    add("--backend", choices=tuple(BACKENDS), default="trio", help="the event loop")
    add(
        "--bind",
        action="append",
        metavar="ADDRESS",
        help="HOST:PORT (port 0: a free one), [IPv6]:PORT, unix:PATH or fd://NUMBER; may be given"
        " several times; without it 127.0.0.1:8000",
    )
    add("--host", help=f"with --port, another way to say --bind HOST:PORT; without it {HOST}")
    add("--port", type=int, help=f"without it {PORT}")
    add("--workers", type=int, default=1, metavar="N", help="processes that share the addresses")
    add("--reload", action="store_true", help="start anew when a file of the program changes")
    add(
        "--root-path",
        default="",
        metavar="PATH",
        help="the prefix under which a proxy offers the app, and which it takes out of the path",
    )
    add("--root-path-in-path", action="store_true", help="the proxy leaves --root-path in the path")
    add("--certfile", metavar="FILE", help="the certificate chain, PEM: serve HTTPS and HTTP/2")
    add("--keyfile", metavar="FILE", help="its key, if that is in a file of its own")
    add("--access-log", action="store_true", help="log every request")
    add("--debug", action="store_true", help="show tracebacks to clients of this machine")
    add(
        "--log-config",
        metavar="FILE",
        help="the configuration of logging, a dictionary for logging.config in TOML or JSON",
    )
    seconds: dict[str, Any] = {"type": float, "metavar": "SECONDS"}
    add(
        "--graceful-timeout",
        **seconds,
        default=3.0,
        help="how long requests may take to end once the server stops",
    )
    add(
        "--forwarded-allow-ips",
        default="",
        metavar="NETWORKS",
        help="the proxies whose X-Forwarded and Forwarded headers count: addresses and networks"
        " with commas between, 'unix', or '*'",
    )
    add(
        "--stall-timeout",
        **seconds,
        default=30.0,
        help="when to drop a client that takes nothing (Linux; 0: never)",
    )
    add(
        "--drain-delay",
        **seconds,
        default=0.0,
        help="how long to accept connections once the app knows that the server stops",
    )
    add(
        "--keep-alive-timeout",
        **seconds,
        default=5.0,
        help="how long to keep a connection for its next request; longer than a proxy in front does",
    )
    add(
        "--head-timeout",
        **seconds,
        default=10.0,
        help="how long the head of a request may take, once it has begun",
    )
    add(
        "--body-timeout",
        **seconds,
        default=30.0,
        help="how long to wait for the next bytes of a request's body",
    )
    add(
        "--limit-connections",
        type=int,
        metavar="N",
        help="how many connections may be open at once; further ones are answered with 503",
    )
    add("--websocket-ping-interval", **seconds, help="how often to ping WebSockets")
    return parser


if __name__ == "__main__":
    sys.exit(main())
