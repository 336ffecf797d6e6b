"""Values as tables and databases hand them over, wherever they stand in a message."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import numpy as np
import pandas as pd
import pytest

from intercom_provider.api.calls import find_admin, find_contact, find_conversation
from intercom_provider.api.cells import is_gap, write_id, write_number
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.values import as_datetime, is_missing
from intercom_provider.sending.batch.defaults import Defaults
from intercom_provider.waiting.sent import read_ruleset_id
from tests.support.messages import ADA, email, in_app, parsed, problems_of, whatsapp

GAPS = [
    float("nan"),
    pd.NA,
    pd.NaT,
    np.nan,
    np.float32("nan"),
    np.float16("nan"),
    np.datetime64("NaT"),
    np.timedelta64("NaT"),
    np.ma.masked,
    Decimal("NaN"),
    Decimal("sNaN"),
]
NO_GAPS = [0, 0.0, False, np.int64(0), np.bool_(0), np.datetime64("2026-01-01"), pd.Timestamp(0), "nan", [], {},
           np.array([1.0]), pd.Series([1.0]), Decimal(0), float("inf"), object()]  # fmt: skip
WORDS = ["nan", "NaN", "NaT", "<NA>", "null", "NULL", "undefined", "#N/A", " nan ", "inf"]
UUID4 = UUID("0f8fad5b-d9cb-469f-a165-70867728950e")


@pytest.mark.parametrize("gap", GAPS, ids=lambda value: repr(value).partition(" at 0x")[0])
def test_a_gap_of_any_type_is_missing(gap: object) -> None:
    assert is_gap(gap)
    assert is_missing(gap)


@pytest.mark.parametrize("value", NO_GAPS, ids=lambda value: repr(value).partition(" at 0x")[0])
def test_a_value_is_no_gap(value: object) -> None:
    assert not is_gap(value)


@pytest.mark.parametrize("gap", GAPS, ids=lambda value: repr(value).partition(" at 0x")[0])
def test_a_gap_counts_as_none_wherever_none_does(gap: object) -> None:
    plain = in_app(to={"type": "user", "user_id": "ada"})
    given = in_app(
        to={"type": "user", "user_id": "ada", "id": gap, "email": gap}, cc=gap, key=gap, created_at=gap, subject=gap
    )
    assert parsed(given) == parsed(plain)
    assert parsed(whatsapp(locale=gap, body=gap)) == parsed(whatsapp())
    assert "name" not in parsed(whatsapp(to={"phone": "+447700900123", "name": gap})).wire(1)["to"]
    free: Any = parsed(whatsapp(components=[{"type": "body", "note": gap}])).wire(1)["components"]
    assert free == [{"type": "body", "note": None}]
    completed = Defaults({"body": "Hi ${name} of ${city}", "params": {"name": "you", "city": gap}, "locale": gap})
    made = completed.apply_defaults({"to": ADA, "body": gap, "params": {"name": gap}})
    assert (made.missing, sorted(made.fields)) == (("city",), ["body", "to"])


@pytest.mark.parametrize("gap", [None, *GAPS], ids=lambda value: repr(value).partition(" at 0x")[0])
def test_a_gap_in_a_parameter_is_missing_by_its_place(gap: object) -> None:
    components = [{"type": "body", "parameters": [{"type": "text", "text": "a"}, {"type": "text", "text": gap}]}]
    [(field, text)] = problems_of(whatsapp(components=components)).items()
    assert (field, "is missing" in text) == ("components.0.parameters.1.text", True)


@pytest.mark.parametrize("infinite", [float("inf"), float("-inf"), np.float32("inf"), Decimal("Infinity")])
def test_infinity_is_refused_by_its_place(infinite: Any) -> None:
    assert list(problems_of(in_app(to={"type": "user", "id": infinite}))) == ["to.id"]
    assert list(problems_of(in_app(key=infinite))) == ["key"]
    [(field, text)] = problems_of(whatsapp(components=[{"type": "body", "n": [infinite]}])).items()
    assert (field, "is infinite" in text) == ("components.0.n.0", True)
    with pytest.raises(InvalidInputError, match=r"params\.total: is a number that nobody would write so \(infinite"):
        Defaults(None).apply_defaults({"params": {"total": infinite}})


@pytest.mark.parametrize("word", WORDS)
def test_a_word_for_nothing_is_no_id_and_no_address(word: str) -> None:
    for fields, place in (
        (in_app(to={"type": "user", "id": word}), "to.id"),
        (in_app(to={"type": "user", "user_id": word}), "to.user_id"),
        (in_app(to={"type": "user", "email": word}), "to.email"),
        (email(cc=[ADA, {"type": "user", "email": word}]), "cc.1.email"),
        (whatsapp(to={"phone": word}), "to.phone"),
        (whatsapp(template=word), "template"),
        (in_app(key=word), "key"),
        (in_app(from_admin_id=word), "from_admin_id"),
    ):
        [(field, text)] = problems_of(fields).items()
        assert (field, "stands for a missing value" in text) == (place, True)
    for read in (
        lambda: read_ruleset_id(word),
        lambda: next(find_admin(word)),
        lambda: next(find_contact(external_id=word)),
        lambda: next(find_conversation(word)),
    ):
        with pytest.raises(InvalidInputError, match="stands for a missing value"):
            read()


@pytest.mark.parametrize("field", ["id", "user_id", "email"])
def test_the_text_none_is_no_id_where_there_is_no_other(field: str) -> None:
    assert "stands for a missing value" in problems_of(in_app(to={"type": "user", field: "None"}))[f"to.{field}"]


def test_people_may_be_called_nan_or_null() -> None:
    to = parsed(whatsapp(to={"phone": "+447700900123", "name": "Null"})).wire(1)["to"]
    assert to["name"] == "Null"
    assert Defaults(None).apply_defaults({"body": "Hi ${n}", "params": {"n": "nan"}}).fields["body"] == "Hi nan"


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (1001, "1001"),
        (1001.0, "1001"),
        (-0.0, "0"),
        (19.99, "19.99"),
        (-2.5, "-2.5"),
        (0.0001, "0.0001"),
        (1e15, "1000000000000000"),
        (Decimal("9.90"), "9.90"),
        (Decimal("1E+3"), "1000"),
        (Decimal("0E-10"), "0.0000000000"),
        (Decimal("1E-7"), "0.0000001"),
        (Decimal("123456789012345678901234567890.12"), "123456789012345678901234567890.12"),
        (0.1 + 0.2, None),
        (1 / 3, None),
        (1e-5, None),
        (1e16, None),
        (1e300, None),
        (float("inf"), None),
        (Decimal("1E+999999"), None),
        (Decimal("1E-999999"), None),
        (10**50, None),
    ],
)
def test_a_number_is_written_as_people_do_or_not_at_all(number: Any, text: str | None) -> None:
    assert write_number(number) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (np.int64(1001), "1001"),
        (np.float64(1001), "1001"),
        (np.float32(19.99), "19.99"),
        (np.float64(19.99), "19.99"),
        (Decimal("9.90"), "9.90"),
        (np.str_("Ada"), "Ada"),
        (UUID4, str(UUID4)),
    ],
)
def test_a_param_from_a_table_reaches_people_as_they_write_it(value: object, text: str) -> None:
    made = Defaults(None).apply_defaults({"body": "No. ${n}", "params": {"n": value}})
    assert made.fields["body"] == f"No. {text}"


@pytest.mark.parametrize(
    "value",
    [np.bool_(1), pd.Timestamp(0), np.datetime64("2026-01-01T00"), [1.0]],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_a_param_that_is_neither_text_nor_a_number_is_refused(value: object) -> None:
    with pytest.raises(InvalidInputError, match=r"^params\.n: must be text or a number: it is .*not text"):
        Defaults(None).apply_defaults({"body": "${n}", "params": {"n": value}})


IDS = [
    (UUID4, str(UUID4)),
    (Decimal(1001), "1001"),
    (Decimal("1001.00"), "1001"),
    (Decimal("1E+3"), "1000"),
    (np.int64(1001), "1001"),
    (np.uint8(7), "7"),
    (1001.0, "1001"),
    (np.float64(1001), "1001"),
    (np.str_("a-7"), "a-7"),
]
NO_IDS = [1.5, 2.0**53, 1e300, Decimal("1.5"), Decimal("1E+999999"), True, np.bool_(1), b"a", [1], pd.Timestamp(0)]


@pytest.mark.parametrize(("given", "text"), IDS, ids=lambda value: repr(value).partition(" at 0x")[0])
def test_an_id_of_a_database_is_taken_as_text_everywhere(given: Any, text: str) -> None:
    message = parsed(in_app(to={"type": "user", "user_id": given}, key=given, from_admin_id=given))
    wire = message.wire()
    assert (str(message.key), wire["to"]["user_id"], wire["from"]["id"]) == (text, text, text)
    assert message.recipients == [["user_id", text]]
    assert email(cc=[{"type": "user", "id": given}])
    assert read_ruleset_id(given) == text
    assert next(find_admin(given)).path == f"/admins/{text}"
    assert next(find_contact(external_id=given)).path.endswith(f"/{text}")
    assert str(next(find_conversation(given)).json).count(f"'{text}'") == 1


@pytest.mark.parametrize("given", NO_IDS, ids=lambda value: repr(value).partition(" at 0x")[0])
def test_what_may_be_another_id_is_refused(given: Any) -> None:
    assert write_id(given) is None
    for fields, place in (
        (in_app(to={"type": "user", "user_id": given}), "to.user_id"),
        (in_app(key=given), "key"),
        (in_app(from_admin_id=given), "from_admin_id"),
    ):
        assert list(problems_of(fields)) == [place]
    for read in (
        lambda: read_ruleset_id(given),
        lambda: next(find_admin(given)),
        lambda: next(find_conversation(given)),
    ):
        with pytest.raises(InvalidInputError, match="_id: "):
            read()


@pytest.mark.parametrize(
    "number", [447900123456, 447900123456.0, Decimal(447900123456), np.int64(447900123456), float("inf")]
)
def test_a_phone_that_is_a_number_says_how_to_write_it(number: Any) -> None:
    text = problems_of(whatsapp(to={"phone": number}))["to.phone"]
    assert text.startswith("is a number, and a phone is text: write it in quotes, with the plus sign")
    assert "900123456" not in text.replace("+447900123456", "")


def test_components_take_the_numbers_of_tables_where_numbers_belong() -> None:
    amount = {"type": "currency", "currency": {"fallback_value": "EUR 9.90", "code": "EUR"}}
    given = [np.int64(9900), Decimal(9900), Decimal("0.5"), np.float32(1.5), UUID4, np.bool_(1)]
    amount["currency"] |= {"values": given}  # type: ignore[operator]
    wire: Any = parsed(whatsapp(components=[{"type": "body", "parameters": (amount,)}])).wire(1)
    assert wire["components"][0]["parameters"][0]["currency"]["values"] == [9900, 9900, 0.5, 1.5, str(UUID4), True]


@pytest.mark.parametrize(
    "value",
    [pd.Timestamp(0), {1, 2}, object(), Decimal("0.12345678901234567890123")],
    ids=lambda value: repr(value).partition(" at 0x")[0],
)
def test_what_json_cannot_hold_is_named_by_its_place(value: object) -> None:
    assert list(problems_of(whatsapp(components=[{"type": "body", "a": {"b": [1, value]}}]))) == ["components.0.a.b.1"]


@pytest.mark.parametrize(
    "moment", [pd.Timestamp("2024-05-01T12:00Z"), np.datetime64("2024-05-01T12:00:00.000000000"), np.int64(1714564800),
               np.float64(1714564800), Decimal(1714564800)]
)  # fmt: skip
def test_a_time_of_a_table_is_a_time(moment: object) -> None:
    assert as_datetime(moment).timestamp() == 1714564800
