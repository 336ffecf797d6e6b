"""A certificate that the clients of this process trust; trusted certificates are read once a process."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.tls import write_certificate

CERTIFICATE = write_certificate(Path(os.environ["AIRFLOW_HOME"]) / "https.pem")
os.environ["SSL_CERT_FILE"] = str(CERTIFICATE)


@pytest.fixture(scope="session")
def certificate() -> Path:
    """Return the path of the trusted certificate and its key."""
    return CERTIFICATE
