from __future__ import annotations

import json
from typing import Any

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.sources import read_message_ids, read_ruleset_id, read_sent

from .test_values import Lazy


def field_of(caught: pytest.ExceptionInfo[InvalidInputError]) -> str:
    [problem] = caught.value.problems
    return problem.field


def sent(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"outcome": "sent", "message_type": "whatsapp", "whatsapp_message_id": f"wamid.{number}", "key": None} | more


@pytest.mark.parametrize(("given", "read"), [("4711", "4711"), (4711, "4711"), (" a1 ", "a1"), (None, None),
                                             ("", None), ("None", None)])  # fmt: skip
def test_a_ruleset_is_read(given: object, read: str | None) -> None:
    assert read_ruleset_id(given) == read


@pytest.mark.parametrize("given", [True, 1.5, "4711 4712", ["4711"], {"id": 1}])
def test_what_is_no_ruleset_is_told(given: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_ruleset_id(given)
    assert field_of(caught) == "ruleset_id"


IDS = ["wamid.1", "wamid.2"]


@pytest.mark.parametrize("given", [IDS, tuple(IDS), Lazy(*IDS), json.dumps(IDS), str(IDS), [*IDS, " wamid.1 "]])
def test_ids_are_read_each_once(given: object) -> None:
    assert list(read_message_ids(given)) == IDS


@pytest.mark.parametrize(("given", "read"), [(None, []), ("", []), ("None", []), ([], []), ("wamid.1", ["wamid.1"])])
def test_one_id_or_none_is_read(given: object, read: list[str]) -> None:
    assert list(read_message_ids(given)) == read


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("403900001", "the message's id"),
        (["wamid.1", "403900001"], "the message's id"),
        (403900001, "wamid"),
        (["wamid.1", None], "not accepted"),
        (["wamid.1", "None"], "not accepted"),
        (["wamid.1", ""], "not accepted"),
        ("wamid.1 wamid.2", "wamid"),
        ({"a": "wamid.1"}, "wamid"),
        ({"wamid.1"}, "wamid"),
        ([["wamid.1"]], "wamid"),
        ([f"wamid.{n}" for n in range(1_001)], "1,000"),
    ],
)
def test_what_is_no_id_is_told(given: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_message_ids(given)
    assert field_of(caught) == "whatsapp_message_id"


def test_a_thousand_messages_are_not_too_many() -> None:
    assert len(read_message_ids([f"wamid.{n % 1_000}" for n in range(2_000)])) == 1_000


@pytest.mark.parametrize("wrap", [list, tuple, lambda entries: Lazy(*entries), json.dumps, str])
def test_what_senders_left_is_read_with_its_keys(wrap: Any) -> None:
    ids, without = read_sent(wrap([sent(1, key="a"), sent(2, key=7)]))
    assert (ids, without) == ({"wamid.1": "a", "wamid.2": 7}, ())


def test_one_sender_is_enough_and_none_is_none() -> None:
    assert read_sent(sent()) == ({"wamid.1": None}, ())
    assert read_sent(None) == read_sent("None") == read_sent([]) == ({}, ())


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("rejected", "failed"),
        ("expired", "failed"),
        ("unconfirmed", "sent"),
        ("sent", "sent"),
        ("already_sent", "sent"),
    ],
)
def test_a_message_without_an_id_is_told_of_as_what_it_is(outcome: str, status: str) -> None:
    ids, [row] = read_sent([sent(outcome=outcome, whatsapp_message_id=None, key="k")])
    assert ids == {}
    assert (row["status"], row["key"], row["whatsapp_message_id"]) == (status, "k", None)
    assert row["reason"]


def test_a_dry_run_leaves_nothing_to_wait_for() -> None:
    assert read_sent([sent(outcome="dry_run", whatsapp_message_id=None)]) == ({}, ())


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("wamid.1", "send.output"),
        (["wamid.1"], "send.output"),
        ({"id": "1"}, "send.output"),
        ([None], "send.output"),
        (sent(message_type="email"), "email"),
        (sent(message_type=None), "None"),
        (sent(whatsapp_message_id="403900001"), "the message's id"),
        (sent(whatsapp_message_id=5), "wamid"),
        ([sent(n) for n in range(1_001)], "1,000"),
    ],
)
def test_what_no_sender_left_is_told(given: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_sent(given)
    assert field_of(caught) == "sent"
