from __future__ import annotations

import itertools
import json
import random
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Any

import pendulum
import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.message import MESSAGE_FIELDS, check_version, parse_message
from tests.support.messages import ADA, BOB, COMPONENTS, email, in_app, parsed, problems_of, sms, whatsapp

ADMIN = {"type": "admin", "id": "814860"}
KINDS = {"in_app": in_app, "email": email, "sms": sms, "whatsapp": whatsapp}


def wire_of(fields: dict[str, Any]) -> dict[str, Any]:
    return parsed(fields).wire("814860")


@pytest.mark.parametrize(
    ("fields", "wire"),
    [
        (in_app(), {"message_type": "inapp", "from": ADMIN, "to": ADA, "body": "Hello"}),
        (in_app(message_type="inapp"), {"message_type": "inapp", "from": ADMIN, "to": ADA, "body": "Hello"}),
        (
            email(),
            {
                "message_type": "email",
                "from": ADMIN,
                "to": ADA,
                "subject": "News",
                "template": "plain",
                "body": "Hello",
            },
        ),
        (sms(), {"message_type": "sms", "from": ADMIN, "to": ADA, "body": "Hello"}),
        (
            whatsapp(locale="en_GB"),
            {
                "message_type": "whatsapp",
                "from": ADMIN,
                "to": {"phone": "+447700900123", "name": "Ada"},
                "template": "order_shipped",
                "components": COMPONENTS,
                "locale": "en_GB",
            },
        ),
        (
            whatsapp(to={"phone": "+447700900123"}, components=None),
            {
                "message_type": "whatsapp",
                "from": ADMIN,
                "to": {"phone": "+447700900123"},
                "template": "order_shipped",
                "components": [],
            },
        ),
    ],
)
def test_each_type_travels_as_intercom_wants_it(fields: dict[str, Any], wire: dict[str, Any]) -> None:
    assert wire_of(fields) == wire


def test_every_field_that_was_given_travels_and_the_key_does_not() -> None:
    wire = wire_of(
        email(
            template="personal",
            from_admin_id=814861,
            cc=BOB,
            bcc=[ADA, BOB],
            created_at=1_700_000_000,
            create_conversation_without_contact_reply=True,
            key="order-4711",
        )
    )
    assert wire == {
        "message_type": "email",
        "from": {"type": "admin", "id": 814861},
        "to": ADA,
        "cc": BOB,
        "bcc": [ADA, BOB],
        "subject": "News",
        "template": "personal",
        "body": "Hello",
        "created_at": 1_700_000_000,
        "create_conversation_without_contact_reply": True,
    }


@pytest.mark.parametrize("copy", ["cc", "bcc"])
@pytest.mark.parametrize(("given", "travels"), [(BOB, BOB), ([BOB], BOB), ((ADA, BOB), [ADA, BOB])])
def test_copies_travel_alone_or_as_a_list(copy: str, given: object, travels: object) -> None:
    assert wire_of(email(**{copy: given}))[copy] == travels


@pytest.mark.parametrize("given", [ADA, [ADA]])
def test_a_shared_conversation_always_travels_as_a_list(given: object) -> None:
    assert wire_of(in_app(to=given, shared_conversation=True))["to"] == [ADA]


def test_a_false_for_the_conversation_travels() -> None:
    wire = wire_of(in_app(create_conversation_without_contact_reply=False))
    assert wire["create_conversation_without_contact_reply"] is False


@pytest.mark.parametrize(
    ("kind", "body_format", "body"),
    [
        (in_app, "html", "<b>5 > 3</b>\nnext & last"),
        (in_app, "text", "&lt;b&gt;5 &gt; 3&lt;/b&gt;<br>\nnext &amp; last"),
        (email, "text", "&lt;b&gt;5 &gt; 3&lt;/b&gt;<br>\nnext &amp; last"),
        (sms, "text", "<b>5 > 3</b>\nnext & last"),
        (sms, "html", "<b>5 > 3</b>\nnext & last"),
    ],
)
def test_text_is_escaped_where_the_body_is_html(kind: Any, body_format: str, body: str) -> None:
    fields = kind(body="<b>5 > 3</b>\nnext & last", body_format=body_format)
    assert wire_of(fields)["body"] == body


@pytest.mark.parametrize("separator", ["\n", "\r\n"])
def test_lines_of_text_stay_lines(separator: str) -> None:
    assert wire_of(in_app(body=f"a{separator}b", body_format="text"))["body"] == "a<br>\nb"


def test_quotes_in_text_cannot_leave_an_attribute() -> None:
    assert wire_of(in_app(body="\"'", body_format="text"))["body"] == "&quot;&#x27;"


