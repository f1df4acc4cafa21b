"""An upload that is looked at while it arrives, and a download by ranges."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path

from kui.asgi import FileResponse, HTTPException, HttpResponse, HttpRoute, request

__all__ = ["SIZE", "download", "make_file", "routes", "upload"]

MOST = 2 * 1024**3
"""Bytes that an upload may have."""
SIZE = 8 * 1024**2
"""Bytes of the file to download."""


async def upload() -> dict[str, object]:
    digest = hashlib.sha256()
    size = 0
    name = request.query_params.get("name", "a file")[:40]
    with request.app.state.activity.running("upload", name) as entry:
        async for chunk in request.stream():
            size += len(chunk)
            if size > MOST:
                raise HTTPException(413)
            digest.update(chunk)
            entry.progress = f"{size / 1024**2:.1f} MB"
    return {"name": name, "size": size, "sha256": digest.hexdigest()}


async def download() -> HttpResponse:
    return FileResponse(request.app.state.file, download_name="kui-sample.bin")


def make_file(directory: str) -> Path:
    """Write the file that is downloaded; the same bytes, and the same time, in every process."""
    path = Path(directory, "sample.bin")
    path.write_bytes(random.Random(7).randbytes(SIZE))
    # The ETag of a large file is made of its size and its mtime, and is weak while it is young.
    os.utime(path, (1_700_000_000, 1_700_000_000))
    return path


routes = [
    HttpRoute("/upload", upload, methods=["POST"], name="upload"),
    HttpRoute("/download", download, methods=["GET"], name="download"),
]
