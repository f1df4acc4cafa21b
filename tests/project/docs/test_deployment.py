"""What the pages say of the command line and of nginx is understood by both."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import trustme

from tests.servers.clients.conftest import program

ROOT = Path(__file__).resolve().parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
COMMAND = re.compile(r"kui (run|routes|new|openapi)\b([^\n`]*)")


def told(command: str) -> str:
    help_text = [sys.executable, "-m", "kui", command, "--help"]
    return subprocess.run(help_text, capture_output=True, text=True, check=True).stdout


def test_every_option_on_the_pages_is_one_of_the_command() -> None:
    used: dict[str, set[str]] = {}
    for page in PAGES:
        if "_build" in page.parts:
            continue
        for command, rest in COMMAND.findall(page.read_text()):
            used.setdefault(command, set()).update(re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest))
    assert len(used["run"]) > 5
    for command, options in used.items():
        known = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", told(command)))
        assert options <= known, command


def test_nginx_takes_the_configuration_of_the_page(tmp_path: Path) -> None:
    nginx = program("nginx")
    page = (ROOT / "docs" / "guides" / "deployment.md").read_text()
    (block,) = re.findall(r"^```nginx\n(.*?)^```$", page, re.M | re.S)
    certificate = trustme.CA().issue_cert("shop.example.com")
    certificate.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "shop.pem"))
    for name in ("/etc/ssl/shop.pem", "/etc/ssl/shop.key"):
        assert name in block
        block = block.replace(name, str(tmp_path / "shop.pem"))
    paths = f"pid {tmp_path}/pid;\nerror_log {tmp_path}/log;\n"
    config = tmp_path / "nginx.conf"
    config.write_text(f"{paths}events {{}}\nhttp {{\naccess_log off;\n{block}}}\n")
    done = subprocess.run(
        [nginx, "-t", "-p", str(tmp_path), "-c", str(config)], capture_output=True, text=True
    )
    if "Permission denied" in done.stderr:
        pytest.skip("this user may not listen where nginx is to")
    assert done.returncode == 0, done.stderr
