"""Responses: each is an ASGI application whose constructor prepares and whose call sends."""

from __future__ import annotations

from .base import HttpResponse
from .content import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    SmallResponse,
)
from .convert import ResponseConverter, convert_response
from .events import Event, SendEventResponse, ServerSentEvent
from .file import FileResponse
from .stream import JSONLinesResponse, StreamResponse
from .template import TemplateResponse

__all__ = [
    "Event",
    "FileResponse",
    "HTMLResponse",
    "HttpResponse",
    "JSONLinesResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "ResponseConverter",
    "SendEventResponse",
    "ServerSentEvent",
    "SmallResponse",
    "StreamResponse",
    "TemplateResponse",
    "convert_response",
]
