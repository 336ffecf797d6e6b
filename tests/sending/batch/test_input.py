from __future__ import annotations

import gc
import gzip
import json
import os
import random
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.message import InAppMessage, WhatsAppMessage
from intercom_provider.api.settings import Settings
from intercom_provider.ledger.ledger import message_digest
from intercom_provider.sending.batch.input import BatchInput, Item, check_literals
from tests.support.lazy import Lazy
from tests.support.messages import ADA, BOB, COMPONENTS, email, in_app, sms, whatsapp

if TYPE_CHECKING:
    from collections.abc import Iterable

SETTINGS = Settings(token="t", admin_id=1)
PHONE = {"phone": "+447700900124"}


def given(messages: object, defaults: object = None, **options: Any) -> BatchInput:
    return BatchInput(messages, defaults, salt="run", **{"settings": SETTINGS, "duplicates": "skip", **options})


def items(messages: object, defaults: object = None, **options: Any) -> list[Item]:
    with given(messages, defaults, **options) as batch:
        count = batch.check()
        found = list(batch)
        assert list(batch) == found
    assert [item.index for item in found] == list(range(count))
    assert all((item.message is None) == (item.refusal is not None) for item in found)
    return found


def problems(messages: object, defaults: object = None, **options: Any) -> list[tuple[str, str]]:
    with given(messages, defaults, **options) as batch:
        with pytest.raises(InvalidInputError) as caught:
            batch.check()
        with pytest.raises(RuntimeError):
            next(iter(batch))
    found = [(problem.field, problem.text) for problem in caught.value.problems]
    return [each for each in found if "nothing was sent" not in each[1]]


def write(path: Path, lines: Iterable[object]) -> str:
    path.write_text("".join(f"{line if isinstance(line, str) else json.dumps(line)}\n" for line in lines))
    return str(path)


def people(count: int) -> list[dict[str, Any]]:
    return [in_app(to={"type": "user", "id": f"user-{n}"}, key=n) for n in range(count)]


FORMS = [
    list,
    tuple,
    lambda messages: Lazy(*messages),
    json.dumps,
    repr,
    lambda messages: f"\n {json.dumps(messages, indent=1)}\n",
]


@pytest.mark.parametrize("form", FORMS)
def test_a_list_may_come_in_any_form_that_airflow_hands_over(form: Any) -> None:
    found = items(form([in_app(), whatsapp(key="b")]))
    assert [type(item.message) for item in found] == [InAppMessage, WhatsAppMessage]
    assert [item.key for item in found] == [None, "b"]


@pytest.mark.parametrize("empty", [[], (), "[]", Lazy()])
def test_a_list_may_be_empty(empty: object) -> None:
    assert items(empty, {"message_type": "email"}) == []


def test_a_file_says_the_same_as_a_list(tmp_path: Path) -> None:
    messages = [*people(30), whatsapp(params={"a": 1}), email(body="${x}", params={}, to=BOB)]
    path = write(tmp_path / "messages.jsonl", messages)
    assert items(path) == items(f"file://{path}") == items(f"  {path}\n") == items(Path(path))
    assert [replace(item, number=item.index) for item in items(path)] == items(messages)


def test_airflows_own_path_is_taken(tmp_path: Path) -> None:
    from airflow.sdk import ObjectStoragePath

    path = write(tmp_path / "messages.jsonl", people(2))
    assert len(items(ObjectStoragePath(path))) == len(items(ObjectStoragePath(f"file://{path}"))) == 2


@pytest.mark.parametrize(
    ("content", "count"),
    [
        (b"", 0),
        (b"\n\n  \n", 0),
        (b"%s", 1),
        (b"\n \r\n%s\r\n\n%s\n", 2),
        (b"\xef\xbb\xbf%s\n%s", 2),
        (b"\xef\xbb\xbf\n%s", 1),
    ],
)
def test_blank_lines_and_a_byte_order_mark_do_not_count(tmp_path: Path, content: bytes, count: int) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_bytes(content.replace(b"%s", json.dumps(in_app()).encode()))
    assert len(items(str(path))) == count


