"""The code of a demonstration, read from the running module and highlighted for the page."""

from __future__ import annotations

import builtins
import io
import keyword
import token
import tokenize
from collections.abc import Callable
from inspect import getsource, unwrap
from typing import Any

from markupsafe import Markup, escape

__all__ = ["highlighted"]

_BUILTINS = frozenset(dir(builtins))
_KINDS = {token.STRING: "s", token.NUMBER: "n", tokenize.COMMENT: "c"}


def highlighted(*objects: Callable[..., Any] | type) -> Markup:
    """Return the source of functions and classes as HTML, tokens in `<b class=...>`."""
    code = "\n\n".join(getsource(unwrap(each)).rstrip() for each in objects)
    lines = code.splitlines(keepends=True)
    html: list[str | Markup] = []
    row, column = 1, 0

    def copy_until(end_row: int, end_column: int) -> str:
        nonlocal row, column
        text = []
        while row < end_row:
            text.append(lines[row - 1][column:])
            row, column = row + 1, 0
        if row <= len(lines):
            text.append(lines[row - 1][column:end_column])
        column = end_column
        return "".join(text)

    for each in tokenize.generate_tokens(io.StringIO(code).readline):
        if each.type == token.ENDMARKER:
            break
        html.append(escape(copy_until(*each.start)))
        kind = _KINDS.get(each.type, "")
        if each.type == token.NAME:
            if keyword.iskeyword(each.string):
                kind = "k"
            elif each.string in _BUILTINS:
                kind = "f"
        elif each.type == token.OP and each.string == "@":
            kind = "k"
        text = escape(copy_until(*each.end))
        html.append(Markup('<b class="{}">{}</b>').format(kind, text) if kind else text)
    return Markup("").join(html)
