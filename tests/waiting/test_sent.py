from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import InvalidInputError, UnreachableError
from intercom_provider.sending.batch.counts import COUNT_NAMES
from intercom_provider.waiting.sent import read_message_ids, read_ruleset_id, read_sent
from tests.support.lazy import Lazy

if TYPE_CHECKING:
    from pathlib import Path


def field_of(caught: pytest.ExceptionInfo[InvalidInputError]) -> str:
    [problem] = caught.value.problems
    return problem.field


def sent(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"outcome": "sent", "message_type": "whatsapp", "whatsapp_message_id": f"wamid.{number}", "key": None} | more


@pytest.mark.parametrize(("given", "read"), [("4711", "4711"), (4711, "4711"), (" a1 ", "a1"), (None, None),
                                             ("", None), ("None", None)])  # fmt: skip
def test_a_ruleset_is_read(given: object, read: str | None) -> None:
    assert read_ruleset_id(given) == read


@pytest.mark.parametrize("given", [True, 1.5, "4711 4712", ["4711"], {"id": 1}, "4711\ud800"])
def test_a_wrong_ruleset_id_is_refused(given: object) -> None:
    with pytest.raises(InvalidInputError) as caught:
        read_ruleset_id(given)
    assert field_of(caught) == "ruleset_id"


IDS = ["wamid.1", "wamid.2"]


