"""Check that the OpenAPI description of an app has not changed."""

from __future__ import annotations

import json
from difflib import unified_diff
from pathlib import Path

from kui.applications import Kui

__all__ = ["check_description"]

_MOST_LINES = 60


def check_description(app: Kui, file: Path | str) -> None:
    """Compare the description of an app with a file, which `kui openapi module:app` writes.

    :param app: an app that was made with `Kui(openapi=...)`.
    :raises AssertionError: if they differ; the message has the lines that do.
    :raises TypeError: if the app describes nothing.
    :raises OSError: if the file cannot be read.

    Example::

        def test_the_api_has_not_changed_by_accident():
            check_description(app, "openapi.json")
    """
    if app.openapi is None:
        raise TypeError("the app describes nothing: write Kui(openapi=OpenAPI(title=...))")
    now = json.dumps(app.openapi.document(app), indent=2, ensure_ascii=False)
    agreed = Path(file).read_text(encoding="utf-8")
    if json.loads(agreed) == json.loads(now):
        return
    changes = list(unified_diff(agreed.splitlines(), now.splitlines(), str(file), "now", n=2))
    shown = "\n".join(changes[:_MOST_LINES])
    raise AssertionError(
        f"the description of the API has changed; if it should, write it anew with"
        f" `kui openapi module:app > {file}`:\n{shown}"
    )
