from __future__ import annotations

import html
import random
from decimal import Decimal
from typing import Any

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.sending.batch.defaults import CompletedMessage, Defaults
from tests.support.messages import ADA, email, in_app, sms, whatsapp

NAUGHTY = "{{ 7 * 7 }} ${other} $${x} {% raw %} <b onclick=\"x('y')\">&amp;</b> \\1 \\g<0> $"


def filled(message: dict[str, Any], defaults: object = None) -> CompletedMessage:
    return Defaults(defaults).apply_defaults(message)


def body(text: str, **params: Any) -> Any:
    return filled(sms(body=text, params=params)).fields["body"]


def problems(defaults: object, message: dict[str, Any] | None = None) -> dict[str, str]:
    with pytest.raises(InvalidInputError) as caught:
        filled(message or {}, defaults)
    return {problem.field: problem.text for problem in caught.value.problems}


@pytest.mark.parametrize("missing", [None, "", " ", "None"])
def test_defaults_fill_what_a_message_leaves_out(missing: object) -> None:
    made = filled({"subject": missing, "body": "mine"}, {"subject": "News", "body": "theirs", "locale": missing})
    assert made.fields == {"subject": "News", "body": "mine"}
    assert made.shared == {"subject"}


def test_nested_values_are_replaced_and_not_merged() -> None:
    assert filled({"to": {"phone": "+1"}}, {"to": {"name": "Ada"}}).fields["to"] == {"phone": "+1"}


@pytest.mark.parametrize("nothing", [None, "", "None", {}, "{}"])
def test_there_need_be_no_defaults(nothing: object) -> None:
    assert filled(in_app(), nothing).fields == in_app()


@pytest.mark.parametrize("text", ['{"subject": "News", "params": {"a": 1}}', "{'subject': 'News'}"])
def test_defaults_may_come_as_text(text: str) -> None:
    assert filled({}, text).fields == {"subject": "News"}


@pytest.mark.parametrize(
    ("text", "params", "result"),
    [
        ("Hi ${a}, ${a} and ${b}", {"a": "Ada", "b": "Bob"}, "Hi Ada, Ada and Bob"),
        ("${a}${b}", {"a": 1.0, "b": 2.5}, "12.5"),
        ("${a}", {"a": Decimal("9.90")}, "9.90"),
        ("[${a}]", {"a": ""}, "[]"),
        ("${a}", {"a": "None"}, "None"),
        ("${ a }", {"a": "x"}, "x"),
        ("${first-name} ${user.city} ${\u00e9t\u00e9} ${two words}",
         {"first-name": "a", "user.city": "b", "\u00e9t\u00e9": "c", "two words": "d"}, "a b c d"),
        ("$${a}", {"a": "x"}, "${a}"),
        ("$$${a}", {"a": "5"}, "$5"),
        ("$$$${a}", {"a": "5"}, "$${a}"),
        ("$5 $a $$ ${ ${} $ {a} {a} ${a", {"a": "x"}, "$5 $a $$ ${ ${} $ {a} {a} ${a"),
        ("${a}", {"a": "${b} $${b} {{ b }}", "b": "x"}, "${b} $${b} {{ b }}"),
        ("${${a}}", {"a": "b", "b": "x"}, "${b}"),
        ("{{ a }} {% a %}", {"a": "x"}, "{{ a }} {% a %}"),
        ("plain", {"unused": "x"}, "plain"),
    ],
)  # fmt: skip
def test_texts_are_filled_once(text: str, params: dict[str, Any], result: str) -> None:
    assert body(text, **params) == result


def test_every_text_is_filled_but_types_formats_and_keys() -> None:
    made = filled(
        whatsapp(
            to={"phone": "${phone}", "name": "${name}"},
            template="order_${lang}",
            components=[{"type": "BODY", "parameters": ({"type": "text", "text": "${name}"}, {"n": 5, "x": None})}],
            key="order-5",
            params={"phone": "+447700900123", "name": "<Ada>", "lang": "en"},
        )
    )
    assert made.fields == whatsapp(
        to={"phone": "+447700900123", "name": "<Ada>"},
        template="order_en",
        components=[{"type": "BODY", "parameters": [{"type": "text", "text": "<Ada>"}, {"n": 5, "x": None}]}],
        key="order-5",
    )
    assert not made.missing


def test_a_param_cannot_add_fields_to_an_object_that_came_as_text() -> None:
    value = '"}, {"type": "text", "text": "more'
    made = filled(whatsapp(components='[{"type": "BODY", "text": "${a}"}]', params={"a": value}))
    assert made.fields["components"] == [{"type": "BODY", "text": value}]
    broken = '[{"type": "BODY", "text": ${a}}]'
    assert filled(whatsapp(components=broken, params={"a": value})).fields["components"] == broken
    assert filled(whatsapp(to="${a}", params={"a": '{"phone": "+447700900123"}'})).fields["to"] == "${a}"


@pytest.mark.parametrize(
    ("message", "escaped"),
    [
        (in_app(), True),
        (in_app(message_type="inapp"), True),
        (email(body_format="html"), True),
        (email(body_format="None"), True),
        (email(body_format="text"), False),
        (in_app(body_format="text"), False),
        (sms(), False),
    ],
)
def test_params_are_escaped_where_the_body_is_html(message: dict[str, Any], escaped: bool) -> None:
    made = filled({**message, "body": "<i>${a}</i>", "subject": "${a}", "params": {"a": NAUGHTY}}).fields
    assert made["body"] == f"<i>{html.escape(NAUGHTY) if escaped else NAUGHTY}</i>"
    assert made["subject"] == NAUGHTY


