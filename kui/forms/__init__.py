"""Forms: urlencoded and multipart bodies become `FormData`, their files become `UploadFile`s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kui.on_demand import on_demand

if TYPE_CHECKING:
    from .collector import FormCollector, FormData, UploadFile, parse_urlencoded
    from .multipart import MultipartReader, Part, parse_multipart
else:  # what many applications do without
    __getattr__, __dir__ = on_demand(
        __name__,
        {
            ".collector": ["FormCollector", "FormData", "UploadFile", "parse_urlencoded"],
            ".multipart": ["MultipartReader", "Part", "parse_multipart"],
        },
    )

__all__ = [
    "FormCollector",
    "FormData",
    "MultipartReader",
    "Part",
    "UploadFile",
    "parse_multipart",
    "parse_urlencoded",
]
