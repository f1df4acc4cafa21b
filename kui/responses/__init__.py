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
from .file import FileResponse
from .file import FileResponse
from .template import TemplateResponse

__all__ = [
    "FileResponse",
    "FileResponse",
    "HTMLResponse",
    "HttpResponse",
    "JSONResponse",
    "PlainTextResponse",
    "RedirectResponse",
    "ResponseConverter",
    "SmallResponse",
    "TemplateResponse",
    "convert_response",
]
