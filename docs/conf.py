"""How Sphinx builds these pages: `python3 tasks.py docs`. The sources are plain Markdown.

Two parts of the reference are made of the code when the pages are built: what each command says of its
options, and the limits of a request.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from kui import __version__
from kui.limits import Limits

GENERATED = Path(__file__).parent / "reference" / "generated"
COMMANDS = ("run", "routes", "new", "openapi")

project = "Kui"
author = copyright = "the authors of Kui"
release = version = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc"]
exclude_patterns = ["_build", "reference/generated"]
myst_heading_anchors = 3
default_role = "code"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
autodoc_typehints_format = "short"
html_theme = "furo"
html_title = "Kui"


def generate(app: Any) -> None:
    """Write the parts of the reference that are made of the code."""
    GENERATED.mkdir(exist_ok=True)
    for command in COMMANDS:
        told = subprocess.run(
            [sys.executable, "-m", "kui", command, "--help"],
            env={**os.environ, "COLUMNS": "96"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        (GENERATED / f"{command}.txt").write_text(told)
    rows = [f"| `{field.name}` | {field.default:,} |" for field in dataclasses.fields(Limits)]
    table = "\n".join(["| limit | default |", "| --- | ---: |", *rows])
    (GENERATED / "limits.md").write_text(f"{table}\n")


def setup(app: Any) -> None:
    app.connect("builder-inited", generate)