@pytest.mark.parametrize(
    ("fields", "field", "words"),
    [
        (in_app(message_type="conversation"), "message_type", "in_app, email, whatsapp, sms"),
        (in_app(message_type="contact"), "message_type", "unknown"),
        (in_app(message_type=5), "message_type", "unknown"),
        (in_app(message_type=["email"]), "message_type", "unknown"),
        (in_app(message_type=None), "message_type", "missing"),
        (in_app(to=None), "to", "missing"),
        (in_app(to=""), "to", "missing"),
        (in_app(to="None"), "to", "missing"),
        (in_app(to="ada"), "to", "tojson"),
        (in_app(to=5), "to", "tojson"),
        (in_app(to=[], shared_conversation=True), "to", "at least 1"),
        (in_app(to={}), "to.type", "missing"),
        (in_app(to={"type": "user"}), "to", "exactly one"),
        (in_app(to={"type": "user", "id": "None"}), "to.id", "stands for a missing value"),
        (in_app(to={"type": "user", "id": "a", "email": "a@b.c"}), "to", "exactly one"),
        (in_app(to={"type": "admin", "id": 1}), "to.type", "not teammates"),
        (in_app(to={"type": "contact", "id": 1}), "to.type", "user or lead"),
        (in_app(to={"type": ["user"], "id": 1}), "to.type", "user or lead"),
        (in_app(to={"id": "ada"}), "to.type", "missing"),
        (in_app(to={"type": "user", "id": True}), "to.id", "not an id"),
        (in_app(to={"type": "user", "id": 1.5}), "to.id", "no whole number"),
        (in_app(to={"type": "user", "email": 5}), "to.email", "is a number, not text"),
        (in_app(to={"type": "user", "id": "a", "phone": "+447700900123"}), "to.phone", "not a field"),
        (in_app(to=[ADA, BOB]), "to", "SendMessageBatchOperator"),
        (in_app(to=(ADA,)), "to", "shared_conversation=True"),
        (in_app(to=json.dumps([ADA])), "to", "shared_conversation=True"),
        (in_app(to=[ADA], shared_conversation="false"), "to", "shared_conversation=True"),
        (in_app(shared_conversation="perhaps"), "shared_conversation", "true or false"),
        (in_app(body=None), "body", "missing"),
        (in_app(body="  "), "body", "missing"),
        (in_app(body=42), "body", "is a number, not text"),
        (in_app(body=["a"]), "body", "is a list, not text"),
        (in_app(subject="News"), "subject", "not a field"),
        (in_app(template="plain"), "template", "not a field"),
        (in_app(components=COMPONENTS), "components", "not a field"),
        (in_app(body_format="markdown"), "body_format", "html"),
        (in_app(from_admin_id=True), "from_admin_id", "not an id"),
        (in_app(from_admin_id=ADMIN), "from_admin_id", "not an id"),
        (in_app(key=1.5), "key", "no whole number"),
        (in_app(colour="red"), "colour", "not a field"),
        (in_app(create_conversation_without_contact_reply="perhaps"),
         "create_conversation_without_contact_reply", "true or false"),
        (in_app(created_at="yesterday-ish"), "created_at", "not a time"),
        (in_app(created_at=True), "created_at", "not a time"),
        (in_app(created_at=[1]), "created_at", "not a time"),
        (in_app(created_at="P1D"), "created_at", "not a time"),
        (in_app(created_at=float("-inf")), "created_at", "not a time"),
        (in_app(created_at=float("inf")), "created_at", "not a time"),
        (in_app(created_at=10**30), "created_at", "not a time"),
        (email(subject=None), "subject", "needs a subject"),
        (email(subject=7), "subject", "is a number, not text"),
        (email(template="fancy"), "template", "plain"),
        (email(cc={"type": "admin", "id": 1}), "cc.type", "not teammates"),
        (email(cc=[BOB, {"type": "admin", "id": 1}]), "cc.1.type", "not teammates"),
        (email(bcc="bob"), "bcc", "tojson"),
        (whatsapp(template=None), "template", "approved template"),
        (whatsapp(template=5), "template", "is a number, not text"),
        (whatsapp(body="Hello"), "body", "template"),
        (whatsapp(cc=ADA), "cc", "not a field"),
        (whatsapp(to=ADA), "to.phone", "missing"),
        (whatsapp(to="+447700900123"), "to", "phone"),
        (whatsapp(to={"phone": 447700900123}), "to.phone", "with the plus sign and the country code"),
        (whatsapp(to={"phone": "+447700900123", "name": 5}), "to.name", "is a number, not text"),
        (whatsapp(components="BODY"), "components", "list"),
        (whatsapp(components=[{"type": "BODY", "parameters": [{"type": "text", "text": 17}]}]),
         "components.0.parameters.0.text", "is a number, not text"),
        (whatsapp(components=[{"type": "BODY", "parameters": [{"type": "text", "text": None}]}]),
         "components.0.parameters.0.text", "missing"),
        (whatsapp(components=[{"type": "BODY", "at": datetime(2024, 1, 1, tzinfo=UTC)}]),
         "components.0.at", "is a time"),
        (whatsapp(components=[{"type": "BODY", "amount": float("inf")}]), "components.0.amount", "infinite"),
        (whatsapp(components=[{1: {2, 3}}]), "components.0.1", "JSON alone"),
        (in_app(body="half a character: \ud800"), "body", "character|text|unicode"),
    ],
)  # fmt: skip
def test_an_error_names_the_wrong_field(fields: dict[str, Any], field: str, words: str) -> None:
    problems = problems_of(fields)
    named = next((name for name in problems if name in field.split("|")), None)
    assert named is not None, problems
    assert any(word in problems[named] for word in words.split("|")), problems