def test_lines_may_be_compressed_and_longer_than_a_chunk(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl.gz"
    messages = [in_app(body="\u00e9" * 200_000 + str(n), to={"type": "user", "id": n}) for n in range(4)]
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(message, ensure_ascii=False) + "\n" for message in messages)
    found = items(str(path))
    assert [item.message.wire(1)["body"] for item in found if item.message] == [one["body"] for one in messages]
    gc.collect()


def test_a_file_that_changes_after_the_check_changes_nothing(tmp_path: Path) -> None:
    path = Path(write(tmp_path / "messages.jsonl", people(3)))
    with given(str(path)) as batch:
        assert batch.check() == 3
        path.write_text("gone")
        assert [item.key for item in batch] == [0, 1, 2]


def test_a_file_of_any_size_needs_little_memory(tmp_path: Path) -> None:
    path = write(tmp_path / "messages.jsonl", (in_app(body="x" * 2_000, key=n) for n in range(3_000)))
    items(path)
    with given(path) as batch:
        tracemalloc.start()
        try:
            batch.check()
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    # Of the six megabytes: what is kept before it goes to disk, a chunk and its lines, 100 bytes a message.
    assert peak < 1_000_000 + 4 * (1 << 18) + 3_000 * 100


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("[1]", "not a JSON object"),
        ("5", "not a JSON object"),
        ("null", "not a JSON object"),
        ('"text"', "not a JSON object"),
        ("{broken", "not a JSON object"),
        (json.dumps(in_app()) + ",", "not a JSON object"),
        ("{'message_type': 'sms'}", "not a JSON object"),
        ("[" * 100_000, "not a JSON object"),
        ("x" * 5_000_000, "longer than"),
    ],
)
def test_a_line_that_is_not_an_object_is_a_problem(tmp_path: Path, line: str, words: str) -> None:
    [(field, text)] = problems(write(tmp_path / "messages.jsonl", [in_app(), "", line, in_app(to=BOB)]))
    assert field == "messages, line 3"
    assert words in text


def test_bytes_that_are_not_utf_8_are_a_problem(tmp_path: Path) -> None:
    path = tmp_path / "messages.jsonl"
    path.write_bytes(json.dumps(in_app()).encode() + b'\n{"body": "\xe9"}\n')
    assert problems(str(path)) == [("messages, line 2", "is not UTF-8")]


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/no/such/file.jsonl", "FileNotFoundError"),
        ("file:///no/such/file.jsonl", "FileNotFoundError"),
        ("nonsense://secret:word@bucket/file.jsonl", "credentials"),
        ("nonsense://conn@bucket/file.jsonl", "ValueError"),
        ("Hello, Ada", "FileNotFoundError"),
        ("{tmp}", "IsADirectoryError"),
        ("{tmp}/broken.gz", "BadGzipFile"),
        ("{tmp}/short.gz", "EOFError"),
    ],
)
def test_a_file_that_cannot_be_read_is_an_error_without_its_name(tmp_path: Path, path: str, reason: str) -> None:
    (tmp_path / "broken.gz").write_bytes(b"no gzip")
    (tmp_path / "short.gz").write_bytes(gzip.compress(os.urandom(1_000))[:500])
    [(field, text)] = problems(path.format(tmp=tmp_path))
    assert field == "messages"
    assert reason in text
    for word in ("secret", "Ada", "file.jsonl", "bucket"):
        assert word not in text


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        (None, "missing"),
        ("", "missing"),
        ("None", "missing"),
        (in_app(), "single object"),
        (json.dumps(in_app()), "single object"),
        ((message for message in [in_app()]), r"list\(...\)"),
        (iter([in_app()]), r"list\(...\)"),
        (map(dict, [in_app()]), r"list\(...\)"),
        (5, "list of messages"),
        (True, "list of messages"),
        (b"[]", "list of messages"),
        ({1, 2}, "list of messages"),
        (object(), "list of messages"),
        ("[broken", "not a JSON list"),
        ("{broken", "not a JSON list"),
        ("[" * 100_000, "not a JSON list"),
    ],
)
def test_anything_but_a_list_is_an_error(messages: object, words: str) -> None:
    [(field, text)] = problems(messages)
    assert field == "messages"
    assert words.replace("\\", "") in text


