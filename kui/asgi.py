"""The namespace that applications import from; it only hands names on.

- An app: `Kui`, `Limits`, `FactoryClass`, `State`; its routes: `HttpRoute`, `SocketRoute`, `Routes`,
  `MultimethodRoutes`, `FileRoutes`, `Mount`; views: `HttpView`, `SocketView`;
  templates: `Jinja2Templates`, `BaseTemplates`.
- In a handler: `request` (an `HttpRequest`), `websocket` (a `WebSocket`), `http_connection` (an
  `HTTPConnection`), and their context variables `request_var` and `websocket_var`.
- What a handler declares: `Path`, `Query`, `Header`, `Cookie`, `Body`, `Depends`, `Security`.
- What a handler returns: `HttpResponse` and its subclasses `HTMLResponse`, `PlainTextResponse`,
  `JSONResponse`, `TemplateResponse`, `FileResponse`, `RedirectResponse`, `StreamResponse`,
  `SendEventResponse`, `SmallResponse`; what makes one of a value: `convert_response`; errors: `HTTPException`,
  `abort`, `ClientDisconnect`, `WebSocketDisconnect`, `InvalidMessage`, `RequestValidationError`.
- Middlewares: `allow_cors`, `allow_origins`, `cancel_on_disconnect`, `compress`,
  `cross_origin_protection`, `limit_concurrency`, `request_limits`, `required_method`, `timeout`.
- ASGI apps without `Kui`: `Files`, `Pages`, `Hosts`, `Router`, `Subpaths`, `WSGI`, `middleware` with
  `NextRequest` and `NextResponse`, `request_response`, `websocket_session`, `decorator`.
- Types for annotations: `Endpoint`, `Middleware`, `ServerSentEvent`, `URL`, `UploadFile`, `FormData`,
  `Part`, `Headers`, `QueryParams`, `Address`, `MediaType`, `ContentType`, `ASGIApp`, `Scope`,
  `Receive`, `Send`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from baize.datastructures import URL, Address, Headers, QueryParams
from baize.typing import ASGIApp, Receive, Scope, Send

from .applications import FactoryClass, Kui
from .concurrency import ClientDisconnect, shielded
from .connections import HTTPConnection, State
from .current import http_connection, request, request_var, websocket, websocket_var
from .exceptions import HTTPException, abort
from .limits import Limits
from .on_demand import on_demand
from .requests import HttpRequest
from .responses.base import HttpResponse
from .responses.content import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    SmallResponse,
)
from .responses.convert import convert_response
from .routing import HttpRoute, Middleware, MultimethodRoutes, Routes, SocketRoute
from .views import Endpoint, HttpView

if TYPE_CHECKING:
    from .asgi_apps.composition import Hosts, Router, Subpaths
    from .asgi_apps.endpoint import decorator, request_response, websocket_session
    from .asgi_apps.middleware import NextRequest, NextResponse, middleware
    from .asgi_apps.staticfiles import Files, Pages
    from .asgi_apps.wsgi import WSGI
    from .forms import FormData, Part, UploadFile
    from .http.media import ContentType, MediaType
    from .middlewares.compression import compress
    from .middlewares.cors import allow_cors
    from .middlewares.disconnect import cancel_on_disconnect
    from .middlewares.limit_concurrency import limit_concurrency
    from .middlewares.methods import required_method
    from .middlewares.origins import allow_origins, cross_origin_protection
    from .middlewares.request_limits import request_limits
    from .middlewares.timeout import timeout
    from .parameters import (
        Body,
        Cookie,
        Depends,
        Header,
        Path,
        Query,
        RequestValidationError,
        Security,
        task_group,
    )
    from .responses.events import Event, SendEventResponse, ServerSentEvent
    from .responses.file import FileResponse
    from .responses.stream import JSONLinesResponse, StreamResponse
    from .responses.template import TemplateResponse
    from .routing.modules import FileRoutes
    from .routing.mounts import Mount
    from .templating import BaseTemplates, Jinja2Templates
    from .websockets import Heartbeat, InvalidMessage, SocketView, WebSocket, WebSocketDisconnect
else:  # what many applications do without
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            ".asgi_apps.composition": ["Hosts", "Router", "Subpaths"],
            ".asgi_apps.endpoint": ["decorator", "request_response", "websocket_session"],
            ".asgi_apps.middleware": ["NextRequest", "NextResponse", "middleware"],
            ".asgi_apps.staticfiles": ["Files", "Pages"],
            ".asgi_apps.wsgi": ["WSGI"],
            ".forms": ["FormData", "Part", "UploadFile"],
            ".http.media": ["ContentType", "MediaType"],
            ".middlewares.compression": ["compress"],
            ".middlewares.cors": ["allow_cors"],
            ".middlewares.disconnect": ["cancel_on_disconnect"],
            ".middlewares.limit_concurrency": ["limit_concurrency"],
            ".middlewares.methods": ["required_method"],
            ".middlewares.origins": ["allow_origins", "cross_origin_protection"],
            ".middlewares.request_limits": ["request_limits"],
            ".middlewares.timeout": ["timeout"],
            ".parameters": [
                "Body",
                "Cookie",
                "Depends",
                "Header",
                "Path",
                "Query",
                "RequestValidationError",
                "Security",
                "task_group",
            ],
            ".responses.events": ["Event", "SendEventResponse", "ServerSentEvent"],
            ".responses.file": ["FileResponse"],
            ".responses.stream": ["JSONLinesResponse", "StreamResponse"],
            ".responses.template": ["TemplateResponse"],
            ".routing.modules": ["FileRoutes"],
            ".routing.mounts": ["Mount"],
            ".templating": ["BaseTemplates", "Jinja2Templates"],
            ".websockets": [
                "Heartbeat",
                "InvalidMessage",
                "SocketView",
                "WebSocket",
                "WebSocketDisconnect",
            ],
        },
    )

__all__ = [
    "URL",
    "WSGI",
    "ASGIApp",
    "Address",
    "BaseTemplates",
    "Body",
    "ClientDisconnect",
    "ContentType",
    "Cookie",
    "Depends",
    "Endpoint",
    "Event",
    "FactoryClass",
    "FileResponse",
    "FileRoutes",
    "Files",
    "FormData",
    "HTMLResponse",
    "HTTPConnection",
    "HTTPException",
    "Header",
    "Headers",
    "Heartbeat",
    "Hosts",
    "HttpRequest",
    "HttpResponse",
    "HttpRoute",
    "HttpView",
    "InvalidMessage",
    "JSONLinesResponse",
    "JSONResponse",
    "Jinja2Templates",
    "Kui",
    "Limits",
    "MediaType",
    "Middleware",
    "Mount",
    "MultimethodRoutes",
    "NextRequest",
    "NextResponse",
    "Pages",
    "Part",
    "Path",
    "PlainTextResponse",
    "Query",
    "QueryParams",
    "Receive",
    "RedirectResponse",
    "RequestValidationError",
    "Router",
    "Routes",
    "Scope",
    "Security",
    "Send",
    "SendEventResponse",
    "ServerSentEvent",
    "SmallResponse",
    "SocketRoute",
    "SocketView",
    "State",
    "StreamResponse",
    "Subpaths",
    "TemplateResponse",
    "UploadFile",
    "WebSocket",
    "WebSocketDisconnect",
    "abort",
    "allow_cors",
    "allow_origins",
    "cancel_on_disconnect",
    "compress",
    "convert_response",
    "cross_origin_protection",
    "decorator",
    "http_connection",
    "limit_concurrency",
    "middleware",
    "request",
    "request_limits",
    "request_response",
    "request_var",
    "required_method",
    "shielded",
    "task_group",
    "timeout",
    "websocket",
    "websocket_session",
    "websocket_var",
]
