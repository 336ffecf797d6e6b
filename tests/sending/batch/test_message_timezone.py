"""A message of a batch may name the time zone of the person whom it is for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.settings import Settings
from intercom_provider.sending.batch.input import BatchInput, check_literals
from tests.support.messages import in_app

if TYPE_CHECKING:
    from intercom_provider.sending.batch.input import Item

SETTINGS = Settings(token="t", admin_id=1)


def message(number: int = 1, **fields: Any) -> dict[str, Any]:
    return in_app(to={"type": "user", "id": f"user-{number}"}, **fields)


def items(messages: list[dict[str, Any]], defaults: object = None, **options: Any) -> list[Item]:
    usual = {"duplicates": "skip", "salt": "run", "settings": SETTINGS}
    with BatchInput(messages, defaults, **{**usual, **options}) as batch:
        batch.check()
        return list(batch)


@pytest.mark.parametrize(
    ("fields", "defaults", "zone"),
    [
        ({"timezone": "Europe/Dublin"}, None, "Europe/Dublin"),
        ({"timezone": " Asia/Tokyo "}, {"timezone": "Europe/Dublin"}, "Asia/Tokyo"),
        ({}, {"timezone": "Europe/Dublin"}, "Europe/Dublin"),
        ({"timezone": float("nan")}, {"timezone": "Europe/Dublin"}, "Europe/Dublin"),
        ({"timezone": "${zone}", "params": {"zone": "UTC"}}, None, "UTC"),
        ({"params": {"zone": "UTC"}}, {"timezone": "${zone}"}, "UTC"),
        ({}, None, None),
    ],
)
def test_it_comes_from_the_message_or_the_defaults_and_is_not_sent(
    fields: dict[str, Any], defaults: object, zone: str | None
) -> None:
    (item,) = items([message(**fields)], defaults)
    assert item.timezone == zone
    assert item.message is not None
    assert "timezone" not in str(item.message.wire(1))


@pytest.mark.parametrize(
    "zone",
    ["Europe/Nowhere", "Europe", "../etc/passwd", pytest.param("x" * 1_000_000, id="a megabyte"), 5, "\x00", {"a": 1}],
)
def test_a_wrong_one_makes_a_row_invalid(zone: object) -> None:
    rows = [message(1), message(2, timezone=zone), message(3, timezone=zone)]
    with pytest.raises(InvalidInputError) as caught:
        items(rows)
    assert caught.value.problems[0].field == "messages[1].timezone"
    assert (
        caught.value.problems[0].text == "must be the name of a time zone such as Europe/Dublin (2 times: index 1, 2)"
    )
    assert [item.refusal is None for item in items(rows, invalid="reject")] == [True, False, False]


def test_a_wrong_one_in_the_defaults_is_named_once() -> None:
    with pytest.raises(InvalidInputError, match=r"^defaults.timezone: must be the name of a time zone"):
        items([message(1), message(2)], {"timezone": "Europe/Nowhere"})


def test_a_message_without_one_is_invalid_where_each_needs_its_own() -> None:
    rows = [message(1, timezone="UTC"), message(2)]
    with pytest.raises(InvalidInputError, match=r"^messages\[1\].timezone: is needed with send_window"):
        items(rows, needs_timezone=True)
    assert items(rows, {"timezone": "UTC"}, needs_timezone=True)[1].refusal is None


def test_a_param_that_is_missing_refuses_the_message_alone() -> None:
    (item,) = items([message(timezone="${zone}", params={"other": "x"})], needs_timezone=True)
    assert item.refusal == "params.zone is missing"


def test_a_wrong_one_in_a_literal_is_found_when_the_dag_is_parsed() -> None:
    with pytest.raises(InvalidInputError, match=r"messages\[0\].timezone: must be the name"):
        check_literals([message(timezone="Nowhere")], None)
    check_literals([message(timezone="Nowhere")], None, invalid="reject")