@pytest.mark.parametrize("entry", [None, "", 5, [in_app()], "in_app", json.dumps(in_app())])
def test_an_entry_that_is_not_an_object_is_a_problem(entry: object) -> None:
    [(field, text)] = problems([in_app(), entry])
    assert field == "messages[1]"
    assert "object" in text


WRONG = [
    in_app(),
    whatsapp(to={"phone": "07700900123"}),
    email(subject=None, body=5),
    in_app(to=[ADA, BOB]),
    in_app(colour="red"),
    in_app(body="${x}", params={"x": True}),
    {},
]
PLACES = ["1.to.phone", "2.subject", "2.body", "3.to", "4.colour", "5.params.x", "6.message_type"]


def test_problems_of_a_list_have_their_index() -> None:
    found = problems(WRONG)
    expected = ["messages[{}].{}".format(*place.split(".", 1)) for place in PLACES]
    assert sorted(field for field, _ in found) == sorted(expected)
    assert "07700900123" not in str(found)


def test_problems_of_a_file_have_their_line(tmp_path: Path) -> None:
    found = problems(write(tmp_path / "messages.jsonl", ["", *WRONG]))
    places = [(int(number) + 2, field) for number, field in (place.split(".", 1) for place in PLACES)]
    assert sorted(field for field, _ in found) == sorted(f"messages, line {line}: {field}" for line, field in places)


def test_equal_problems_are_one_with_their_number_and_first_places(tmp_path: Path) -> None:
    rows = [whatsapp(to={"phone": 447700900124.0}) for _ in range(1_999)]
    [(field, text)] = problems([whatsapp(), *rows])
    assert field == "messages[1].to.phone"
    assert "is a number" in text
    assert text.endswith("(1,999 times: index 1, 2, 3, ...)")
    [(field, text)] = problems(write(tmp_path / "messages.jsonl", rows))
    assert field == "messages, line 1: to.phone"
    assert text.endswith("(1,999 times: line 1, 2, 3, ...)")


def test_ten_causes_are_named_and_the_others_counted() -> None:
    messages = [in_app(**{f"colour_{n}": "red"}) for n in range(1_200)]
    with given([in_app(), *messages]) as batch, pytest.raises(InvalidInputError) as caught:
        batch.check()
    *causes, more, last = caught.value.problems
    assert len(causes) == 10
    assert str(causes[0]).startswith("messages[1].colour_0: is not a field")
    assert more.text == "and 1,190 more"
    assert last.text.startswith("1,200 of 1,201 are wrong, and nothing was sent")


def test_the_number_of_wrong_rows_includes_those_that_lack_a_param() -> None:
    rows = [in_app(), in_app(colour="red"), in_app(body="Hi ${name}", params={"x": "y"}), in_app(to={"email": "a"})]
    with given(rows) as batch, pytest.raises(InvalidInputError) as caught:
        batch.check()
    assert "messages[2]: params.name is missing" in map(str, caught.value.problems)
    assert caught.value.problems[-1].text.startswith("3 of 4 are wrong, and nothing was sent")


def test_where_every_row_is_wrong_rejecting_them_is_no_way_on() -> None:
    with given([in_app(colour="red") for _ in range(1_200)]) as batch, pytest.raises(InvalidInputError) as caught:
        batch.check()
    cause, hint = caught.value.problems
    assert cause.text.endswith("(1,200 times: index 0, 1, 2, ...)")
    assert hint.text.startswith('all 1,200 are wrong, and nothing was sent. With invalid="reject" all of them')


@pytest.mark.parametrize("invalid", ["fail", "reject"])
def test_a_preview_is_what_the_batch_would_send(invalid: str) -> None:
    rows = [in_app(), in_app(to=BOB), in_app(), in_app(body="${name}", params={"x": "y"}), in_app(to=BOB), in_app()]
    rows += [in_app(colour="red")] if invalid == "reject" else []
    with given(rows, invalid=invalid) as batch:
        previewed = list(batch.preview())
    assert previewed == items(rows, invalid=invalid)
    assert [item.duplicate_of for item in previewed][:6] == [None, None, 0, None, 1, 0]


