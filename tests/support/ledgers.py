"""Write into ledgers what tests are about: ids of what was sent, and names of what is about to be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from intercom_provider.ledger.ledger import Intent, Result

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from intercom_provider.ledger.ledger import Ids, Ledger


def commit(ledger: Ledger, sent: Mapping[str, Ids | None], names: Iterable[str]) -> Collection[str]:
    """Commit the ids of messages that were sent, None for those that were not, and the next intents."""
    results = {name: None if ids is None else Result("sent", None, ids) for name, ids in sent.items()}
    return ledger.commit(results, {name: Intent(None, "inapp") for name in names})
