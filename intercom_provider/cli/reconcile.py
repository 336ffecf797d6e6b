"""
Match unconfirmed messages of a batch with conversations in Intercom.

The problem: Intercom's answer to the send was lost, and with it the message's id; sent messages cannot be listed.
The idea: when a contact answers, a conversation begins whose source is the message. So the conversations of the
message's contact are compared with the message: kind, sender, time and words. A conversation whose source is the id of
a message that was confirmed, or that has been matched with another message, is left out. Messages with their own words
are matched before those that may only be similar, so that no conversation goes to the wrong message of two.
A match proves that a message was sent; no match proves nothing, because most contacts do not answer.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from intercom_provider.api import calls
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.json_text import read_json
from intercom_provider.api.parallel import Parallel
from intercom_provider.api.values import as_datetime

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from intercom_provider.api.client import IntercomClient
    from intercom_provider.api.flow import Flow
    from intercom_provider.api.message import Message
    from intercom_provider.api.models import Conversation, ConversationSource
    from intercom_provider.api.parallel import ParallelFlow
    from intercom_provider.api.settings import Settings
    from intercom_provider.results.reader import MessageResult
    from intercom_provider.sending.batch.input import BatchInput

_FINDINGS: Final = {
    "found": "found: conversation {id} began with it ({began})",
    "perhaps": "perhaps: conversation {id} ({began}) may have begun with it; its words do not decide that",
    "unknown": "unknown: no conversation began with it",
}
# A conversation's source type, where it differs from the message type.
_SOURCE_TYPES: Final = {"inapp": "conversation"}
_TAG: Final = re.compile(r"<[^>]*>")


class Match(NamedTuple):
    """
    The conversation that a message was matched with.

    :param finding: ``found``: it was sent; ``perhaps``: the conversation may have begun with it; ``unknown``.
    :param conversation: The conversation; None for ``unknown``.
    """

    finding: Literal["found", "perhaps", "unknown"] = "unknown"
    conversation: Conversation | None = None


def describe_match(match: Match) -> str:
    """
    Put the finding about a message into words.

    :param match: What was found.
    :return: Words for the list.
    """
    conversation = match.conversation
    if conversation is None:
        return _FINDINGS[match.finding]
    began = datetime.fromtimestamp(conversation.created_at or 0, UTC)
    return _FINDINGS[match.finding].format(id=conversation.id, began=f"{began:%Y-%m-%d %H:%M} UTC")


def read_since(text: str | None) -> float:
    """
    Read the time at which the batch began.

    :param text: The value of ``--since``.
    :return: Epoch seconds.
    :raises InvalidInputError: When it is not a time.
    """
    try:
        return as_datetime(text).timestamp()
    except ValueError:
        why = "is missing, or not a time: give the moment when the batch began, as ISO text or epoch seconds"
        raise InvalidInputError.of("--since", why) from None


def read_defaults(text: str | None) -> Any:
    """
    Read a batch's defaults.

    :param text: The value of ``--defaults``: JSON, or the path of a JSON file.
    :return: The defaults; None for none.
    :raises InvalidInputError: When it is not JSON.
    """
    if text is None:
        return None
    json_text = text if text.lstrip().startswith("{") else Path(text).read_bytes()
    return read_json("--defaults", json_text, "must be JSON, or a file of it")


def select_messages(batch: BatchInput, lines: Sequence[MessageResult], total: int) -> list[Message]:
    """
    Select messages from a batch's input.

    :param batch: The input.
    :param lines: The results of the messages to select.
    :param total: How many lines the results have.
    :return: The messages, in the order of the lines.
    :raises InvalidInputError: When the results belong to another input.
    """
    number = batch.check()
    if number != total:
        raise InvalidInputError.of(
            "--messages", f"holds {number:,} messages, and the results have {total:,}: give the list that the batch had"
        )
    selected = {line.index: line for line in lines}
    found: dict[int | None, Message] = {}
    for item in batch:
        line = selected.get(item.index)
        if line is None:
            continue
        if item.message is None or item.key != line.key:
            raise InvalidInputError.of(
                "--messages", f"has another message at {item.index}: give the list that the batch had"
            )
        found[item.index] = item.message
    return [found[line.index] for line in lines]


def match_conversations(
    client: IntercomClient, settings: Settings, messages: Sequence[Message], since: float, known_sent_ids: Iterator[str]
) -> list[Match]:
    """
    Search Intercom for the conversations that began with messages.

    :param client: The client.
    :param settings: The default sender.
    :param messages: The messages.
    :param since: When the batch began, in epoch seconds.
    :param known_sent_ids: The ids of messages that are known to have been sent.
    :return: A match for each.
    :raises IntercomError: When Intercom cannot be asked.
    """
    wires = [message.wire(settings.admin_id) for message in messages]
    candidates = client.run(_candidates(messages, wires, since))
    sources = {each.source.id for found in candidates for each in found if each.source}
    # Only ids that could be taken are kept, because the known ones may be very many.
    taken: set[str | None] = {id_ for id_ in known_sent_ids if id_ in sources}
    matches = [Match()] * len(messages)
    for by_words in (True, False):
        for index, wire in enumerate(wires):
            for each in candidates[index] if matches[index].conversation is None else ():
                source = each.source
                if source is None or source.id in taken or (by_words and not _has_words_of(wire, source)):
                    continue
                taken.add(source.id)
                # The words of a template's parameters, such as a name, may be in other templates, too.
                is_sure = by_words and "components" not in wire
                matches[index] = Match("found" if is_sure else "perhaps", each)
                break
    return matches


def _candidates(
    messages: Sequence[Message], wires: Sequence[Mapping[str, Any]], since: float
) -> ParallelFlow[list[list[Conversation]]]:
    found: list[list[Conversation]] = []
    searches = (_candidates_for(message, wire, since) for message, wire in zip(messages, wires, strict=True))
    yield Parallel(searches, found.append)
    return found


def _candidates_for(message: Message, wire: Mapping[str, Any], since: float) -> Flow[list[Conversation]]:
    found: list[Conversation] = []
    for contact_id in (yield from _find_contacts(*message.recipients[0])):
        found += yield from calls.conversations_of(contact_id, since)
    return [each for each in found if each.source and _may_be(wire, each.source)]


def _find_contacts(field: str, value: str) -> Flow[list[str]]:
    if field == "id":
        return [value]
    if field == "user_id":
        contact_id = yield from calls.find_contact(external_id=value)
        return [contact_id] if contact_id else []
    return (yield from calls.find_contacts("email" if field == "email" else "phone", value))


def _may_be(wire: Mapping[str, Any], source: ConversationSource) -> bool:
    kind = str(wire["message_type"])
    has_sender = source.author.type == "admin" and source.author.id == str(wire["from"]["id"])
    return has_sender and bool(source.id) and source.type == _SOURCE_TYPES.get(kind, kind)


def _has_words_of(wire: Mapping[str, Any], source: ConversationSource) -> bool:
    source_words = _plain(source.body or "")
    if "components" in wire:
        # The message holds only the template's parameters, all of which must be in the conversation's first message.
        words = [_plain(text) for text in _texts(wire["components"])]
        return any(words) and all(word in source_words for word in words)
    body = _plain(wire["body"])
    return bool(body) and body == source_words and _plain(wire.get("subject") or "") == _plain(source.subject or "")


def _texts(data: object) -> Iterator[str]:
    entries = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    if isinstance(data, Mapping) and isinstance(data.get("text"), str):
        yield data["text"]
    for entry in entries:
        if not isinstance(entry, str):
            yield from _texts(entry)


def _plain(text: str) -> str:
    return "".join(html.unescape(_TAG.sub("", text)).split())