def test_rows_that_are_wrong_may_be_rejected_and_the_others_sent(tmp_path: Path) -> None:
    rows = [*WRONG, in_app(to=BOB), 5, {"PHONE": "x"}]
    for messages in (rows, write(tmp_path / "messages.jsonl", [*rows, "{broken"])):
        found = items(messages, invalid="reject")
        good = [item.index for item in found if item.message is not None]
        assert good == [0, len(WRONG)]
        reasons = {item.index: str(item.refusal) for item in found if item.message is None}
        assert "subject: is missing" in reasons[2]
        assert "body: is a number" in reasons[2]
        assert "must be an object" in reasons[8] or "not a JSON object" in reasons[8]


def test_what_is_wrong_for_all_is_an_error_although_rows_may_be_rejected() -> None:
    [(field, _)] = problems([in_app(body=None)], {"body": 5}, invalid="reject")
    assert field == "defaults.body"


def test_a_problem_of_the_defaults_is_named_once() -> None:
    defaults = {"message_type": "whatsapp", "template": 5, "body": "Hello", "components": [{"parameters": [5]}]}
    found = problems([{"to": PHONE}] * 50, defaults)
    fields = ["defaults.body", "defaults.components.0.parameters.0", "defaults.template"]
    assert sorted(field for field, _ in found) == fields
    assert not any("first in" in text for _, text in found)


def test_a_problem_of_the_defaults_for_one_type_names_its_first_message() -> None:
    messages = [{"message_type": "email"}, {"message_type": "in_app"}, {"message_type": "in_app"}]
    found = problems(messages, {"subject": "News", "body": "b", "to": ADA})
    assert [field for field, _ in found] == ["defaults.subject"]
    assert found[0][1].endswith("(first in messages[1])")


def test_a_problem_that_a_param_causes_is_the_messages_own() -> None:
    messages = [
        in_app(to={"type": "user", "id": str(n)}, body=None, params={"x": text}) for n, text in enumerate("ab ")
    ]
    assert [field for field, _ in problems(messages, {"body": "${x}"})] == ["messages[2].body"]


@pytest.mark.parametrize("message", [in_app(), in_app(params={})])
def test_a_missing_sender_is_named_once(message: dict[str, Any]) -> None:
    settings = Settings(token="t")
    [(field, text)] = problems([in_app(from_admin_id=7), message, message], settings=settings)
    assert field == "from_admin_id"
    assert "admin_id in the connection" in text
    assert "messages[1]" in text
    assert len(items([message], {"from_admin_id": 7}, settings=settings)) == 1


def test_a_type_that_the_version_lacks_is_named_once() -> None:
    settings = Settings(token="t", admin_id=1, api_version="2.13")
    found = problems([in_app(), sms(), sms(), whatsapp(), email(cc=[ADA, BOB])], settings=settings)
    assert [field for field, _ in found] == ["message_type", "message_type", "cc"]
    assert "messages[1]" in found[0][1]


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    deep: Any = "${x}"
    for _ in range(100_000):
        deep = [deep]
    for message in (whatsapp(components=deep), whatsapp(components=deep, params={"x": 1}), {"a": deep}):
        assert problems([message])
    while isinstance(deep, list):
        deep = deep.pop()


def test_a_missing_param_refuses_its_message_alone() -> None:
    messages = [
        {"to": {"type": "user", "id": "a"}, "params": {"first_name": "<Ada>"}},
        {"to": {"type": "user", "id": "b"}, "params": {"first_name": None}, "key": "B"},
        {"to": {"type": "user", "id": "c"}},
        {"to": {"type": "user", "id": "${id}"}, "params": {"first_name": ""}},
        {"to": {"type": "user", "id": "d"}, "params": {}, "created_at": "${when}"},
    ]
    found = items(messages, {"message_type": "in_app", "body": "Hi ${first_name}"})
    assert [item.refusal for item in found] == [
        None,
        "params.first_name is missing",
        "params.first_name is missing",
        "params.id is missing",
        "params.first_name, params.when are missing",
    ]
    assert found[0].message is not None
    assert found[0].message.wire(1)["body"] == "Hi &lt;Ada&gt;"
    assert found[1].key == "B"


