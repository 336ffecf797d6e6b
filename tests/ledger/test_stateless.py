"""The ledger that keeps nothing: what a later try has to assume."""

from __future__ import annotations

from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.stateless import StatelessLedger


def test_without_a_store_a_retry_takes_every_message_for_an_intent() -> None:
    assert StatelessLedger(Attempt(number=1, max_tries=2, retries=2)).find("ada") is None
    retry = StatelessLedger(Attempt(number=2, max_tries=2, retries=2))
    found = retry.find("ada")
    assert found is not None
    assert found.state == "intent"
    cleared = StatelessLedger(Attempt(number=3, max_tries=4, retries=2))
    found = cleared.find("ada")
    assert found is not None
    assert cleared.may_send(found, "on_clear", "fail")
