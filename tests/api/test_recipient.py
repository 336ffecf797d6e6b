"""The recipients of a message."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.messages import email, in_app, parsed, problems_of, sms, whatsapp


@pytest.mark.parametrize(
    "phone",
    [
        "447700900123", "+0447700900123", "00447700900123", "+44 7700 900123", "+44-7700-900123", "+44", "+",
        "+4477009001234567890", "+44770090012x", "tel:+447700900123",
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


INVISIBLE = [
    "\u200b",
    "\ufeff",
    "\u00a0",
    "\u202e",
    "\u2066",
    "\u00ad",
    "\u2060",
    "\u3000",
    "\u2028",
    "\u3164",
    "\u200e",
]
ENDS = ["{}\u200b", "\ufeff{}", " {}\n", "\u00a0{}\t", "\u202a{}\u202c", "\u00ad{}", "\u200b \u200b{}\u2003"]
FIELDS: list[tuple[Any, str, str]] = [
    (lambda text: in_app(to={"type": "user", "id": text}), "to.id", "customer-17"),
    (lambda text: in_app(to={"type": "user", "user_id": text}), "to.user_id", "customer-17"),
    (lambda text: in_app(to={"type": "user", "email": text}), "to.email", "ada@example.com"),
    (lambda text: email(cc={"type": "user", "email": text}), "cc.email", "ada@example.com"),
    (lambda text: whatsapp(to={"phone": text}), "to.phone", "+447700900123"),
    (lambda text: whatsapp(template=text), "template", "order_shipped"),
    (lambda text: whatsapp(locale=text), "locale", "en_GB"),
    (lambda text: in_app(key=text), "key", "order-4711"),
    (lambda text: in_app(from_admin_id=text), "from_admin_id", "814860"),
]


@pytest.mark.parametrize(("make", "field", "text"), FIELDS, ids=[field for _, field, _ in FIELDS])
def test_ids_addresses_and_names_are_stripped_of_what_cannot_be_seen(make: Any, field: str, text: str) -> None:
    plain = parsed(make(text))
    for ends in ENDS:
        assert parsed(make(ends.format(text))) == plain, field


@pytest.mark.parametrize("char", INVISIBLE)
@pytest.mark.parametrize(("make", "field", "text"), FIELDS, ids=[field for _, field, _ in FIELDS])
def test_an_invisible_character_inside_is_named(make: Any, field: str, text: str, char: str) -> None:
    problems = problems_of(make(f"{text[:4]}{char}{text[4:]}"))
    assert list(problems) == [field]
    assert problems[field].startswith(f"holds an invisible character (U+{ord(char):04X})")


@pytest.mark.parametrize("char", ["\0", "\n", "\t", "\r", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize(("make", "field", "text"), FIELDS, ids=[field for _, field, _ in FIELDS])
def test_a_control_character_inside_is_named(make: Any, field: str, text: str, char: str) -> None:
    problems = problems_of(make(f"{text[:4]}{char}{text[4:]}"))
    assert list(problems) == [field]
    assert problems[field].startswith(f"holds a control character (U+{ord(char):04X})")


@pytest.mark.parametrize(("make", "field", "text"), FIELDS, ids=[field for _, field, _ in FIELDS])
def test_what_holds_nothing_that_can_be_seen_is_refused(make: Any, field: str, text: str) -> None:
    assert text
    assert "nothing that can be seen" in problems_of(make("\u200b\ufeff"))[field]


@pytest.mark.parametrize(
    "address",
    [
        "ada", "ada@", "@example.com", "ada@example.com,bob@example.com", "ada@example.com; bob@example.com",
        "ada@example.com bob@example.com", "Ada <ada@example.com>", "<ada@example.com>", "mailto:ada@example.com",
        "ada @example.com", "ada@ example.com", "ada@example.com@example.com", '"ada"@example.com', "ada@example..com",
        "ada@example.com.", "ada@.example.com", "ada@example.com (Ada)", "[ada@example.com](ada@example.com)",
        "a" * 10_000,
    ],
)  # fmt: skip
def test_an_email_that_is_not_one_address_is_refused(address: str) -> None:
    [(field, text)] = problems_of(in_app(to={"type": "user", "email": address})).items()
    assert field == "to.email"
    assert text.startswith("must be one email address alone")
    assert "bob" not in text


@pytest.mark.parametrize(
    "address",
    [
        "ada@example.com",
        "ada.l+news@mail.example.co.uk",
        "o'brien@example.ie",
        "\u00e4da@ex\u00e4mple.de",
        "a@localhost",
    ],
)
def test_an_email_address_travels_as_it_was_given(address: str) -> None:
    assert parsed(in_app(to={"type": "user", "email": address})).wire(1)["to"]["email"] == address


def test_the_case_of_an_email_makes_no_other_person() -> None:
    one, other = (
        in_app(to={"type": "user", "email": given}) for given in ("Ada@Example.com", "ada@example.COM \u200b")
    )
    assert parsed(one).recipients == parsed(other).recipients


@pytest.mark.parametrize(
    ("phone", "advice"),
    [
        ("+44 7900 123456", "without blanks"),
        ("+44-7900-123-456", "without blanks"),
        ("+44.7900.123456", "without blanks"),
        ("+44 (0)7900 123456", "leave the (0) out"),
        ("+44\u20117900\u2011123456", "without blanks"),
        ("0044 7900 123456", "in place of the 00"),
        ("00447900123456", "in place of the 00"),
        ("07900 123456", "the country code in place of the 0"),
        ("447900123456", "lacks the plus sign"),
        ("44 7900 123456", "lacks the plus sign"),
        ("tel:+447900123456", "without a word and a colon"),
        ("whatsapp:+447900123456", "without a word and a colon"),
        ("+\u0664\u0664\u0667\u0669\u0660\u0660\u0661\u0662\u0663\u0664", "digits of another script"),
        ("+44 call me", "a plus sign, the country code and the number"),
        ("+" + "4" * 100_000, "a plus sign, the country code and the number"),
    ],
)
def test_a_phone_in_another_format_says_how_to_write_it(phone: str, advice: str) -> None:
    text = problems_of(whatsapp(to={"phone": phone}))["to.phone"]
    assert text.startswith("must be in E.164: ")
    assert advice in text
    assert text.endswith("(+447900123456)")
    assert len(text) < 150


@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda text: email(subject=text), "subject"),
        (lambda text: whatsapp(to={"phone": "+447700900123", "name": text}), "to"),
    ],
)
@pytest.mark.parametrize(
    "broken", ["Your\norder", "Your\r\norder", " Your \t order ", "Your\u2028order\n\n", "Your\v\f order"]
)
def test_a_line_break_in_a_line_for_people_becomes_a_blank(make: Any, field: str, broken: str) -> None:
    assert "Your order" in str(parsed(make(broken)).wire(1)[field])


@pytest.mark.parametrize("char", ["\0", "\x01", "\x08", "\x1b", "\x7f"])
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda text: email(subject=text), "subject"),
        (lambda text: email(body=text), "body"),
        (lambda text: sms(body=text), "body"),
        (lambda text: whatsapp(to={"phone": "+447700900123", "name": text}), "to.name"),
    ],
)
def test_a_control_character_in_a_text_for_people_is_refused(make: Any, field: str, char: str) -> None:
    [(named, text)] = problems_of(make(f"Hello{char} Ada")).items()
    assert (named, f"(U+{ord(char):04X})" in text) == (field, True)


@pytest.mark.parametrize("text", ["\u200b", "\u00a0\ufeff", "\u2800\n\u3164", " \u2060 "])
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda text: email(subject=text), "subject"),
        (lambda text: in_app(body=text), "body"),
        (lambda text: whatsapp(to={"phone": "+447700900123", "name": text}), "to.name"),
    ],
)
def test_a_text_that_nobody_can_see_is_refused(make: Any, field: str, text: str) -> None:
    assert problems_of(make(text)) == {field: "holds nothing that can be seen"}


def test_what_people_write_stays_as_it_is() -> None:
    body = "Salut \u200d\U0001f469\u200d\U0001f4bb\u00a0!\n\tLigne 2\r\n\u0645\u06cc\u200c\u062e"
    assert parsed(email(body=body)).wire(1)["body"] == body
    assert (
        parsed(email(subject="\u00a1Hola! \u2764\ufe0f\u00a0x")).wire(1)["subject"] == "\u00a1Hola! \u2764\ufe0f\u00a0x"
    )
    assert parsed(email(body="Page 1\fPage 2")).wire(1)["body"] == "Page 1\nPage 2"


@pytest.mark.parametrize("ends", ["{}\n", " {}", "\u200b{}"])
def test_choices_are_stripped(ends: str) -> None:
    plain = email(template="personal", body_format="text", to={"type": "lead", "id": "1"})
    given = {name: ends.format(plain[name]) for name in ("message_type", "template", "body_format")}
    assert parsed({**plain, **given, "to": {"type": ends.format("lead"), "id": "1"}}).wire(1) == parsed(plain).wire(1)
    assert parsed(whatsapp(body_format=ends.format("html"))) == parsed(whatsapp())
