"""What `kui.testing` hands on: loaded when it is used, and not before."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kui.testing
from kui.testing.harness import every_checkpoint


@pytest.mark.parametrize("name", kui.testing.__all__)
def test_every_name_is_there_and_documented(name: str) -> None:
    assert getattr(kui.testing, name).__doc__


def test_another_name_is_not() -> None:
    with pytest.raises(AttributeError, match="Client2"):
        _ = kui.testing.Client2


def test_the_harness_of_cancellation_is_a_part_of_the_kit() -> None:
    assert kui.testing.every_checkpoint is every_checkpoint


@pytest.mark.parametrize("module", ["kui.testing", "kui.overrides", "kui.asgi"])
def test_httpx2_is_loaded_by_who_uses_a_client(module: str) -> None:
    code = f"import sys, {module}; print('httpx2' in sys.modules)"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "False"