def test_all_wrong_fields_are_reported_at_once() -> None:
    problems = problems_of(email(to={"type": "admin", "id": 1}, subject=None, body=5, created_at="soon"))
    assert set(problems) == {"to.type", "subject", "body", "created_at"}


@pytest.mark.parametrize("kind", KINDS)
def test_no_error_of_a_field_repeats_its_value(kind: str) -> None:
    secret = "ada-lovelace-4711"
    for name in MESSAGE_FIELDS:
        if name == "message_type":
            continue
        for value in (secret, [secret], {"phone": secret, "text": secret, "type": secret}, {secret}):
            fields = KINDS[kind](**{name: value})
            assert secret not in repr(problems_of(fields))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("missing", [None, "", "  ", "None"])
def test_missing_fields_count_as_not_given(kind: str, missing: object) -> None:
    fields = KINDS[kind]()
    assert parsed(dict.fromkeys(MESSAGE_FIELDS, missing) | fields) == parsed(fields)


@pytest.mark.parametrize("write", [json.dumps, repr, lambda data: f"\n {json.dumps(data, indent=2)} "])
def test_objects_and_lists_may_come_as_text(write: Any) -> None:
    assert wire_of(in_app(to=write(ADA)))["to"] == ADA
    assert wire_of(email(cc=write([ADA, BOB])))["cc"] == [ADA, BOB]
    assert wire_of(whatsapp(components=write(COMPONENTS)))["components"] == COMPONENTS
    assert wire_of(in_app(to=write([ADA, BOB]), shared_conversation="True"))["to"] == [ADA, BOB]


def test_a_body_that_looks_like_json_is_a_body_all_the_same() -> None:
    assert wire_of(in_app(body='{"a": 1}'))["body"] == '{"a": 1}'


@pytest.mark.parametrize("broken", ['{"type": "user", "id": ', "[" * 100_000, "{" * 100_000, "{__import__('os')}"])
def test_text_that_is_not_data_is_an_error_that_names_tojson(broken: str) -> None:
    assert "tojson" in problems_of(in_app(to=broken))["to"]


@pytest.mark.parametrize("identifier", ["5f8", 403, "403", "a b", "\u00e9"])
def test_ids_travel_as_they_were_given(identifier: str | int) -> None:
    wire = wire_of(in_app(to={"type": "user", "id": identifier}, from_admin_id=identifier))
    assert (wire["to"]["id"], wire["from"]["id"]) == (identifier, identifier)


@pytest.mark.parametrize("key", [4711, "4711", "order-1"])
def test_the_key_stays_what_it_is(key: str | int) -> None:
    assert parsed(in_app(key=key)).key == key


NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "moment",
    [
        1714564800,
        1714564800.7,
        "1714564800",
        " 1714564800 ",
        NOON,
        NOON.replace(tzinfo=None),
        NOON.astimezone(timezone(timedelta(hours=5))),
        pendulum.instance(NOON),
        "2024-05-01T12:00:00Z",
        "2024-05-01T12:00:00",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01 12:00:00+00:00",
        str(NOON),
    ],
)
def test_a_time_may_be_given_in_many_ways(moment: object) -> None:
    assert wire_of(in_app(created_at=moment))["created_at"] == 1714564800


@pytest.mark.parametrize("moment", [date(2024, 5, 1), "2024-05-01"])
def test_a_day_is_its_first_moment(moment: object) -> None:
    assert wire_of(in_app(created_at=moment))["created_at"] == 1714564800 - 12 * 3600


@pytest.mark.parametrize(
    "ahead", [timedelta(minutes=6), timedelta(days=1), timedelta(days=365_000)], ids=["minutes", "day", "far"]
)
def test_a_message_cannot_be_scheduled(ahead: timedelta) -> None:
    [(field, text)] = problems_of(in_app(created_at=datetime.now(UTC) + ahead)).items()
    assert (field, "future" in text) == ("created_at", True)


