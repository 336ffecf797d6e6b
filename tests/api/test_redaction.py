"""Intercom's words, quoted without people."""

from __future__ import annotations

import pytest

from intercom_provider.api.redaction import mask_contact_details, redact

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
