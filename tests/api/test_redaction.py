"""What is hidden in the words of the other side, and what stays readable."""

from __future__ import annotations

import time

import pytest

from intercom_provider.api.redaction import mask_contact_details, redact

TOKEN = "dG9rZW4tb2YtdGhlLWNvbm5lY3Rpb24"


@pytest.mark.parametrize(
    "contact",
    [
        "bob.smith@example.com",
        "BOB@EXAMPLE.CO.UK",
        "bob+news@example.com",
        "bob%40example.com",
        "bob%2540example.com",
        "bob&#64;example.com",
        "bob\\u0040example.com",
        "bob(at)example.com",
        "bob [at] example [dot] com",
        "bob\uff20example.com",
        "bob@\u200bexample.com",
        "bob@localhost",
        "b\u00f6b@ex\u00e4mple.de",
        "o'brien@example.com",
        '"bob smith"@example.com',
        "bob@[192.168.0.1]",
        "+447900123456",
        "+44 7900 123456",
        "+44 (0)7900-123-456",
        "0044 7900 123456",
        "447900123456",
        "07900 123456",
        "07900123456",
        "(415) 555-2671",
        "415.555.2671",
        "415-555-2671",
        "555-2671",
        "%2B447900123456",
        "+44%207900%20123456",
        "+44\u00a07900\u00a0123456",
        "+44\u20117900\u2011123456",
        "+44\u200b7900\u200b123456",
        "\uff0b\uff14\uff14\uff17\uff19\uff10\uff10\uff11\uff12\uff13\uff14\uff15\uff16",
        "+\u0664\u0664\u0667\u0669\u0660\u0660\u0661\u0662\u0663\u0664\u0665\u0666",
        "\u0667\u0669\u0660\u0660\u0661\u0662\u0663\u0664\u0665\u0666",
        "tel:+447900123456",
        "+4479001234567x",
    ],
)
@pytest.mark.parametrize("around", ["{}", "Users match {} twice", "to=<{}>, again", "'{}'", "({})", "field:{};"])
def test_whatever_looks_like_a_contact_is_hidden(contact: str, around: str) -> None:
    for said in (redact(around.format(contact), [TOKEN]), mask_contact_details(around.format(contact))):
        plain = said.lower()
        for part in (
            "bob",
            "brien",
            "smith",
            "example",
            "7900",
            "123456",
            "2671",
            "555",
            "\u0667\u0669",
            "\uff17\uff19",
        ):
            assert part not in plain
        assert "***" in said


@pytest.mark.parametrize(
    "words",
    [
        "User 6762f2341bb69f9f2193bc17 not found",
        "Contact 550e8400-e29b-41d4-a716-446655440000 is archived",
        "Message wamid.HBgLNDQ3OTAwMTIzNDU2FQIAERgSQTlG is unknown",
        "request 000mhgdb8ljt8g9oa8g0",
        "Exceeded rate limit of 167 in 10_seconds",
        "(#131026) Message undeliverable, code 131026",
        "at most 4096 characters, 1,000,000 bytes",
        "Version 2.17 ends 2026-11-27 10:15",
        "Conversation 123456789012345678901 is closed",
        "created_at must be a unix timestamp",
        "template order_shipped_2 @ version 3",
        "5 @ 10",
    ],
)
def test_ids_codes_and_dates_stay_readable(words: str) -> None:
    assert redact(words, [TOKEN]) == words
    assert mask_contact_details(words) == words


def test_numbers_that_the_request_names_stay_readable() -> None:
    words = "Admin 991267816 has no seat; call 991267817"
    assert redact(words, [TOKEN], known=["991267816"]) == "Admin 991267816 has no seat; call ***"


def test_a_private_number_is_hidden_even_if_the_request_names_it() -> None:
    assert redact("No 447900123456", ["+447900123456"], known=["447900123456"]) == "No ***"


