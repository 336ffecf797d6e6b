"""The recipients of a message."""

from __future__ import annotations

import pytest

from tests.support.messages import in_app, parsed, problems_of, whatsapp


@pytest.mark.parametrize(
    "phone",
    [
        "447700900123", "+0447700900123", "00447700900123", "+44 7700 900123", "+44-7700-900123", "+44", "+",
        "+4477009001234567890", "+44770090012x", " +447700900123", "+447700900123\n", "tel:+447700900123",
        "+44\u0667\u0667\u0660\u0660900123", "+4\uff14\uff17\uff17\uff10\uff10\uff19\uff10\uff10\uff11\uff12\uff13",
    ],
)  # fmt: skip
def test_a_phone_that_is_not_e164_is_refused_without_being_repeated(phone: str) -> None:
    [(field, text)] = problems_of(whatsapp(to={"phone": phone})).items()
    assert (field, "E.164" in text) == ("to.phone", True)
    assert "900123" not in text.replace("+447900123456", "")


@pytest.mark.parametrize("missing", [None, "", "None"])
def test_missing_fields_of_a_recipient_count_as_not_given(missing: object) -> None:
    assert parsed(in_app(to={"type": "user", "id": missing, "user_id": "ada", "email": missing})).wire(1)["to"] == {
        "type": "user",
        "user_id": "ada",
    }
    assert "name" not in parsed(whatsapp(to={"phone": "+447700900123", "name": missing})).wire(1)["to"]
