"""Forms: urlencoded and multipart bodies become `FormData`, their files become `UploadFile`s."""

from .collector import FormCollector, FormData, UploadFile, parse_urlencoded
from .multipart import MultipartReader, Part, parse_multipart

__all__ = [
    "FormCollector",
    "FormData",
    "MultipartReader",
    "Part",
    "UploadFile",
    "parse_multipart",
    "parse_urlencoded",
]
