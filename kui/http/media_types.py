"""Guess the media type of a file by its name, with the same result on every machine.

Python's `mimetypes` reads the tables of the system, in which `.js` may be text/plain and `.woff2` unknown. So the types
of a usual website are in a table here, by the registry of IANA. `mimetypes` is used for all others, so that an
application can add to it.
"""

from __future__ import annotations

import mimetypes
from functools import lru_cache
from os.path import splitext
from typing import Final

from .headers import content_type

__all__ = ["MEDIA_TYPES", "OCTETS", "guess_content_type"]

if not mimetypes.inited:
    mimetypes.init()  # reads files, which must not happen in the event loop

OCTETS: Final = "application/octet-stream"

MEDIA_TYPES: Final[dict[str, str]] = {
    # pages and what they load
    ".html": "text/html",
    ".htm": "text/html",
    ".xhtml": "application/xhtml+xml",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".cjs": "text/javascript",
    ".wasm": "application/wasm",
    ".json": "application/json",
    ".map": "application/json",
    ".jsonld": "application/ld+json",
    ".geojson": "application/geo+json",
    ".webmanifest": "application/manifest+json",
    # XML declares its charset itself (RFC 7303, section 3)
    ".xml": "application/xml",
    ".xsd": "application/xml",
    ".xsl": "application/xml",
    ".xslt": "application/xslt+xml",
    ".atom": "application/atom+xml",
    ".rss": "application/rss+xml",
    # text
    ".txt": "text/plain",
    ".text": "text/plain",
    ".log": "text/plain",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".ics": "text/calendar",
    ".vcf": "text/vcard",
    ".vtt": "text/vtt",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
    ".toml": "application/toml",
    ".rtf": "application/rtf",
    # fonts
    ".woff": "font/woff",
    ".woff2": "font/woff2",
    ".ttf": "font/ttf",
    ".otf": "font/otf",
    ".ttc": "font/collection",
    ".eot": "application/vnd.ms-fontobject",
    # images
    ".png": "image/png",
    ".apng": "image/apng",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".jxl": "image/jxl",
    ".gif": "image/gif",
    ".webp": "image/webp",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".svg": "image/svg+xml",
    ".ico": "image/vnd.microsoft.icon",
    ".bmp": "image/bmp",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    # sound
    ".mp3": "audio/mpeg",
    ".m4a": "audio/mp4",
    ".aac": "audio/aac",
    ".flac": "audio/flac",
    ".oga": "audio/ogg",
    ".ogg": "audio/ogg",
    ".opus": "audio/ogg",
    ".wav": "audio/vnd.wave",
    ".weba": "audio/webm",
    ".mka": "audio/matroska",
    ".mid": "audio/midi",
    ".midi": "audio/midi",
    # film
    ".mp4": "video/mp4",
    ".m4v": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".webm": "video/webm",
    ".mkv": "video/matroska",
    ".mov": "video/quicktime",
    ".ogv": "video/ogg",
    ".ogx": "application/ogg",
    ".avi": "video/vnd.avi",
    ".3gp": "video/3gpp",
    ".ts": "video/mp2t",  # for players; TypeScript is not served
    ".m3u8": "application/vnd.apple.mpegurl",
    ".mpd": "application/dash+xml",
    # documents
    ".pdf": "application/pdf",
    ".epub": "application/epub+zip",
    ".doc": "application/msword",
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xls": "application/vnd.ms-excel",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".ppt": "application/vnd.ms-powerpoint",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".odt": "application/vnd.oasis.opendocument.text",
    ".ods": "application/vnd.oasis.opendocument.spreadsheet",
    ".odp": "application/vnd.oasis.opendocument.presentation",
    # archives and data
    ".zip": "application/zip",
    ".tar": "application/x-tar",
    ".7z": "application/x-7z-compressed",
    ".rar": "application/vnd.rar",
    ".jar": "application/java-archive",
    ".sqlite": "application/vnd.sqlite3",
    ".parquet": "application/vnd.apache.parquet",
    ".bin": OCTETS,
    ".exe": OCTETS,
}
"""The media types by extension in lower case, without a charset."""

_COMPRESSED: Final = {
    ".gz": "application/gzip",
    ".bz2": "application/x-bzip2",
    ".xz": "application/x-xz",
    ".z": "application/x-compress",
    ".zst": "application/zstd",
    ".br": OCTETS,  # no type is registered for it
}


@lru_cache(maxsize=1024)
def guess_content_type(name: str, encoded: bool = False) -> str:
    """Return the Content-Type for the name of a file, with UTF-8 for text; by default `application/octet-stream`.

    :param name: a name or a path.
    :param encoded: True if a Content-Encoding is sent for a compressed file: `page.html.gz` then gives
        `text/html; charset=utf-8`, and otherwise `application/gzip`.

    Example: `guess_content_type("static/app.mjs")` -> `"text/javascript; charset=utf-8"`.
    """
    stem, extension = splitext(name.lower())
    if (spelled_out := mimetypes.suffix_map.get(extension)) is not None:  # .svgz: .svg.gz
        stem, extension = splitext(stem + spelled_out)
    if extension in _COMPRESSED:
        if not encoded:
            return _COMPRESSED[extension]
        extension = splitext(stem)[1]
    kind = MEDIA_TYPES.get(extension)
    if kind is None:
        # Only the extension, because a name such as `data:text/html,` would be taken for a URL.
        kind = mimetypes.guess_type(f"./a{extension}")[0] or OCTETS
    return content_type(kind, "utf-8")