def test_another_problem_of_a_message_that_lacks_a_param_refuses_all() -> None:
    message = whatsapp(to={"phone": "${phone}"}, template=5, params={})
    assert [field for field, _ in problems([message])] == ["messages[0].template"]


def digest(message_type: str = "inapp", recipients: object = (("id", "ada"),), key: object = None) -> str:
    return message_digest(key=key, message_type=message_type, recipients=[*map(list, recipients)], salt="run")  # type: ignore[call-overload]


def test_identities_are_those_of_the_ledger() -> None:
    found = items([in_app(), in_app(key=" k "), in_app(body="${x}", params={}, to=BOB)])
    assert [item.digest for item in found] == [
        digest(),
        digest(key="k"),
        digest(recipients=[("user_id", "bob")]),
    ]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"body": "${x}"}, digest()),
        ({"created_at": "${x}"}, digest()),
        ({"created_at": "${x}", "key": " k "}, digest(key="k")),
        ({"to": {"type": "user", "id": "${x}"}, "key": "k"}, digest(key="k")),
        ({"to": {"type": "${x}", "id": "a"}, "key": " k "}, digest(key="k")),
    ],
)
def test_a_refused_message_is_named_as_far_as_it_can_be_read(fields: dict[str, Any], expected: str) -> None:
    [item] = items([in_app(params={}, **fields)])
    assert item.digest == expected


def test_refused_messages_whose_recipients_are_not_known_are_not_the_same() -> None:
    message = in_app(to={"type": "user", "id": "${x}"}, params={})
    found = items([message, message, in_app()], duplicates="fail")
    assert len({item.digest for item in found}) == 3


TWICE = [in_app(), in_app(to=BOB), in_app(body="again"), whatsapp(), in_app(), in_app(key=1), in_app(key="1", to=BOB)]


def test_duplicates_are_skipped() -> None:
    found = items(TWICE)
    assert [item.duplicate_of for item in found] == [None, None, 0, None, 0, None, 5]


def test_duplicates_are_sent_under_digests_that_do_not_depend_on_the_order() -> None:
    found = items(TWICE, duplicates="send")
    assert all(item.duplicate_of is None for item in found)
    assert [item.digest for item in found if item.index in (0, 2, 4)] == [
        digest(),
        f"{digest()}#2",
        f"{digest()}#3",
    ]
    assert {item.digest for item in items(TWICE[::-1], duplicates="send")} == {item.digest for item in found}


def test_duplicates_that_fail_are_named_with_both_positions(tmp_path: Path) -> None:
    found = problems(TWICE, duplicates="fail")
    assert [field for field, _ in found] == ["messages[2]", "messages[6]"]
    assert "messages[0]" in found[0][1]
    assert found[0][1].endswith("(2 times: index 2, 4)")
    assert "messages[5]" in found[1][1]
    [(field, text)] = problems(write(tmp_path / "m.jsonl", [in_app(), "", "", in_app()]), duplicates="fail")
    assert field == "messages, line 4"
    assert "messages, line 1" in text
    assert len(items([in_app(), in_app(to=BOB)], duplicates="fail")) == 2


def test_a_refused_message_keeps_no_other_from_being_sent() -> None:
    refused = in_app(body="${x}", params={})
    found = items([refused, in_app(), refused])
    assert [item.duplicate_of for item in found] == [None, None, None]
    assert found[1].message is not None


@pytest.mark.parametrize("text", ["", " ", "a\nb", "a\tb", "a     b", "a\0b", "x" * 32_769])
@pytest.mark.parametrize("from_params", [False, True])
def test_a_text_that_whatsapp_refuses_refuses_its_message_alone(tmp_path: Path, text: str, from_params: bool) -> None:
    def parameters(text: str) -> list[dict[str, Any]]:
        return [{"type": "BODY", "parameters": [{"type": "text", "text": text}]}]

    right = whatsapp(to=PHONE, components=parameters("Bob"))
    wrong = (
        whatsapp(components=parameters("${x}"), params={"x": text})
        if from_params
        else whatsapp(components=parameters(text))
    )
    sound = items([{**wrong, "params": {"x": "Ada"}}, right])
    for source in ([wrong, right], write(tmp_path / "m.jsonl", [wrong, right])):
        refused, sent = items(source)
        assert (refused.message, sent.message is not None) == (None, True)
        assert str(refused.refusal).startswith("components.0.parameters.0.text: ")
        # Mended and sent again, it is the same message.
        assert refused.digest == sound[0].digest