def test_milliseconds_are_refused_with_a_hint_at_seconds() -> None:
    [(field, text)] = problems_of(in_app(created_at=1714564800_000)).items()
    assert (field, "milliseconds" in text) == ("created_at", True)


def test_clocks_may_differ_a_little() -> None:
    assert problems_of(in_app(created_at=datetime.now(UTC) + timedelta(minutes=1))) == {}


def test_a_message_without_a_sender_is_an_error_that_names_both_fields() -> None:
    with pytest.raises(InvalidInputError, match=r"from_admin_id.*admin_id in the connection"):
        parsed(in_app()).wire()


def test_the_senders_own_field_comes_first() -> None:
    assert parsed(in_app(from_admin_id=7)).wire("814860")["from"] == {"type": "admin", "id": 7}


@pytest.mark.parametrize(
    ("fields", "version", "field"),
    [
        (sms(), "2.17", "message_type"),
        (sms(), "2.14", "message_type"),
        (whatsapp(), "2.15", "message_type"),
        (whatsapp(), "2.9", "message_type"),
        (whatsapp(), "1.4", "message_type"),
        (in_app(to=[ADA], shared_conversation=True), "2.13", "to"),
        (email(cc=[ADA, BOB]), "2.13", "cc"),
        (email(bcc=[ADA, BOB]), "2.13", "bcc"),
        (email(cc=ADA), "2.13", "cc"),
        (email(bcc=ADA), "2.13", "bcc"),
        (in_app(cc=ADA, bcc=BOB), "2.11", "cc"),
        (sms(bcc=[BOB]), "1.0", "message_type"),
        (in_app(created_at=1), "2.10", "created_at"),
        (email(created_at="2024-05-01"), "1.4", "created_at"),
    ],
)
def test_a_version_that_is_too_old_is_an_error(fields: dict[str, Any], version: str, field: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        check_version(parsed(fields), version)
    [problem] = caught.value.problems
    assert problem.field == field
    assert version in problem.text


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        (sms(), "Preview"),
        (whatsapp(), "2.16"),
        (whatsapp(), "2.100"),
        (whatsapp(), "3.0"),
        (whatsapp(), "Preview"),
        (in_app(), "1.0"),
        (email(cc=ADA, bcc=BOB), "2.14"),
        (email(cc=ADA, bcc=BOB), "Preview"),
        (in_app(created_at=1), "2.11"),
        (in_app(to=[ADA, BOB], shared_conversation=True), "2.14"),
    ],
)
def test_a_version_that_is_new_enough_passes(fields: dict[str, Any], version: str) -> None:
    check_version(parsed(fields), version)


def test_components_pass_unchanged() -> None:
    components = [
        {"type": "HEADER", "parameters": [{"type": "image", "image": {"link": "https://example.com/a.png"}}]},
        {"type": "BODY", "parameters": [{"type": "currency", "currency": {"amount_1000": 5000, "code": "EUR"}}]},
        {"type": "BUTTON", "sub_type": "url", "index": 0, "parameters": [{"type": "text", "text": "A-17"}]},
    ]
    assert wire_of(whatsapp(components=components))["components"] == components


def _anything(chance: random.Random, depth: int = 2) -> Any:
    plain = [None, "", "None", "ada", "+447700900123", 0, 1, -1, 10**20, 0.5, float("nan"), True, False, "{", "[]",
             "{}", "\ud800", b"bytes", NOON, {1, 2}, object(), "a" * 1000]  # fmt: skip
    if depth and chance.random() < 0.4:
        names = ["type", "id", "user_id", "email", "phone", "name", "text", "parameters", "x"]
        if chance.random() < 0.5:
            return {chance.choice(names): _anything(chance, depth - 1) for _ in range(chance.randint(0, 3))}
        return [_anything(chance, depth - 1) for _ in range(chance.randint(0, 3))]
    return chance.choice(plain)


@pytest.mark.parametrize("seed", range(8))
def test_any_input_is_a_message_that_can_be_sent_or_an_error_that_names_fields(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    for kind in itertools.islice(itertools.cycle(KINDS.values()), 500):
        fields = kind()
        for name in chance.sample(MESSAGE_FIELDS, chance.randint(1, 3)):
            fields[name] = _anything(chance)
        problems = problems_of(fields)
        assert all(problems.keys())
        if not problems:
            json.dumps(parse_message(fields).wire(1), allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("key", ["a\0b", "a\ud800b"])
def test_a_key_that_no_ledger_could_hold_is_refused(key: str) -> None:
    with pytest.raises(InvalidInputError, match=r"key: "):
        parse_message(in_app(key=key))
