"""A tree of files with a secret beside it."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """`root` is the tree; `secret.txt` lies beside it and is not to be had."""
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "root-secret.txt").write_text("secret")
    root = tmp_path / "root"
    for path, text in {
        "index.html": "home",
        "about.html": "about",
        "site.css": "body {}",
        "a b é.txt": "names",
        "docs/index.html": "docs",
        "docs/page.html": "page",
        "docs.html": "not the directory",
        "empty/file.txt": "file",
        "deep/er/and/deeper.txt": "deep",
        "new": "a file",
        "new.html": "not the file",
        ".env": "secret",
        ".git/config": "secret",
        "deep/.hidden/x.txt": "secret",
        "back\\slash.txt": "secret",
        "nul.txt": "secret",
        "trailing.": "secret",
    }.items():
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "inner.txt").symlink_to("site.css")
    (root / "out").symlink_to(tmp_path)
    (root / "loop").symlink_to("loop")
    return root
