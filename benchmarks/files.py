"""The files and the template that the benchmarks serve, made when they are first asked for."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from tempfile import NamedTemporaryFile

from .cases import SIZES, file_bytes

__all__ = ["directory", "file_of", "templates"]

TEMPLATE = """<!doctype html>
<html>
<head><title>{{ title }}</title></head>
<body>
<h1>{{ title }}</h1>
<table>
{% for row in rows %}<tr><td>{{ row.name }}</td><td>{{ row.value }}</td></tr>
{% endfor %}</table>
</body>
</html>
"""


@cache
def directory() -> Path:
    """Where they are: on the disk that the project is on, for a `tmpfs` reads in another way."""
    path = Path(__file__).resolve().parent.parent / "build" / "benchmarks"
    path.mkdir(parents=True, exist_ok=True)
    for name, size in SIZES.items():
        file = path / f"{name}.bin"
        if not file.exists() or file.stat().st_size != size:
            _write(file, file_bytes(size))
    for name in ("rows.html", "rows.jinja"):  # BlackSheep wants the other suffix
        _write(path / name, TEMPLATE.encode())
    return path


def _write(file: Path, content: bytes) -> None:
    """Write a file at once: other readers and writers find the whole of it."""
    with NamedTemporaryFile(dir=file.parent, delete=False) as new:
        new.write(content)
    os.chmod(new.name, 0o644)
    os.replace(new.name, file)


def file_of(name: str) -> str:
    """The path of one of the files."""
    return str(directory() / name)


def templates() -> str:
    """The directory of the templates."""
    return str(directory())
