"""What unconfirmed messages of a batch have left in Intercom: conversations that began with them."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from intercom_provider.api import calls
from intercom_provider.api.errors import InvalidInputError
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

# What Intercom calls the origin of a conversation, where it is not the message's own type.
_ORIGINS: Final = {"inapp": "conversation"}
_TAG: Final = re.compile(r"<[^>]*>")


class Match(NamedTuple):
    """
    What there is of a message.

    :param finding: ``found``: it went out; ``perhaps``: there is a conversation that may be its; ``unknown``.
    :param conversation: The conversation; None for ``unknown``.
    """

    finding: Literal["found", "perhaps", "unknown"] = "unknown"
    conversation: Conversation | None = None


def read_since(text: str | None) -> float:
    """
    Read when the batch began.

    :param text: What stands in ``--since``.
    :return: Epoch seconds.
    :raises InvalidInputError: When it is no time.
    """
    try:
        return as_datetime(text).timestamp()
    except ValueError:
        why = "is missing, or no time: give the moment when the batch began, as ISO text or epoch seconds"
        raise InvalidInputError.of("--since", why) from None


def read_defaults(text: str | None) -> Any:
    """
    Read a batch's defaults.

    :param text: What stands in ``--defaults``: JSON, or the path of a file of it.
    :return: The defaults; None for none.
    :raises InvalidInputError: When there is no JSON.
    """
    if text is None:
        return None
    try:
        return json.loads(text if text.lstrip().startswith("{") else Path(text).read_text(encoding="utf-8"))
    except ValueError:
        raise InvalidInputError.of("--defaults", "must be JSON, or a file of it") from None


def messages_of(batch: BatchInput, lines: Sequence[MessageResult], total: int) -> list[Message]:
    """
    Find messages in what a batch was given.

    :param batch: What it was given.
    :param lines: Those that are wanted, as its results tell of them.
    :param total: Of how many messages the results tell.
    :return: The messages.
    :raises InvalidInputError: When the batch was given something else.
    """
    number = batch.check()
    if number != total:
        raise InvalidInputError.of(
            "--messages", f"holds {number:,} messages, and the results tell of {total:,}: give what the batch had"
        )
    wanted = {line.index: line for line in lines}
    found: dict[int | None, Message] = {}
    for item in batch:
        line = wanted.get(item.index)
        if line is None:
            continue
        if item.message is None or item.key != line.key:
            raise InvalidInputError.of("--messages", f"has another message at {item.index}: give what the batch had")
        found[item.index] = item.message
    return [found[line.index] for line in lines]


def trace(
    client: IntercomClient, settings: Settings, messages: Sequence[Message], since: float, explained: Iterator[str]
) -> list[Match]:
    """
    Look in Intercom for what messages have left there.

    :param client: Asks Intercom.
    :param settings: Who sends by default.
    :param messages: The messages.
    :param since: When the batch began, in epoch seconds.
    :param explained: The ids of messages that are known to have been sent.
    :return: A trace of each.
    :raises IntercomError: When Intercom can not be asked.
    """
    wires = [message.wire(settings.admin_id) for message in messages]
    candidates = client.run(_candidates(messages, wires, since))
    sources = {each.source.id for found in candidates for each in found if each.source}
    taken: set[str | None] = {each for each in explained if each in sources}
    matches = [Match()] * len(messages)
    # What has the message's own words comes first, so that no other message takes it.
    for by_words in (True, False):
        for place, wire in enumerate(wires):
            for each in candidates[place] if matches[place].conversation is None else ():
                source = each.source
                if source is None or source.id in taken or (by_words and not _has_words_of(wire, source)):
                    continue
                taken.add(source.id)
                # A contact's name stands in other templates, too.
                is_sure = by_words and "components" not in wire
                matches[place] = Match("found" if is_sure else "perhaps", each)
                break
    return matches


def _candidates(
    messages: Sequence[Message], wires: Sequence[Mapping[str, Any]], since: float
) -> ParallelFlow[list[list[Conversation]]]:
    found: list[list[Conversation]] = []
    asked = (_candidates_for(message, wire, since) for message, wire in zip(messages, wires, strict=True))
    yield Parallel(asked, found.append)
    return found


def _candidates_for(message: Message, wire: Mapping[str, Any], since: float) -> Flow[list[Conversation]]:
    found: list[Conversation] = []
    for contact_id in (yield from _contacts(*message.recipients[0])):
        found += yield from calls.conversations_of(contact_id, since)
    return [each for each in found if each.source and _may_be(wire, each.source)]


def _contacts(field: str, value: str) -> Flow[list[str]]:
    if field == "id":
        return [value]
    if field == "user_id":
        contact_id = yield from calls.find_contact(external_id=value)
        return [contact_id] if contact_id else []
    return (yield from calls.find_contacts("email" if field == "email" else "phone", value))


def _may_be(wire: Mapping[str, Any], source: ConversationSource) -> bool:
    kind = str(wire["message_type"])
    is_senders = source.author.type == "admin" and source.author.id == str(wire["from"]["id"])
    return is_senders and bool(source.id) and source.type == _ORIGINS.get(kind, kind)


def _has_words_of(wire: Mapping[str, Any], source: ConversationSource) -> bool:
    said = _plain(source.body or "")
    if "components" in wire:
        # The words of a template are WhatsApp's; those that the message brings along have to be among them.
        words = [_plain(text) for text in _texts(wire["components"])]
        return any(words) and all(word in said for word in words)
    body = _plain(wire["body"])
    return bool(body) and body == said and _plain(wire.get("subject") or "") == _plain(source.subject or "")


def _texts(data: object) -> Iterator[str]:
    entries = data.values() if isinstance(data, Mapping) else data if isinstance(data, list) else ()
    if isinstance(data, Mapping) and isinstance(data.get("text"), str):
        yield data["text"]
    for entry in entries:
        if not isinstance(entry, str):
            yield from _texts(entry)


def _plain(text: str) -> str:
    return "".join(html.unescape(_TAG.sub("", text)).split())
