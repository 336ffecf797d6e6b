"""A batch on a machine whose clock is set while it runs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.settings import Settings
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.options import SendOptions
from tests.support import hostile
from tests.support.hostile import Hostile
from tests.support.messages import in_app

if TYPE_CHECKING:
    from intercom_provider.sending.batch.counts import Counts


def send(server: Hostile, **options: Any) -> Counts:
    settings = Settings(token=hostile.TOKEN, base_url=server.url, admin_id=1)
    messages = [in_app(to={"type": "user", "id": str(person)}) for person in range(8)]
    with BatchInput(messages, None, duplicates="skip", salt="run", settings=settings) as batch:
        total = batch.check()
        results = ResultsWriter(None, 1)
        run = BatchRun(
            batch, total, settings=settings, options=SendOptions(**options), ledger=StatelessLedger(), results=results
        )
        return run.run()


@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("refusal", [hostile.error(404, "not_found", "no"), hostile.rate_limited()], ids=["404", "429"])
def test_a_clock_that_is_set_changes_no_pause(
    hours: int, refusal: hostile.Act, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Hostile() as server:
        server.script(refusal, refusal)
        now = time.time
        monkeypatch.setattr("time.time", lambda: now() + 3_600 * hours * bool(server.requests))
        began = time.monotonic()
        assert send(server, contact_wait=60).sent == 8
        assert time.monotonic() - began < 60


def test_not_after_follows_the_clock_that_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    with Hostile() as server:
        server.script(*[hostile.error(404, "not_found", "no")] * 8)
        now = time.time
        monkeypatch.setattr("time.time", lambda: now() + 3_600 * (len(server.requests) >= 8))
        counts = send(server, contact_wait=60, not_after=now() + 1_800)
        assert (counts.sent, counts.expired + counts.rejected) == (0, 8)
