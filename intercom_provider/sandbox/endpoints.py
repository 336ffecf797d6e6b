"""The endpoints of Intercom's API that the sandbox imitates."""

from __future__ import annotations

from typing import Any, Final

from intercom_provider.sandbox import people_endpoints
from intercom_provider.sandbox.admins import ADMINS, admin_wire
from intercom_provider.sandbox.call import Call, Endpoint, Endpoints
from intercom_provider.sandbox.contacts import WORKSPACE
from intercom_provider.sandbox.error_reply import ErrorReply
from intercom_provider.sandbox.exports import BusyError
from intercom_provider.sandbox.message_rules import check_message
from intercom_provider.sandbox.paging import make_cursor, parse_cursor
from intercom_provider.sandbox.versions import WHATSAPP, WHATSAPP_IDS
from intercom_provider.sandbox.workspace import NotThereError

_REGION_NAMES: Final = {"us": "US", "eu": "Europe", "au": "AU"}
_MAX_PAGE_SIZE: Final = 100
_PAGE_SIZES: Final = {str(size): size for size in range(1, _MAX_PAGE_SIZE + 1)}
_DEFAULT_PAGE_SIZE: Final = "50"


def _me(call: Call) -> dict[str, Any]:
    app = {
        "type": "app",
        "id_code": WORKSPACE,
        "name": "Sandbox",
        "region": _REGION_NAMES[call.state.settings.region],
        "timezone": "Etc/UTC",
        "created_at": 1_577_836_800,
        "secure": False,
        "identity_verification": False,
    }
    return admin_wire(next(iter(ADMINS))) | {"email_verified": True, "app": app}


def _admins(_: Call) -> dict[str, Any]:
    return {"type": "admin.list", "admins": [admin_wire(each) for each in ADMINS]}


def _find_admin(call: Call) -> dict[str, Any]:
    if call.rest not in ADMINS:
        raise ErrorReply(404, "admin_not_found", "Admin not found")
    return admin_wire(call.rest)


def _create_message(call: Call) -> dict[str, Any]:
    wire = call.json()
    check_message(wire, call.version)
    message = call.state.workspace.send(wire, call.now)
    reply = {
        "type": "admin_message",
        "id": message.id,
        "created_at": message.created_at,
        "message_type": message.message_type,
        "body": wire.get("body"),
        "owner": admin_wire(str(wire["from"]["id"])),
    }
    reply |= {name: wire[name] for name in ("subject", "template") if wire.get(name)}
    if message.conversation_id:
        reply["conversation_id"] = message.conversation_id
    if message.whatsapp_message_id and call.version >= WHATSAPP_IDS:
        reply["whatsapp_message_id"] = message.whatsapp_message_id
    return reply


def _ruleset_statuses(call: Call) -> dict[str, Any]:
    ruleset_id = call.params.get("ruleset_id")
    if not ruleset_id:
        raise ErrorReply(400, None, "ruleset_id is required")
    per_page = _per_page(call)
    cursor = call.params.get("starting_after")
    first = parse_cursor(cursor) if cursor else 0
    ruleset = call.state.workspace.rulesets.get(ruleset_id)
    total = ruleset.count_joined(call.now) if ruleset else 0
    last = min(first + per_page, total)
    return {
        "type": "list",
        "ruleset_id": ruleset_id,
        "pages": {
            "type": "pages",
            "per_page": per_page,
            "total_pages": -(-total // per_page),
            "next": {"starting_after": make_cursor(last)} if last < total else None,
        },
        "total_count": total,
        "events": ruleset.events(first, last, call.now) if ruleset else [],
    }


def _per_page(call: Call) -> int:
    size = _PAGE_SIZES.get(call.params.get("per_page", _DEFAULT_PAGE_SIZE))
    if size is None:
        raise ErrorReply(400, "parameter_invalid", f"per_page must be a number from 1 to {_MAX_PAGE_SIZE}", "per_page")
    return size


def _whatsapp_status(call: Call) -> dict[str, Any]:
    whatsapp_message_id = call.params.get("message_id")
    if not whatsapp_message_id:
        raise ErrorReply(400, None, "message_id is required")
    try:
        return call.state.workspace.status(whatsapp_message_id, call.now)
    except NotThereError:
        raise ErrorReply(404, "whatsapp_message_not_found", "Whatsapp message not found") from None


def _start_export(call: Call) -> dict[str, Any]:
    wire = call.json()
    after, before = (_timestamp(wire, name) for name in ("created_at_after", "created_at_before"))
    try:
        return _export(call, call.state.exports.start(after, before, call.now))
    except BusyError:
        message = "Exceeded rate limit of 1 pending message data export jobs"
        raise ErrorReply(429, "rate_limit_exceeded", message) from None


def _timestamp(wire: dict[str, Any], name: str) -> int:
    value = wire.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ErrorReply(400, "parameter_invalid", f"{name} is a unix timestamp", name)
    return value


def _export(call: Call, job_id: str) -> dict[str, Any]:
    exports = call.state.exports
    status = exports.status(job_id, call.now)
    done = status == "completed"
    return {
        "job_identifier": job_id,
        "status": status,
        "download_url": f"{call.url}/download/content/data/{job_id}" if done else "",
        "download_expires_at": str(exports.expires_at(job_id)) if done else "",
    }


def _export_status(call: Call) -> dict[str, Any]:
    return _export(call, call.rest)


def _cancel_export(call: Call) -> dict[str, Any]:
    call.state.exports.cancel(call.rest)
    return _export(call, call.rest)


def _download(call: Call) -> bytes:
    return call.state.exports.file(call.rest, call.now)


ENDPOINTS: Final[Endpoints] = {
    "GET /me": Endpoint(_me),
    "GET /admins": Endpoint(_admins),
    "GET /admins/": Endpoint(_find_admin),
    "POST /messages": Endpoint(_create_message),
    "GET /messages/status": Endpoint(_ruleset_statuses, since=WHATSAPP),
    "GET /messages/whatsapp/status": Endpoint(_whatsapp_status, since=WHATSAPP),
    **people_endpoints.ENDPOINTS,
    "POST /export/content/data": Endpoint(_start_export),
    "GET /export/content/data/": Endpoint(_export_status),
    "POST /export/cancel/": Endpoint(_cancel_export),
    "GET /download/content/data/": Endpoint(_download, accepts="application/octet-stream"),
}
