"""The endpoints under `/_sandbox`, with which other processes inspect and control a sandbox."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from intercom_provider.sandbox.call import Call, Endpoint, Endpoints
from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.templates import list_parameters
from intercom_provider.sandbox.workspace import DEFAULT_REPLY, NotThereError

if TYPE_CHECKING:
    from intercom_provider.sandbox.workspace import Message

_DEFAULT_LAST: Final = 100
# Recipients, or sandbox seconds.
_MAX_NUMBER: Final = 1_000_000_000


def _messages(call: Call) -> dict[str, Any]:
    workspace = call.state.workspace
    matching = [each for each in workspace.messages if call.params.get("recipient") in (None, each.recipient)]
    return {"total": len(matching), "messages": [_message(call, each) for each in matching[-_last(call) :]]}


def _message(call: Call, message: Message) -> dict[str, Any]:
    return {
        "id": message.id,
        "message_type": message.message_type,
        "recipient": message.recipient,
        "contact_id": message.contacts[0].id,
        "time": message.time,
        "whatsapp_message_id": message.whatsapp_message_id,
        "status": _status(call, message),
        "refusal": message.refusal,
        "text": _text(call, message),
        "conversation_id": message.conversation_id,
        "replies": [each.body for each in message.conversation.replies] if message.conversation else [],
        "replied_at": message.replied_at,
        "wire": message.wire,
    }


def _text(call: Call, message: Message) -> list[str]:
    if message.message_type != "whatsapp":
        return [message.wire["body"]]
    templates = call.state.settings.templates
    rendered = templates.render(message.wire) if templates else None
    return rendered if rendered is not None else list_parameters(message.wire)


def _status(call: Call, message: Message) -> str | None:
    if message.whatsapp_message_id is None:
        return None
    try:
        status: str = call.state.workspace.status(message.whatsapp_message_id, call.now)["status"]
    except NotThereError:
        return "sent"
    return status


def _requests(call: Call) -> dict[str, Any]:
    log = call.state.log
    last = list(log.recent)[-_last(call) :]
    return {
        "total": log.counts.total(),
        "counts": log.counts,
        # Without the headers, because they hold the token and these endpoints require none.
        "requests": [
            {
                "time": each.time,
                "method": each.method,
                "path": each.path,
                "params": dict(each.params),
                "version": each.headers.get("intercom-version"),
                "json": each.json,
                "status": each.status,
            }
            for each in last
        ],
    }


def _rulesets(call: Call) -> dict[str, Any]:
    rulesets = call.state.workspace.rulesets.values()
    return {
        "rulesets": [{"id": each.id, "size": each.size, "arrived": each.count_joined(call.now)} for each in rulesets]
    }


def _add_ruleset(call: Call) -> dict[str, Any]:
    body = call.json()
    ruleset_id, size, over = _id(body, "id"), _number(body, "size"), _number(body, "over")
    events = body.get("events", [])
    if not isinstance(events, list) or not all(isinstance(each, dict) for each in events):
        raise _invalid("events", "must be a list of objects")
    try:
        call.state.workspace.add_ruleset(ruleset_id, int(size), over, events, call.now)
    except ValueError as error:
        raise _invalid("size", f"is too high: {error}") from None
    return _rulesets(call)


def _id(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str | int) or isinstance(value, bool) or value == "":
        raise _invalid(name, "is required, as text or a whole number")
    return str(value)


def _number(body: dict[str, Any], name: str) -> float:
    value = body.get(name, 0)
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= _MAX_NUMBER:
        raise _invalid(name, f"must be a number from 0 to {_MAX_NUMBER:,}")
    return value


def _set_status(call: Call) -> dict[str, Any]:
    body = call.json()
    message_id, status = body.get("whatsapp_message_id"), body.get("status")
    if not isinstance(message_id, str):
        raise _invalid("whatsapp_message_id", "is required, as text")
    if not isinstance(status, str):
        raise _invalid("status", "is required, as text")
    call.state.workspace.set_status(message_id, status, body.get("error"), call.now)
    return call.state.workspace.status(message_id, call.now)


def _reply(call: Call) -> dict[str, Any]:
    body = call.json()
    text = body.get("body", DEFAULT_REPLY)
    if not isinstance(text, str):
        raise _invalid("body", "must be text")
    return {"conversation_id": call.state.workspace.reply(_id(body, "message_id"), text, call.now)}


def _faults(call: Call) -> dict[str, Any]:
    return {"faults": [asdict(each) for each in call.state.faults.orders]}


def _order_fault(call: Call) -> dict[str, Any]:
    body = call.json()
    fault, endpoint = body.get("fault"), body.get("endpoint")
    requests = None if body.get("requests") is None else int(_number(body, "requests"))
    if endpoint is not None and not isinstance(endpoint, str):
        raise _invalid("endpoint", "must be text, such as POST /messages")
    try:
        call.state.faults.order(str(fault), requests, endpoint)
    except ValueError as error:
        raise _invalid("fault", f"is unknown: {error}") from None
    return _faults(call)


def _reset(call: Call) -> dict[str, Any]:
    call.state.reset()
    return {}


def _report(call: Call) -> dict[str, Any]:
    workspace, log = call.state.workspace, call.state.log
    recipients = Counter(each.contacts[0].id for each in workspace.messages)
    return {
        "messages": len(workspace.messages),
        "by_type": Counter(each.message_type for each in workspace.messages),
        "by_whatsapp_status": Counter(_status(call, each) for each in workspace.messages if each.whatsapp_message_id),
        "not_accepted_by_whatsapp": sum(
            each.message_type == "whatsapp" and each.whatsapp_message_id is None for each in workspace.messages
        ),
        "recipients": len(recipients),
        "recipients_with_several_messages": sum(count > 1 for count in recipients.values()),
        "replies": sum(each.replied_at is not None for each in workspace.messages),
        "requests": log.counts.total(),
        "requests_by_status": _by_status(log.counts),
        "busiest_second": log.busiest_second,
    }


def _by_status(counts: Counter[str]) -> dict[str, int]:
    by_status: Counter[str] = Counter()
    for endpoint_and_status, count in counts.items():
        by_status[endpoint_and_status.rpartition(" ")[2]] += count
    return by_status


def _last(call: Call) -> int:
    try:
        last = int(call.params.get("last", _DEFAULT_LAST))
    except ValueError:
        last = 0
    if last < 1:
        raise _invalid("last", "must be a number above 0")
    return last


def _invalid(field: str, problem: str) -> ErrorReply:
    return ErrorReply(400, "parameter_invalid", f"{field} {problem}", field)


PREFIX: Final = "/_sandbox/"
ENDPOINTS: Final[Endpoints] = {
    "GET /_sandbox/messages": Endpoint(_messages),
    "GET /_sandbox/requests": Endpoint(_requests),
    "GET /_sandbox/rulesets": Endpoint(_rulesets),
    "POST /_sandbox/rulesets": Endpoint(_add_ruleset),
    "POST /_sandbox/status": Endpoint(_set_status),
    "POST /_sandbox/reply": Endpoint(_reply),
    "GET /_sandbox/faults": Endpoint(_faults),
    "POST /_sandbox/faults": Endpoint(_order_fault),
    "POST /_sandbox/reset": Endpoint(_reset),
    "GET /_sandbox/report": Endpoint(_report),
}