@pytest.mark.parametrize(
    "given",
    [
        *(IDS, tuple(IDS), Lazy(*IDS), json.dumps(IDS), str(IDS), [*IDS, " wamid.1 "]),
        *([Lazy(*IDS), "wamid.2"], [[IDS[:1]], [(IDS[1],)]], [json.dumps(IDS), []]),
    ],
)
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
        ([[{"wamid.1"}]], "wamid"),
        ("wamid.\ud800", "wamid"),
        ("wamid.é", "wamid"),
        ([f"wamid.{n}" for n in range(1_001)], "1,000"),
    ],
)
def test_a_wrong_whatsapp_id_is_refused(given: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        read_message_ids(given)
    assert field_of(caught) == "whatsapp_message_id"


def test_a_thousand_messages_are_not_too_many() -> None:
    assert len(read_message_ids([f"wamid.{n % 1_000}" for n in range(2_000)])) == 1_000


@pytest.mark.parametrize("wrap", [list, tuple, lambda entries: Lazy(*entries), json.dumps, str])
def test_outputs_of_senders_are_read_with_keys(wrap: Any) -> None:
    ids, without = left_by(wrap([sent(1, key="a"), sent(2, key=7)]))
    assert (ids, without) == ({"wamid.1": "a", "wamid.2": 7}, ())


def test_one_sender_is_enough_and_none_is_none() -> None:
    assert left_by(sent()) == ({"wamid.1": None}, ())
    assert left_by(None) == left_by("None") == left_by([]) == ({}, ())


@pytest.mark.parametrize(
    ("outcome", "status"),
    [
        ("rejected", "failed"),
        ("expired", "failed"),
        ("not_sent", "failed"),
        ("unconfirmed", "sent"),
        ("sent", "sent"),
        ("already_sent", "sent"),
    ],
)
def test_a_message_without_an_id_has_failed_or_stays_pending(outcome: str, status: str) -> None:
    ids, [row] = left_by([sent(outcome=outcome, whatsapp_message_id=None, key="k")])
    assert ids == {}
    assert (row["status"], row["key"], row["whatsapp_message_id"]) == (status, "k", None)
    assert row["reason"]


@pytest.mark.parametrize("outcome", ["dry_run", "claimed", "suppressed"])
def test_a_dry_run_and_a_message_of_another_run_leave_nothing_to_wait_for(outcome: str) -> None:
    assert left_by([sent(outcome=outcome, whatsapp_message_id=None)]) == ({}, ())


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
def test_other_values_than_a_senders_output_are_refused(given: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        left_by(given)
    assert field_of(caught) == "sent"


def batch(*numbers: int, **more: Any) -> dict[str, Any]:
    """Return the XCom of a batch that sent these messages."""
    counts = {name: 0 for name in COUNT_NAMES if name != "sent"}
    found = {
        "sent": len(numbers),
        **counts,
        "reasons": [],
        "whatsapp_message_ids": [f"wamid.{n}" for n in numbers],
        "results_path": None,
    } | more
    return {"total": sum(found[name] for name in ("sent", *counts)), **found}


def left_by(value: object, *, parsing: bool = False) -> tuple[dict[str, Any], tuple[dict[str, Any], ...]]:
    """Read outputs of senders; return the ids with their keys, and the rows of the others."""
    found = read_sent(value, parsing=parsing)
    rows = tuple(found.rows_without_id)
    failed = sum(row["status"] == "failed" for row in rows)
    assert (found.never_sent, found.untrackable) == (failed, len(rows) - failed)
    assert len(found.ids) == len(list(found.ids))
    return {id_: found.keys.get(id_) for id_ in found.ids}, rows


def line(index: int, outcome: str = "sent", **more: Any) -> dict[str, Any]:
    id_ = f"wamid.{index}" if outcome in ("sent", "already_sent") else None
    return {"index": index, "key": f"k{index}", "outcome": outcome, "id": None, "whatsapp_message_id": id_,
            "reason": None} | more  # fmt: skip


def write(folder: Path, name: str, *lines: dict[str, Any]) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    folder.joinpath(name).write_text("".join(json.dumps(each) + "\n" for each in lines))
    return str(folder)


@pytest.mark.parametrize("wrap", [lambda one: one, lambda one: [one], Lazy, json.dumps, str])
def test_the_ids_of_a_batch_are_read(wrap: Any) -> None:
    assert left_by(wrap(batch(1, 2))) == ({"wamid.1": None, "wamid.2": None}, ())


def test_batches_and_single_sends_may_be_mixed() -> None:
    ids, without = left_by([sent(1, key="a"), batch(2, 3), sent(4, outcome="rejected", whatsapp_message_id=None)])
    assert ids == {"wamid.1": "a", "wamid.2": None, "wamid.3": None}
    assert [row["status"] for row in without] == ["failed"]


@pytest.mark.parametrize(
    "nested",
    [
        [Lazy(sent(1), sent(2)), batch(3)],
        [[sent(1)], [[sent(2), batch(3)]], []],
        [json.dumps([sent(1), sent(2)]), Lazy(batch(3))],
        Lazy([sent(1)], (sent(2), batch(3))),
    ],
)
def test_outputs_of_mapped_and_single_senders_are_flattened(nested: object) -> None:
    ids, without = left_by(nested)
    assert (list(ids), without) == (["wamid.1", "wamid.2", "wamid.3"], ())


def test_unsent_messages_of_a_batch_have_rows_with_their_reasons() -> None:
    reasons = [{"reason": "no contact", "count": 2}, {"reason": "too late", "count": 1}]
    left = batch(1, 2, rejected=2, expired=1, unconfirmed=1, duplicates=3, dry_run=4, reasons=reasons)
    ids, without = left_by(left)
    assert len(ids) == 2
    assert [(row["status"], row["reason"]) for row in without[:3]] == [
        ("failed", "no contact"),
        ("failed", "no contact"),
        ("failed", "too late"),
    ]
    assert [(row["status"], row["whatsapp_message_id"]) for row in without[3:]] == [("sent", None)]


def test_incomplete_reasons_are_named_together() -> None:
    reasons = [{"reason": "no contact", "count": 2}, {"reason": "too late", "count": 1}]
    _, without = left_by(batch(rejected=4, reasons=reasons))
    assert [row["reason"] for row in without] == ["one of: no contact; too late"] * 4
    _, without = left_by(batch(rejected=1))
    assert without[0]["reason"] == "not known"


def test_reasons_of_outcomes_that_are_no_failure_are_not_named() -> None:
    reasons = [
        {"reason": "suppress holds its key", "outcome": "suppressed", "count": 3},
        {"reason": "no contact", "outcome": "rejected", "count": 2},
    ]
    _, without = left_by(batch(rejected=2, suppressed=3, reasons=reasons))
    assert [row["reason"] for row in without if row["status"] == "failed"] == ["no contact"] * 2


def test_a_message_of_a_batch_without_an_id_stays_pending() -> None:
    ids, without = left_by(batch(1, 2, sent=3, already_sent=1))
    assert (len(ids), [row["status"] for row in without]) == (2, ["sent", "sent"])


def test_a_batch_that_is_empty_dry_or_sent_by_another_run_leaves_nothing_to_wait_for(tmp_path: Path) -> None:
    for numbers in ({}, {"dry_run": 5}, {"claimed": 5}, {"suppressed": 5}):
        assert left_by(batch(**numbers)) == ({}, ())
    folder = write(tmp_path, "try-1-part-1.jsonl", line(1), line(2, "claimed"))
    assert left_by(batch(1, claimed=1, results_path=folder)) == ({"wamid.1": "k1"}, ())


def test_keys_and_reasons_are_read_from_the_results_of_a_batch(tmp_path: Path) -> None:
    folder = write(
        tmp_path / "run" / "send" / "-1",
        "try-1-part-1.jsonl",
        line(2),
        line(0),
        line(1, "rejected", reason="no contact"),
        line(3, "unconfirmed", reason="no reply"),
        line(4, "duplicate"),
        line(5, "expired", reason="too late"),
    )
    left = batch(0, 2, rejected=1, unconfirmed=1, expired=1, duplicates=1, results_path=folder)
    ids, without = left_by(left)
    assert list(ids.items()) == [("wamid.0", "k0"), ("wamid.2", "k2")]
    assert [(row["key"], row["status"], row["reason"]) for row in without] == [
        ("k1", "failed", "no contact"),
        ("k3", "sent", "no reply"),
        ("k5", "failed", "too late"),
    ]


def test_the_results_of_the_last_try_are_read_in_order(tmp_path: Path) -> None:
    for part in (1, 9, 10):
        write(tmp_path, f"try-10-part-{part}.jsonl", line(part), line(part + 100, "already_sent"))
    write(tmp_path, "try-9-part-1.jsonl", line(1, "rejected"))
    write(tmp_path, "try-11-part-1.jsonl.tmp", line(1, "rejected"))
    left = batch(sent=3, already_sent=3, whatsapp_message_ids=None, results_path=str(tmp_path))
    ids, without = left_by(left)
    assert list(ids) == [f"wamid.{n}" for n in (1, 101, 9, 109, 10, 110)]
    assert not without


def test_more_than_a_thousand_ids_are_read_from_the_results(tmp_path: Path) -> None:
    folders = [tmp_path / str(index) for index in range(2)]
    for index, folder in enumerate(folders):
        write(folder, "try-1-part-1.jsonl", *(line(n) for n in range(index * 1_500, index * 1_500 + 1_500)))
    outputs = [batch(sent=1_500, whatsapp_message_ids=None, results_path=str(folder)) for folder in folders]
    ids, without = left_by([*outputs, sent(9_999, key="single")])
    assert (len(ids), ids["wamid.2999"], ids["wamid.9999"], without) == (3_001, "k2999", "single", ())


def test_rows_without_an_id_of_many_messages_are_read_from_the_results(tmp_path: Path) -> None:
    lines = [line(n) if n % 3 else line(n, "rejected", reason="no contact") for n in range(3_000)]
    folder = write(tmp_path, "try-1-part-1.jsonl", *lines, line(3_000, "unconfirmed"), line(3_001, "duplicate"))
    left = batch(sent=2_000, rejected=1_000, unconfirmed=1, duplicates=1, whatsapp_message_ids=None)
    ids, without = left_by([sent(9_999), left | {"results_path": folder}])
    assert len(ids) == 2_001
    assert [(row["key"], row["status"]) for row in without[-2:]] == [("k2997", "failed"), ("k3000", "sent")]
    assert len(without) == 1_001


def test_the_same_batch_twice_is_the_same_messages(tmp_path: Path) -> None:
    folder = write(tmp_path, "try-1-part-1.jsonl", *(line(n) for n in range(1_500)))
    left = batch(sent=1_500, whatsapp_message_ids=None, results_path=folder)
    assert len(left_by([left, left])[0]) == 1_500


def test_no_results_are_read_while_a_dag_is_parsed() -> None:
    left = batch(sent=5_000, whatsapp_message_ids=None, results_path="nowhere://at/all")
    assert left_by(left, parsing=True) == ({}, ())


@pytest.mark.parametrize("name", ["try-1-part-1.jsonl", "something.txt"])
def test_unreadable_results_are_a_warning_when_the_ids_are_in_xcom(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = write(tmp_path, name, line(1))
    with caplog.at_level(logging.WARNING):
        ids, without = left_by(batch(1, 2, rejected=1, results_path=folder))
    assert ids == {"wamid.1": None, "wamid.2": None}
    assert [row["status"] for row in without] == ["failed"]
    assert folder in caplog.text


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([line(1)], "have 1 messages, the batch has 3"),
        ([line(n) for n in range(4)], "have 4 messages"),
        ([line(1), {"outcome": "sent"}, {"something": "else"}], "line 3 of try-1-part-1.jsonl is not a batch's"),
        (None, "no part"),
    ],
)
def test_incomplete_results_are_an_error_when_the_ids_are_not_in_xcom(
    tmp_path: Path, lines: list[dict[str, Any]] | None, words: str
) -> None:
    if lines is not None:
        write(tmp_path, "try-1-part-1.jsonl", *lines)
    with pytest.raises(InvalidInputError, match=f"results_path {tmp_path} cannot be read.*{words}") as caught:
        left_by(batch(sent=3, whatsapp_message_ids=None, results_path=str(tmp_path)))
    assert field_of(caught) == "sent"


def test_an_unknown_storage_or_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    for folder in ("nowhere://at/all", str(tmp_path / "gone")):
        with pytest.raises(InvalidInputError, match="cannot be read"):
            left_by(batch(sent=3, whatsapp_message_ids=None, results_path=folder))


def test_results_that_may_be_readable_later_are_a_transient_error(tmp_path: Path) -> None:
    tmp_path.joinpath("try-1-part-1.jsonl").mkdir()
    with pytest.raises(UnreachableError, match=f"results_path {tmp_path} cannot be read"):
        left_by(batch(sent=3, whatsapp_message_ids=None, results_path=str(tmp_path)))


def test_more_than_a_thousand_ids_in_xcom_alone_are_refused(tmp_path: Path) -> None:
    halves = [batch(*range(600)), batch(*range(600, 1_200))]
    with pytest.raises(InvalidInputError, match=r"more than 1,000 messages.*results_path"):
        left_by(halves)
    for index, half in enumerate(halves):
        lines = (line(n) for n in range(index * 600, index * 600 + 600))
        half["results_path"] = write(tmp_path / str(index), "try-1-part-1.jsonl", *lines)
    assert len(left_by(halves)[0]) == 1_200


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (batch(sent=5_000, whatsapp_message_ids=None), "set results_path on the batch"),
        (batch(sent=3, whatsapp_message_ids=[]), "only WhatsApp messages have a delivery status"),
        (batch() | {"sent": "many"}, "not whole"),
        (batch(reasons=[{"reason": "x"}]), "not whole"),
        ({"total": 1, "whatsapp_message_ids": []}, "not whole"),
        (batch(whatsapp_message_ids=[403900001]), "wamid"),
        (batch(whatsapp_message_ids=["403900001"]), "the message's id"),
        ({"total": 3, "sent": 3, "delivered": 0}, "SendMessageBatchOperator"),
    ],
)
def test_other_values_than_a_batchs_output_are_refused(given: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words) as caught:
        left_by(given)
    assert field_of(caught) == "sent"


def test_an_email_batch_is_recognized_by_its_results(tmp_path: Path) -> None:
    folder = write(tmp_path, "try-1-part-1.jsonl", line(1, whatsapp_message_id=None))
    with pytest.raises(InvalidInputError, match="only WhatsApp messages have a delivery status"):
        left_by(batch(sent=1, whatsapp_message_ids=None, results_path=folder))


def test_messages_of_a_batch_that_were_not_sent_have_failed() -> None:
    ids, rows = left_by(batch(1, rejected=1, not_sent=2, expired=1))
    assert ids == {"wamid.1": None}
    assert [row["status"] for row in rows] == ["failed"] * 4
