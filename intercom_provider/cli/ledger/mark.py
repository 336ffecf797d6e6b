"""``ledger mark``: enter who had a campaign's message from elsewhere."""

from __future__ import annotations

import uuid
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Final

from intercom_provider.api.settings import Settings
from intercom_provider.cli.connection import open_ledger
from intercom_provider.cli.output import confirm
from intercom_provider.cli.reconcile import read_defaults
from intercom_provider.ledger.corrections import MarkedMessage, mark_sent
from intercom_provider.ledger.database_thread import Transactions
from intercom_provider.sending.batch.input import BatchInput

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator
    from typing import TextIO

_WRITTEN_AT_ONCE: Final = 2_000
_MAX_SECONDS: Final = 30.0
# Nothing is sent, so whichever type, version and sender a message has, it can be entered.
_SETTINGS: Final = Settings("", api_version="Preview", admin_id="0")


def run(options: argparse.Namespace, out: TextIO) -> int:
    """
    Enter messages as sent.

    :param options: ``campaign``, ``messages``, ``defaults``, ``conn_id`` and ``yes``.
    :param out: The standard output.
    :return: The exit status: 0; 1 when nothing was written because the answer was no.
    """
    database = open_ledger(options.conn_id)
    campaign = options.campaign.strip()
    transactions = Transactions(database, limit=_MAX_SECONDS)
    salt = transactions.call(database.set_up)
    defaults = read_defaults(options.defaults)
    scope_salt = f"{salt}/c:{campaign}"
    with BatchInput(options.messages, defaults, duplicates="skip", salt=scope_salt, settings=_SETTINGS) as batch:
        total = batch.check()
        question = f"{total:,} messages are entered as sent in the campaign {campaign}: no run sends them then."
        if not options.yes and not confirm(question, "Write them?"):
            return 1
        entered = known = 0
        for part in _parts(_messages(batch)):
            write = partial(mark_sent, database, campaign=campaign, messages=part, token=uuid.uuid4().hex)
            new = transactions.run(write)
            entered, known = entered + new, known + len(part) - new
    out.write(f"{entered:,} messages entered as sent; {known:,} were known as sent before\n")
    return 0


def _messages(batch: BatchInput) -> Iterator[MarkedMessage]:
    for item in batch:
        if item.message is not None and item.duplicate_of is None:
            key = item.message.key
            yield MarkedMessage(item.digest, None if key is None else str(key), item.message.wire_type)


def _parts(messages: Iterator[MarkedMessage]) -> Iterator[tuple[MarkedMessage, ...]]:
    while part := tuple(islice(messages, _WRITTEN_AT_ONCE)):
        yield part