def test_a_text_that_whatsapp_refuses_for_all_messages_is_a_problem_of_the_batch() -> None:
    components = [{"type": "BODY", "parameters": [{"type": "text", "text": "a\nb"}]}]
    messages = [{"to": {"phone": f"+4477009001{n:02d}"}} for n in range(5)]
    defaults = {"message_type": "whatsapp", "template": "order_shipped", "components": components}
    [(field, text)] = problems(messages, defaults)
    assert (field, "line break" in text) == ("defaults.components.0.parameters.0.text", True)


def test_a_message_with_another_problem_is_not_refused_alone() -> None:
    components = [{"type": "BODY", "parameters": [{"type": "text", "text": "a\nb"}]}]
    found = problems([whatsapp(components=components, template=5)])
    assert [field for field, _ in found] == ["messages[0].template", "messages[0].components.0.parameters.0.text"]


def test_a_refused_message_keeps_its_name_where_all_are_sent() -> None:
    messages = [in_app(body="${x}", params={}), in_app()]
    refused = [item.digest for item in items(messages, duplicates="send")]
    messages[0]["params"] = {"x": 1}
    assert [item.digest for item in items(messages, duplicates="send")] == refused


@pytest.mark.parametrize("seed", range(3))
def test_customers_words_arrive_as_written_from_a_file_and_from_a_list(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    pieces = [
        "${",
        "${x}",
        "$${x}",
        "}",
        "{{",
        "{{ x }}",
        "{%",
        "\\",
        "<b>",
        '"',
        "'",
        "&",
        "\n",
        "\u2028",
        "\x85",
        "\U0001f600",
    ]
    words = ["a" + "".join(chance.choices(pieces, k=8)) for _ in range(100)]
    messages = [
        whatsapp(
            to={"phone": f"+4477009{n:05d}", "name": _flat(text)},
            components=[{"type": "BODY", "parameters": [{"type": "text", "text": _flat(text)}]}],
        )
        for n, text in enumerate(words)
    ]
    messages += [in_app(to={"type": "user", "user_id": n}, body=text) for n, text in enumerate(words)]
    for source in (messages, write(tmp_path / "m.jsonl", (json.dumps(one, ensure_ascii=False) for one in messages))):
        wires = [item.message.wire(1) for item in items(source) if item.message]
        assert [wire["to"]["name"] for wire in wires[:100]] == [*map(_flat, words)]
        assert [wire["components"][0]["parameters"][0]["text"] for wire in wires[:100]] == [*map(_flat, words)]
        assert [wire["body"] for wire in wires[100:]] == words


def _flat(text: str) -> str:
    return text.translate(dict.fromkeys(map(ord, "\n\u2028\x85"), "-"))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_given_is_a_batch_or_an_error_of_its_input(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311
    odd = [None, "", "None", 5, 0.5, True, [], {}, "${x}", "{{ x }}", "\ud800", {"x": 1}, {"x": None}, [{}], object(),
           {1: 2}, b"x", {"phone": "${x}"}, COMPONENTS]  # fmt: skip
    names = ["to", "body", "params", "key", "message_type", "components", "template", "shared_conversation", "colour"]
    for _ in range(300):
        messages: list[Any] = [in_app(), whatsapp(), chance.choice(odd) if chance.random() < 0.1 else email()]
        defaults: Any = {chance.choice(names): chance.choice(odd) for _ in range(chance.randint(0, 2))}
        for message in messages:
            if isinstance(message, dict):
                message |= {chance.choice(names): chance.choice(odd) for _ in range(chance.randint(0, 2))}
        for check in (check_literals, lambda *both: items(*both, duplicates=chance.choice(["skip", "send", "fail"]))):
            try:
                check(messages, defaults)
            except InvalidInputError as error:
                assert all(problem.field.startswith(("messages", "defaults")) for problem in error.problems)  # noqa: PT017


class Output:
    """Another task's output, known when the task runs."""


def literal_problems(messages: object, defaults: object = None) -> list[str]:
    with pytest.raises(InvalidInputError) as caught:
        check_literals(messages, defaults)
    return [problem.field for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("messages", "defaults", "fields"),
    [
        (WRONG, None, [f"messages[{n}]" for n in (1, 2, 2, 3, 4, 5, 6)]),
        (json.dumps([{}]), None, ["messages[0].message_type"]),
        (None, None, ["messages"]),
        (in_app(), None, ["messages"]),
        (5, None, ["messages"]),
        (iter([]), None, ["messages"]),
        ([None], None, ["messages[0]"]),
        (Output(), ["x"], ["defaults"]),
        (Output(), 5, ["defaults"]),
        (Output(), {"colour": "{{ x }}"}, ["defaults.colour"]),
        (Output(), {"params": {"a": [1]}}, ["defaults.params.a"]),
        (Output(), {"message_type": "whatsapp", "template": 5, "to": "{{ x }}"}, ["defaults.template"]),
        (Output(), {"message_type": "telegram"}, ["defaults.message_type"]),
        ("{{ uri }}", {"message_type": "email", "components": []}, ["defaults.components"]),
        ("s3://bucket/m.jsonl", {"message_type": "email", "components": []}, ["defaults.components"]),
        ([], {"message_type": "email", "components": []}, ["defaults.components"]),
        ([{"to": PHONE}, {"to": ADA}], {"message_type": "whatsapp", "template": "{{ x }}"}, ["messages[1]"] * 3),
        ([{"body": Output(), "colour": 1}], {"message_type": "sms", "to": Output()}, ["messages[0].colour"]),
        ([{"message_type": "sms", "body": 5}], "{{ defaults }}", ["messages[0].body"]),
        ([{"message_type": "sms", "body": 5}], Output(), ["messages[0].body"]),
    ],
)
def test_problems_that_are_known_already_are_found_when_the_dag_is_parsed(
    messages: object, defaults: object, fields: list[str]
) -> None:
    found = literal_problems(messages, defaults)
    assert len(found) == len(fields)
    assert all(any(name.startswith(field) for name in found) for field in fields)


@pytest.mark.parametrize(
    ("messages", "defaults"),
    [
        ([in_app(body="{{ customer }} ${x}"), whatsapp(), sms()], None),
        ([], None),
        ([in_app()] * 100 + [{}], None),
        ("/no/such/file.jsonl", None),
        ("nonsense://bucket/file", None),
        ("{{ ti.xcom_pull('x') }}", None),
        ("[{{ x }}]", "{{ x }}"),
        (Output(), None),
        (Lazy({}), None),
        (Path("/no/such/file"), None),
        (Output(), Output()),
        (Output(), {"message_type": "{{ x }}", "components": 5}),
        (Output(), {"message_type": "email", "subject": "${x}", "to": {"type": "user", "id": "{{ x }}"}}),
        ([{"to": ADA}], {"message_type": "{{ x }}"}),
        ([{"to": ADA}], "{{ x }}"),
        ([{"to": ADA, "message_type": "sms"}], "{{ x }}"),
        ([{"to": ADA, "message_type": "sms"}], {"body": "{{ x }}"}),
        ([{"to": [ADA, BOB], "message_type": "sms", "body": "b"}], {"shared_conversation": "{{ x }}"}),
        ([whatsapp(to={"phone": "${x}"})], {"params": "{{ x }}"}),
        ([whatsapp(to={"phone": "${x}"})], "{{ x }}"),
        ([whatsapp(to={"phone": "${x}"}, params=Output())], None),
        ([whatsapp(to={"phone": "${x}"}, params={})], None),
        ([whatsapp(to=Output())], {"locale": None}),
        ([whatsapp()], "None"),
    ],
)
def test_values_that_are_not_known_yet_are_not_checked(messages: object, defaults: object) -> None:
    check_literals(messages, defaults)
