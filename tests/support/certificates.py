"""The fixture `certificate`: import it into a folder's `conftest.py`."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A PEM file with a certificate for localhost and 127.0.0.1, its key, and the authority's."""
    import trustme

    authority = trustme.CA()
    path = tmp_path_factory.mktemp("tls") / "chain.pem"
    authority.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(path)
    )
    authority.cert_pem.write_to_path(str(path), append=True)
    return path
