"""The namespace that applications import from; it only hands names on."""

from __future__ import annotations

from baize.typing import ServerSentEvent

from .applications import FactoryClass, Kui
from .concurrency import ClientDisconnect
from .connections import (
    HTTPConnection,
    State,
    http_connection,
    request,
    request_var,
    websocket,
    websocket_var,
)
from .exceptions import HTTPException, abort
from .limits import Limits
from .middlewares.cors import allow_cors
from .middlewares.methods import required_method
from .middlewares.origins import allow_origins
from .middlewares.request_limits import request_limits
from .requests import HttpRequest
from .responses import (
    FileResponse,
    HTMLResponse,
    HttpResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    SendEventResponse,
    SmallResponse,
    StreamResponse,
    TemplateResponse,
    convert_response,
)
from .routing import FileRoutes, HttpRoute, MultimethodRoutes, Router, Routes, SocketRoute
from .socket_views import SocketView
from .templates import BaseTemplates, Jinja2Templates
from .views import HttpView
from .websockets import InvalidMessage, WebSocket, WebSocketDisconnect

__all__ = [
    "BaseTemplates",
    "ClientDisconnect",
    "FactoryClass",
    "FileResponse",
    "FileRoutes",
    "HTMLResponse",
    "HTTPConnection",
    "HTTPException",
    "HttpRequest",
    "HttpResponse",
    "HttpRoute",
    "HttpView",
    "InvalidMessage",
    "JSONResponse",
    "Jinja2Templates",
    "Kui",
    "Limits",
    "MultimethodRoutes",
    "PlainTextResponse",
    "RedirectResponse",
    "Router",
    "Routes",
    "SendEventResponse",
    "ServerSentEvent",
    "SmallResponse",
    "SocketRoute",
    "SocketView",
    "State",
    "StreamResponse",
    "TemplateResponse",
    "WebSocket",
    "WebSocketDisconnect",
    "abort",
    "allow_cors",
    "allow_origins",
    "convert_response",
    "http_connection",
    "request",
    "request_limits",
    "request_var",
    "required_method",
    "websocket",
    "websocket_var",
]
