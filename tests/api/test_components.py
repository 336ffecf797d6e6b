"""Parameters of WhatsApp templates, checked by their place and by Meta's rules."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.messages import parsed, problems_of, whatsapp


def body(*parameters: object) -> list[dict[str, Any]]:
    return [{"type": "BODY", "parameters": list(parameters)}]


def text(value: object) -> dict[str, Any]:
    return {"type": "text", "text": value}


def found_in(components: object) -> dict[str, str]:
    return problems_of(whatsapp(components=components))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ("Line 1\nLine 2", "line break"),
        ("Line 1\r\nLine 2", "line break"),
        ("ends with one\n", "line break"),
        ("Line 1\u2028Line 2", "line break"),
        ("Line 1\vLine 2", "line break"),
        ("a\tb", "tab"),
        ("a     b", "more than 4 blanks"),
        ("a" + " " * 100_000, "more than 4 blanks"),
        ("", "is empty"),
        (" ", "is empty"),
        ("\u200b", "is empty"),
        ("\u00a0\ufeff", "is empty"),
        ("a\0b", "U+0000"),
        ("a\x1bb", "U+001B"),
        ("x" * 32_769, "32,769 characters"),
    ],
)
@pytest.mark.parametrize("kind", ["BODY", "body", "header", "BUTTON"])
def test_a_text_that_whatsapp_refuses_is_refused_by_name(kind: str, value: str, named: str) -> None:
    problems = found_in([{"type": kind, "parameters": [text("fine"), text(value)]}])
    if kind == "BUTTON" and len(value) == 32_769:
        assert problems == {}
        return
    assert list(problems) == ["components.0.parameters.1.text"]
    assert named in problems["components.0.parameters.1.text"]


@pytest.mark.parametrize(
    "value", ["Ada", "a    b", " a ", "\u00a0a", "x" * 32_768, "caf\u00e9 \U0001f469\u200d\U0001f4bb", "None"]
)
def test_a_text_that_whatsapp_may_take_is_sent(value: str) -> None:
    assert parsed(whatsapp(components=body(text(value)))).wire(1)["components"] == body(text(value))


def test_the_length_is_limited_by_the_place() -> None:
    header: dict[str, Any] = {"type": "header", "parameters": [text("x" * 61)]}
    assert list(found_in([header])) == ["components.0.parameters.0.text"]
    assert found_in([{**header, "parameters": [text("x" * 60)]}]) == {}
    assert found_in(body(text("x" * 1_025))) == {}
    with_button = [
        *body(text("x" * 1_025)),
        {"type": "button", "sub_type": "url", "index": 0, "parameters": [text("a")]},
    ]
    assert "at most 1,024" in found_in(with_button)["components.0.parameters.0.text"]


@pytest.mark.parametrize(
    ("parameter", "field"),
    [
        (text(5), "text"),
        (text(None), "text"),
        (text(["Ada"]), "text"),
        ({"text": 5}, "text"),
        ({"type": "TEXT", "text": 5}, "text"),
        ({"type": "text", "parameter_name": "first_name", "text": 5}, "text"),
        ({"type": "coupon_code", "coupon_code": 202512}, "coupon_code"),
        ({"type": "payload", "payload": {"a": 1}}, "payload"),
        ({"type": "payload", "payload": 5}, "payload"),
        ({"type": "currency", "currency": {"fallback_value": 9.9, "code": "EUR"}}, "currency.fallback_value"),
        ({"type": "date_time", "date_time": {"fallback_value": 20240501}}, "date_time.fallback_value"),
        ({"type": "image", "image": {"link": 5}}, "image.link"),
        ({"type": "document", "document": {"link": "https://a.example", "filename": 5}}, "document.filename"),
        ({"type": "location", "location": {"latitude": 1.5, "name": 5}}, "location.name"),
    ],
)
@pytest.mark.parametrize("kind", ["body", "button"])
def test_the_text_of_a_parameter_is_checked_where_it_stands(kind: str, parameter: object, field: str) -> None:
    found = found_in([{"type": kind, "parameters": [parameter]}])
    assert list(found) == [f"components.0.parameters.0.{field}"]
    assert any(words in found[f"components.0.parameters.0.{field}"] for words in (", not text", "is missing"))


@pytest.mark.parametrize(
    ("parameter", "field"),
    [
        ({"type": "coupon_code", "coupon_code": ""}, "coupon_code"),
        ({"type": "image", "image": {"link": " "}}, "image.link"),
        ({"type": "document", "document": {"link": "\u200b", "filename": ""}}, "document.link"),
        ({"type": "currency", "currency": {"fallback_value": "", "code": "EUR"}}, "currency.fallback_value"),
        ({"type": "date_time", "date_time": {"fallback_value": "\u2800"}}, "date_time.fallback_value"),
    ],
)
def test_a_parameter_of_any_type_that_shows_nothing_is_refused_by_name(parameter: object, field: str) -> None:
    found = found_in([{"type": "header", "parameters": [parameter]}])
    assert list(found) == [f"components.0.parameters.0.{field}"]
    assert "is empty" in found[f"components.0.parameters.0.{field}"]


@pytest.mark.parametrize(
    "component",
    [
        {"type": "button", "sub_type": "flow", "index": "0", "parameters": [
            {"type": "action", "action": {"flow_token": "x", "flow_action_data": {"text": 5, "type": "text"}}},
        ]},
        {"type": "button", "sub_type": "catalog", "parameters": [
            {"type": "action", "action": {"thumbnail_product_retailer_id": 5, "sections": [{"text": 5}]}},
        ]},
        {"type": "limited_time_offer", "parameters": [
            {"type": "limited_time_offer", "limited_time_offer": {"expiration_time_ms": 1_700_000_000_000}},
        ]},
        {"type": "header", "parameters": [{"type": "image", "image": {"id": 123}}]},
        {"type": "body", "parameters": [{"type": "currency", "currency": {"amount_1000": 5, "code": "EUR"}}]},
        {"type": "body", "text": 5},
        {"type": "body", "parameters": None},
        {"type": "body", "parameters": []},
        {"type": "new_in_2031", "parameters": [{"type": "new", "new": {"text": 5}, "text": 5}]},
        {"text": 5, "type": "footer", "example": {"body_text": [[5]]}},
    ],
)  # fmt: skip
def test_free_json_and_what_is_not_known_are_left_alone(component: dict[str, Any]) -> None:
    assert parsed(whatsapp(components=[component])).wire(1)["components"] == [component]


def test_the_cards_of_a_carousel_are_checked() -> None:
    cards = [{"card_index": 0, "components": body(text("fine"))}, {"card_index": 1, "components": body(text("a\nb"))}]
    found = found_in([{"type": "carousel", "cards": cards}])
    assert list(found) == ["components.0.cards.1.components.0.parameters.0.text"]


@pytest.mark.parametrize(
    ("components", "field", "words"),
    [
        (["Ada"], "components.0", "must be an object such as"),
        ([*body(text("a")), ["Ada"]], "components.1", "must be an object such as"),
        (body("Ada"), "components.0.parameters.0", "must be an object such as"),
        (body(text("a"), None), "components.0.parameters.1", "must be an object such as"),
        ([{"type": "body", "parameters": "Ada"}], "components.0.parameters", "must be a list"),
        (
            [{"type": "body", "parameters": {"type": "text", "text": "Ada"}}],
            "components.0.parameters",
            "must be a list",
        ),
        (body({"type": "text"}), "components.0.parameters.0.text", "is missing"),
    ],
)
def test_what_is_not_a_component_is_named_by_its_place(components: object, field: str, words: str) -> None:
    assert words in found_in(components)[field]


def test_all_wrong_parameters_are_named_at_once() -> None:
    assert len(found_in(body(text(""), text(5), "Ada", text("fine")))) == 3
