"""Leave people out of a campaign of emails: whom it messages, and what the look-up of contacts costs."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.measure import Sample
from benchmarks.table import Row, allowed
from demo.machinery import sandbox
from intercom_provider.api.settings import Settings
from intercom_provider.ledger.ledger import Attempt
from intercom_provider.ledger.stateless import StatelessLedger
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sending.batch.input import BatchInput
from intercom_provider.sending.batch.run import BatchRun
from intercom_provider.sending.batch.suppression import Suppression
from intercom_provider.sending.options import SendOptions

_PEOPLE: Final = 100_000
_SUPPRESSED: Final = 2_000
_UNSUBSCRIBED: Final = 500
_MAX_PERCENT: Final = 3.0
_DEFAULTS: Final = {"message_type": "email", "subject": "News", "body": "<p>News for you.</p>", "from_admin_id": 814860}
_SEARCH: Final = "POST /contacts/search 200"
_SEND: Final = "POST /messages 200"


def run() -> list[Row]:
    """
    Send a campaign with a list of people who must not be messaged, and contacts who have unsubscribed.

    :return: The rows.
    """
    suppressed = {f"customer-{number}" for number in range(0, _SUPPRESSED * 20, 20)}
    unsubscribed = {f"unsubscribed-{number}" for number in range(_UNSUBSCRIBED)}
    others = [f"customer-{number}" for number in range(_PEOPLE - _UNSUBSCRIBED)]
    # Those who have unsubscribed stand between the others.
    people = others[: _PEOPLE // 2] + sorted(unsubscribed) + others[_PEOPLE // 2 :]
    with (
        sandbox("--rate-limit", "0", log=sys.stderr) as intercom,
        tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file,
    ):
        file.writelines(f"{_written(each, index)}\n" for index, each in enumerate(sorted(suppressed)))
        file.flush()
        _send(Settings(token=intercom.connection["password"], base_url=intercom.url), people, Path(file.name))
        messages = intercom.ask("/_sandbox/messages", last=_PEOPLE)["messages"]
        counts = intercom.ask("/_sandbox/requests")["counts"]
    reached = {message["wire"]["to"]["user_id"] for message in messages}
    left_out = suppressed | unsubscribed
    wrongly = len(reached & left_out) + len(set(people) - left_out - reached)
    share = 100 * counts[_SEARCH] / counts[_SEND]
    return [
        Row(
            what="emails of 100,000, without 2,000 in suppress and 500 unsubscribed",
            ours=f"{counts[_SEND]:,}",
            other=f"{_PEOPLE - len(left_out):,}",
            ratio=counts[_SEND] / (_PEOPLE - len(left_out)),
            at_least=1,
            at_most=1,
        ),
        Row(what="people messaged or left out wrongly", ours=f"{wrongly}", other="0", ratio=wrongly, at_most=0),
        allowed("requests of the look-up, of the sends", Sample((share,)), _MAX_PERCENT, "{:.2f}%"),
    ]


def _written(person: str, index: int) -> str:
    return (person, f"user:{person}", json.dumps({"type": "user", "user_id": person}))[index % 3]


def _send(settings: Settings, people: list[str], suppress: Path) -> None:
    messages: list[dict[str, Any]] = [{"to": {"type": "user", "user_id": person}} for person in people]
    options, ledger = SendOptions(), StatelessLedger(Attempt())
    ledger.begin_try()
    with BatchInput(messages, _DEFAULTS, duplicates="skip", salt="bench", settings=settings) as batch:
        total = batch.check()
        suppression = Suppression(suppress)
        suppression.look_up_contacts(batch, settings=settings, options=options, ledger=ledger, stopped=lambda: False)
        BatchRun(
            batch,
            total,
            settings=settings,
            options=options,
            ledger=ledger,
            results=ResultsWriter(None, 1),
            reason_to_suppress=suppression.reason,
        ).run()
