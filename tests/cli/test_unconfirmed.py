"""Find the unconfirmed messages of a batch that were sent, from Intercom's conversations."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any, Final

import pytest

from intercom_provider.hooks.intercom import IntercomHook
from intercom_provider.results.reader import Owner
from intercom_provider.results.writer import ResultsWriter
from intercom_provider.sandbox import Sandbox
from tests.support import hostile

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.support.hostile import Hostile

    from .conftest import Ended

    Run = Callable[..., Ended]

ADA: Final = {"type": "user", "id": "ada"}
IN_APP: Final = {"message_type": "in_app", "body": "<p>Hello, Ada &amp; all</p>", "to": ADA}
DEFAULTS: Final = {"from_admin_id": "814860"}


class Batch:
    """A batch that lost its answers: its input, its results, and a way to ask the command about them."""

    def __init__(self, run: Run, folder: Path, server: Sandbox | Hostile) -> None:
        self.since = str(int(time.time()) - 1)
        self._run = run
        self._folder = folder
        self.server = server
        self.given: list[dict[str, Any]] = []
        self._left: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any], *, answered: bool, lost: bool = True) -> str:
        """Send a message of the batch; return the id of the conversation, where its contact answered."""
        receipt = IntercomHook().send_message({**DEFAULTS, **message})
        self.add(message, outcome="unconfirmed" if lost else "sent", id_=None if lost else receipt.id)
        return self.server.reply(str(receipt.id)) if answered and isinstance(self.server, Sandbox) else ""

    def add(self, message: dict[str, Any], *, outcome: str = "unconfirmed", id_: str | None = None) -> None:
        """Add a message to the batch."""
        self.given.append(message)
        line = {"index": len(self._left), "key": message.get("key"), "outcome": outcome, "id": id_}
        self._left.append({**line, "whatsapp_message_id": None, "reason": "its answer was lost"})

    def ask(self, *options: str, defaults: str | None = None) -> Ended:
        """Run the command."""
        given, left = self._folder / "given.jsonl", self._folder / "left"
        left.mkdir(exist_ok=True)
        given.write_text("".join(f"{json.dumps(each)}\n" for each in self.given))
        (left / "try-1-part-1.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in self._left))
        defaults = json.dumps(DEFAULTS) if defaults is None else defaults
        files = ("--messages", str(given), "--defaults", defaults, "--since", self.since)
        return self._run("unconfirmed", str(left), *files, *options)

    def findings(self) -> list[tuple[str, str | None]]:
        """Return the finding of each unconfirmed message."""
        ended = self.ask("--output", "-")
        assert ended.code == 0, ended.err
        rows = [json.loads(line) for line in ended.out.splitlines()]
        return [(row["finding"], row["conversation_id"]) for row in rows]


@pytest.fixture
def batch(run: Run, tmp_path: Path, sandbox: Sandbox) -> Batch:
    sandbox.settings.speed = 1_000_000
    return Batch(run, tmp_path, sandbox)


@pytest.mark.parametrize(
    "message",
    [
        IN_APP,
        {**IN_APP, "to": {"type": "user", "user_id": "customer-7"}},
        {**IN_APP, "to": {"type": "lead", "email": "lead@example.com"}, "body": "2 < 3\nyes", "body_format": "text"},
        {**IN_APP, "message_type": "email", "subject": "News", "template": "plain"},
        {
            "message_type": "whatsapp",
            "to": {"phone": "+447900123456"},
            "template": "shipped",
            "components": [{"type": "BODY", "parameters": [{"type": "text", "text": "A-17"}]}],
        },
    ],
    ids=["by id", "by your own id", "by email, as text", "an email", "whatsapp"],
)
def test_a_message_that_its_contact_has_answered_is_found(batch: Batch, message: dict[str, Any]) -> None:
    conversation_id = batch.send(message, answered=True)
    [(finding, found)] = batch.findings()
    assert found == conversation_id
    # The words of a WhatsApp template are not in the message.
    assert finding == ("perhaps" if message["message_type"] == "whatsapp" else "found")


SHIPPED: Final = {
    "message_type": "whatsapp",
    "to": {"phone": "+447900123456"},
    "template": "shipped",
    "components": [
        {"type": "header", "parameters": [{"type": "image", "image": {"link": "https://example.com/a.png"}}]},
        {"type": "body", "parameters": [{"type": "text", "text": "A-17"}, {"type": "text", "text": "Ada & Ben"}]},
    ],
}


@pytest.mark.parametrize(
    ("components", "bodies", "place"),
    [
        (SHIPPED["components"], ["<p>Ada &amp; Ben, how was A-16?</p>", "<p>Ada &amp; Ben, A-17 is on its way</p>"], 1),
        (SHIPPED["components"], ["<p>Ada &amp; Ben, A-17 is on its way</p>", "<p>Ada &amp; Ben, A-17 was lost</p>"], 0),
        (SHIPPED["components"], [None, "<p>Ada, A-17 is on its way</p>"], 0),
        ([], ["<p>All is on its way</p>"], 0),
    ],
)
def test_a_whatsapp_message_is_perhaps_found_by_the_words_of_its_parameters(
    run: Run, server: Hostile, tmp_path: Path, components: list[Any], bodies: list[str | None], place: int
) -> None:
    author = {"type": "admin", "id": "814860"}
    conversations = [
        {
            "id": str(number),
            "created_at": int(time.time()) + 5,
            "source": {"type": "whatsapp", "id": f"1{number}", "author": author, "body": body},
        }
        for number, body in enumerate(bodies)
    ]
    server.always(hostile.answer(200, {"conversations": conversations}), path="/conversations/search")
    batch = Batch(run, tmp_path, server)
    batch.add({**SHIPPED, "components": components})
    assert batch.findings() == [("perhaps", str(place))]


def test_a_missing_permission_is_an_error_with_advice(run: Run, server: Hostile, tmp_path: Path) -> None:
    server.always(hostile.error(403, "forbidden", "no scope"), path="/conversations/search")
    batch = Batch(run, tmp_path, server)
    batch.add(IN_APP)
    ended = batch.ask()
    assert (ended.code, ended.out) == (1, "")
    assert "the token must be regenerated" in ended.err


def test_messages_without_an_answer_are_unknown(batch: Batch) -> None:
    batch.send(IN_APP, answered=False)
    batch.add({**IN_APP, "to": {"type": "user", "user_id": "unknown-1"}})
    assert batch.findings() == [("unknown", None)] * 2
    ended = batch.ask()
    assert "0 of them were sent" in ended.out
    assert "  message 0: unknown: no conversation began with it\n" in ended.out
    assert 'an "unknown" message may have arrived or not' in ended.out


def test_a_conversation_is_matched_with_one_message(batch: Batch) -> None:
    conversation_id = batch.send({**IN_APP, "key": "first"}, answered=True)
    batch.send({**IN_APP, "key": "second"}, answered=False)
    assert batch.findings() == [("found", conversation_id), ("unknown", None)]


def test_a_conversation_of_a_confirmed_message_is_not_matched(batch: Batch) -> None:
    batch.send({**IN_APP, "key": "first"}, answered=True, lost=False)
    batch.add({**IN_APP, "key": "second"})
    assert batch.findings() == [("unknown", None)]


def test_other_words_are_perhaps_a_match_and_leave_the_conversation_to_its_own_message(
    batch: Batch, sandbox: Sandbox
) -> None:
    batch.add({**IN_APP, "key": "first", "body": "Goodbye"})
    conversation_id = batch.send({**IN_APP, "key": "second"}, answered=True)
    assert batch.findings() == [("unknown", None), ("found", conversation_id)]
    batch.add({**IN_APP, "to": {"type": "user", "id": "ben"}})
    IntercomHook().send_message({**IN_APP, "to": {"type": "user", "id": "ben"}, "body": "Something else"})
    other = sandbox.reply(sandbox.messages[-1].id)
    assert batch.findings()[2] == ("perhaps", other)
    assert f"  message 2: perhaps: conversation {other} (" in batch.ask().out


def test_another_sender_another_type_or_an_earlier_time_is_not_a_match(batch: Batch) -> None:
    batch.send({**IN_APP, "from_admin_id": "814861"}, answered=True)
    batch.send({**IN_APP, "message_type": "email", "subject": "News", "template": "plain"}, answered=True)
    batch.given[:] = [{**IN_APP, "key": None}, IN_APP]
    assert batch.findings() == [("unknown", None)] * 2
    conversation_id = batch.send(IN_APP, answered=True)
    assert ("found", conversation_id) in batch.findings()
    batch.since = "2100-01-01T00:00:00Z"
    assert batch.findings() == [("unknown", None)] * 3


def test_many_messages_are_searched_in_their_order(batch: Batch) -> None:
    found = [batch.send({**IN_APP, "to": {"type": "user", "id": f"u{n}"}}, answered=n % 2 == 0) for n in range(30)]
    assert batch.findings() == [("found", each) if each else ("unknown", None) for each in found]


def test_nothing_private_is_printed(batch: Batch, tmp_path: Path) -> None:
    conversation_id = batch.send({**IN_APP, "to": {"type": "lead", "email": "lead@example.com"}}, answered=True)
    (tmp_path / "defaults.json").write_text(json.dumps(DEFAULTS))
    ended = batch.ask(defaults=str(tmp_path / "defaults.json"))
    assert ended.out.startswith("1 of 1 messages are unconfirmed (try 1)\n1 of them were sent\n  message 0: found: ")
    assert f"conversation {conversation_id} began with it (20" in ended.out
    for private in ("Hello", "lead@example.com", "sandbox-token"):
        assert private not in ended.out + ended.err


def test_another_list_of_messages_is_refused_before_any_request(run: Run, batch: Batch, sandbox: Sandbox) -> None:
    batch.add({**IN_APP, "key": "first"})
    batch.given[0] = {**IN_APP, "key": "other"}
    assert "--messages: has another message at 0" in batch.ask().err
    batch.given.append(IN_APP)
    assert "--messages: holds 2 messages, and the results have 1" in batch.ask().err
    assert "--defaults: must be JSON" in batch.ask(defaults="{").err
    assert "--defaults: has the key 'body' twice" in batch.ask(defaults='{"body": "a", "body": "b"}').err
    batch.since = "lately"
    ended = batch.ask()
    assert (ended.code, ended.out) == (1, "")
    assert "--since: is missing, or not a time" in ended.err
    assert "--messages: is missing" in run("unconfirmed", "/nowhere", "--since", "2026-11-20").err
    assert not sandbox.requests


def test_results_of_another_task_instance_are_named_and_not_mixed_in(run: Run, tmp_path: Path) -> None:
    for try_number, dag_id in ((1, "reminders"), (2, "invoices")):
        results = ResultsWriter(str(tmp_path), try_number, Owner(dag_id, "manual", "send", -1))
        results.open()
        for index in range(try_number):
            results.add({"index": index, "key": None, "outcome": "unconfirmed", "reason": "no answer"})
        results.close()
    ended = run("unconfirmed", str(tmp_path))
    assert ended.out.startswith(
        "2 of 2 messages are unconfirmed (try 2 of task send of DAG invoices, run manual)\n"
        "The folder has results of task send of DAG reminders, run manual, too: name their try with --try to see them\n"
    )
    ended = run("unconfirmed", str(tmp_path), "--try", "1")
    assert ended.out.startswith("1 of 1 messages are unconfirmed (try 1 of task send of DAG reminders, run manual)\n")
