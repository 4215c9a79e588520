"""The clients of the world against the fake: `nox -s clients`, each in its own environment."""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

pytest.register_assert_rewrite("talk")

from talk import tls_before  # noqa: E402 - its assertions are to say what they saw

AUTHORITY = trustme.CA()
"""Made at start; every client's TLS trusts it by OpenSSL's own variable, some once and for all."""
_FILE = Path(tempfile.mkdtemp()) / "ca.pem"
AUTHORITY.cert_pem.write_to_path(str(_FILE))
os.environ["SSL_CERT_FILE"] = str(_FILE)


def pytest_unconfigure() -> None:
    shutil.rmtree(_FILE.parent)


@pytest.fixture(params=["ws", "wss"])
def reached(request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """From the fake's base URL to the one that the client is given."""
    with ExitStack() as stack:

        def to(base_url: str) -> str:
            if request.param == "ws":
                return base_url
            at = urlsplit(base_url)
            assert at.hostname is not None
            assert at.port is not None
            port = stack.enter_context(tls_before(at.hostname, at.port, AUTHORITY))
            return f"wss://localhost:{port}{at.path}"

        yield to