def test_the_body_format_of_the_defaults_counts() -> None:
    defaults = {"message_type": "email", "body_format": "text", "body": "${a}"}
    assert filled({"params": {"a": "<"}}, defaults).fields["body"] == "<"
    assert filled({"params": {"a": "<"}, "body_format": "html"}, defaults).fields["body"] == "&lt;"


@pytest.mark.parametrize("params", [{}, {"params": None}, {"params": ""}, {"params": "None"}])
@pytest.mark.parametrize("defaults", [None, {"subject": "News"}, {"subject": "${literally}", "params": None}])
def test_a_message_without_params_is_not_touched(params: dict[str, Any], defaults: Any) -> None:
    message = email(body=NAUGHTY, to='{"type": "user", "id": "${x}"}')
    made = filled({**message, **params}, defaults)
    assert made.fields == message
    assert not made.missing


def test_texts_of_the_defaults_never_leave_with_a_param_unfilled() -> None:
    defaults = Defaults({"body": "Hi ${first_name}", "subject": "$${x}"})
    made = defaults.apply_defaults({"to": ADA})
    assert (made.missing, set(made.unfilled), made.fields["subject"]) == (("first_name",), {"body"}, "${x}")
    assert defaults.apply_defaults({"body": "Hi ${first_name}", "subject": "n"}).missing == ()


@pytest.mark.parametrize("params", [{}, {"b": "x"}, {"a": None}, "{}"])
def test_a_missing_param_is_named(params: object) -> None:
    made = filled(email(subject="${a}", body="${a} ${c} ${b}", params=params))
    assert made.missing == (("a", "c") if params == {"b": "x"} else ("a", "c", "b"))
    assert made.unfilled == {"subject", "body"}
    assert made.fields["subject"] == "${a}"


@pytest.mark.parametrize(
    ("params", "result"),
    [
        (None, "friend of Rome"),
        ({}, "friend of Rome"),
        ({"name": "Ada"}, "Ada of Rome"),
        ({"name": None}, "friend of Rome"),
        ({"name": "", "city": "Paris"}, " of Paris"),
    ],
)
def test_params_of_the_defaults_replace_missing_params_one_by_one(params: object, result: str) -> None:
    defaults = {"body": "${name} of ${city}", "params": {"name": "friend", "city": "Rome", "none": None}}
    assert filled({"message_type": "sms", "params": params}, defaults).fields["body"] == result


def test_a_filled_field_of_the_defaults_counts_as_the_messages_own() -> None:
    made = filled({"params": {"a": "x"}}, {"subject": "${a}", "body": "b"})
    assert made.shared == {"body"}


@pytest.mark.parametrize(
    "wrong", [True, ["a"], {"a": 1}, b"a", float("inf"), Decimal("-Infinity"), 0.1 + 0.2, 1e-7, 1e300, 2.0**60]
)
def test_params_are_texts_and_numbers(wrong: object) -> None:
    params = {"first_name": wrong, "other": "x", "second": wrong}
    assert list(problems(None, {"params": params})) == ["params.first_name", "params.second"]
    assert list(problems({"params": params})) == ["defaults.params.first_name", "defaults.params.second"]


@pytest.mark.parametrize("wrong", ["Ada", ["a"], 5, True, '["a"]'])
def test_params_are_an_object(wrong: object) -> None:
    assert "object" in problems(None, {"params": wrong})["params"]
    assert "object" in problems({"params": wrong})["defaults.params"]


@pytest.mark.parametrize("wrong", ["Hello", ["a"], [{}], 5, True, "[1]", b"{}", '{"a": '])
def test_defaults_are_an_object(wrong: object) -> None:
    assert "object" in problems(wrong)["defaults"]


def test_defaults_hold_fields_of_a_message_alone() -> None:
    assert list(problems({"colour": "red", "body": "b", 5: 1})) == ["defaults.colour", "defaults.5"]


@pytest.mark.parametrize("key", ["autumn", "customer-${id}", 7])
def test_one_key_for_all_would_leave_all_but_one_unsent(key: object) -> None:
    assert "of its own" in problems({"key": key, "body": "b"})["defaults.key"]


def test_a_key_that_asks_for_a_param_is_refused_where_there_are_params() -> None:
    own = {"key": "order-${id}", "body": "b"}
    assert "not filled" in problems(None, {**own, "params": {"id": 5}})["key"]
    assert "not filled" in problems({"params": {"id": 5}}, own)["key"]
    assert filled(in_app(**own)).fields["key"] == "order-${id}"


@pytest.mark.parametrize("seed", range(4))
def test_customers_words_arrive_as_written(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    pieces = [
        "${",
        "$${",
        "}",
        "{{",
        "}}",
        "{%",
        "name",
        "$",
        "\\",
        "\\g<1>",
        "<b>",
        '"',
        "'",
        "&",
        "\n",
        " ",
        "\U0001f600",
    ]
    for _ in range(300):
        words = "".join(chance.choices(pieces, k=chance.randint(0, 8)))
        template = "Dear ${name}: ${name} $${name}"
        params = {"name": words}
        assert filled(sms(body=template, params=params)).fields["body"] == f"Dear {words}: {words} ${{name}}"
        safe = html.escape(words)
        assert filled(in_app(body=template, params=params)).fields["body"] == f"Dear {safe}: {safe} ${{name}}"
        assert filled(in_app(body=words)).fields.get("body", "") == (words if words.strip() else "")


def test_params_that_no_text_asks_for_are_known() -> None:
    defaults = Defaults({"body": "Hi ${first_name}", "params": {"city": "Rome", "first_name": "you"}})
    for row in (
        {"params": {"first_name": "Ada", "plan": "pro"}},
        {"subject": "${plan} $${kept}", "params": {"kept": 1}},
    ):
        defaults.apply_defaults({"message_type": "email", "to": ADA, **row})
    assert defaults.unused_params == ["city", "kept"]
