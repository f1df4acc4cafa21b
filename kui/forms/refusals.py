"""The refusals of a multipart body."""

from __future__ import annotations

from kui.http.exceptions import HTTPException

__all__ = ["malformed", "too_large"]


def malformed(problem: str) -> HTTPException[str]:
    """Return the refusal of a body that is malformed; `problem` ends the sentence."""
    return HTTPException(400, content=f"The multipart body {problem}.")


def too_large(problem: str) -> HTTPException[str]:
    """Return the refusal of a body that is too large; `problem` ends the sentence."""
    return HTTPException(413, content=f"The multipart body {problem}.")
