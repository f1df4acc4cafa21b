"""Responses: each is an ASGI application whose constructor prepares and whose call sends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kui.on_demand import on_demand

if TYPE_CHECKING:
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
else:  # what many applications do without
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            ".base": ["HttpResponse"],
            ".content": [
                "HTMLResponse",
                "JSONResponse",
                "PlainTextResponse",
                "RedirectResponse",
                "SmallResponse",
            ],
            ".convert": ["ResponseConverter", "convert_response"],
            ".events": ["Event", "SendEventResponse", "ServerSentEvent"],
            ".file": ["FileResponse"],
            ".stream": ["JSONLinesResponse", "StreamResponse"],
            ".template": ["TemplateResponse"],
        },
    )

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