@pytest.mark.parametrize("first", ["bob@example.com", "a.very.long.name@mail.example.com"])
def test_reasons_that_differ_only_in_a_contact_are_one_reason(first: str) -> None:
    words = "Multiple existing users match this email address {}"
    assert redact(words.format(first), []) == redact(words.format("x@y.z"), [])


def test_nothing_that_cannot_be_stored_is_quoted() -> None:
    assert redact("a\0b\x1b[31mc\u202ed\ud800", []) == "a b [31mcd?"


def test_an_address_at_the_end_of_what_is_quoted_is_hidden_whole() -> None:
    for size in range(470, 520):
        said = redact("x" * size + " bob.smith@example.com", [])
        assert "b" not in said


def test_an_address_at_the_end_of_what_is_searched_is_not_shown() -> None:
    for size in range(1_150, 2_020, 7):
        assert "bob" not in redact("a@b.c " * (size // 6) + "bob.smith@example.com", [])


BIG = 1_000_000


@pytest.mark.parametrize(
    "text",
    [
        "x" * BIG,
        "word " * (BIG // 5),
        "$" * BIG,
        "${" * (BIG // 2),
        "@" * BIG,
        "a@" * (BIG // 2),
        "7" * BIG,
        "1 " * (BIG // 2),
        "+4 (" * (BIG // 4),
        "\\" * BIG,
        "%40" * (BIG // 3),
        "e\u0301\u0323" * (BIG // 3),
        "\u0301" * BIG,
        "\u200b" * BIG,
        " " * BIG,
        "(at)" * (BIG // 4),
        "".join(map(chr, range(0x20, 0xD000))) * 20,
    ],
    ids=lambda text: repr(text[:4]),
)
def test_quoting_takes_linear_time_whatever_is_quoted_or_private(text: str) -> None:
    def seconds(size: int) -> float:
        started = time.process_time()
        redact(text[:size], [text[:size], TOKEN, text[size // 2 : size]])
        redact("Refused: " + text[:200] + "x", [text[:size]])
        return time.process_time() - started

    assert seconds(BIG) < max(10.0, 300 * seconds(BIG // 100))


def test_a_megabyte_that_is_private_costs_next_to_nothing() -> None:
    body = "".join(f"Line {number} of a long letter to a customer.\n" for number in range(25_000))
    started = time.process_time()
    said = redact(f"Body is invalid near {body[500_000:500_060]!r}", [body])
    assert time.process_time() - started < 5.0
    assert "letter" not in said


PHONE, EMAIL, BODY = "+447900900905", "ada@example.com", "the secret of the surprise party"


@pytest.mark.parametrize(
    "said",
    [
        "+447900900905 is bad",
        "no 447900900905",
        "call +44 7900 900905 now",
        "07900900905",
        "0044-7900-900905",
        "(7900) 900 905",
        "ADA@example.com",
        "ada%40example.com",
        "İİİİ ada@example.com is bad",
        "the body 'secret of the surprise' is bad",
    ],
)
def test_private_texts_are_hidden_in_every_spelling(said: str) -> None:
    quoted = redact(said, [BODY, EMAIL, PHONE])
    assert "***" in quoted
    for private in ("900905", "900 905", "ada@", "ADA@", "ada%40", "surprise"):
        assert private not in quoted


def test_text_that_is_not_private_stays_as_it_was() -> None:
    said = "Contact 6762f2391bb69f9f2193bc19 not found (code 131026), try 2026-11-21"
    assert redact(said, [BODY, EMAIL, PHONE]) == said


def test_half_a_letter_becomes_text_that_can_be_stored() -> None:
    assert redact("a\ud800b", []).encode() == b"a?b"


def test_whatsapps_reasons_name_no_number_and_no_address() -> None:
    said = "Recipient +44 7900 900905 (ada@example.com) is not on WhatsApp, error 131026"
    assert mask_contact_details(said) == "Recipient *** (***) is not on WhatsApp, error 131026"
