"""Requests over https."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from intercom_provider.api.errors import UnreachableError
from intercom_provider.api.flow import RetryLimits
from intercom_provider.sandbox import Sandbox
from tests.support.drivers import DRIVERS, Call, send, settings_for, status
from tests.support.hostile import Hostile
from tests.support.tls import over_tls, write_certificate

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("driver", DRIVERS)
def test_messages_go_over_https_on_one_connection(driver: str, certificate: Path) -> None:
    with Sandbox(certificate=str(certificate)) as sandbox:
        settings = settings_for(sandbox.url, token=sandbox.token)
        sent = DRIVERS[driver](settings, *(send(settings, RetryLimits(), body=f"Hello {n}") for n in range(3)))
        assert sandbox.url.startswith("https://")
        assert [each.id for each in sent] == [each.id for each in sandbox.messages]


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize("call", [send, status])
def test_a_host_without_a_trusted_certificate_gets_no_request(driver: str, call: Call, tmp_path: Path) -> None:
    with Hostile() as server, over_tls(server.url, write_certificate(tmp_path / "other.pem")) as url:
        settings = settings_for(url)
        with pytest.raises(UnreachableError, match=r"CERTIFICATE_VERIFY_FAILED.*self-signed certificate"):
            DRIVERS[driver](settings, call(settings, RetryLimits(attempts=1)))
        assert server.requests == []
