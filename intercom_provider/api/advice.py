"""
What to do about an error of Intercom's: by the request, the code and the words, and only then by the status.

One status stands for many causes: a 404 is a missing contact, ruleset or WhatsApp message, a 403 is about the token,
the plan or one contact. So the most exact rule comes first.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

REFERENCE: Final = "https://developers.intercom.com/docs/references/rest-api/errors/http-responses"


class ReplyContext(NamedTuple):
    """
    What else than status, code and words decides what to do.

    :param is_intercoms: Whether the reply is Intercom's own (default True).
    :param server: What answered, when it is not; "" (default) when the reply does not say.
    :param may_be_own_id: Whether the contact was addressed by an ``id`` that does not look like Intercom's (default
        False).
    :param remaining_id: Intercom's id of the contact that is left after a merge; "" (default) when it is unknown.
    """

    is_intercoms: bool = True
    server: str = ""
    may_be_own_id: bool = False
    remaining_id: str = ""


class Refusal(NamedTuple):
    """
    A request that was refused.

    :param request: The request, such as ``POST /messages``.
    :param status: The HTTP status.
    :param code: Intercom's code; "" when the reply has none.
    :param words: Intercom's words; "" when the reply has none.
    :param names_field: Whether Intercom names a field.
    :param context: What else decides what to do.
    """

    request: str
    status: int
    code: str
    words: str
    names_field: bool
    context: ReplyContext


_CHECK_TOKEN = "Check the connection's access token (Developer Hub > your app > Configure > Authentication)."  # noqa: S105 - advice, not a token
_CHECK_REGION = (
    "A token of a workspace in another region gets the same answer: check the connection's region (us, eu, au)."
)
_REGENERATE = (
    "Sending needs the permission to write conversations, searching the permission to read them. After a change of "
    "permissions in the Developer Hub (your app > Configure > Authentication) the token must be regenerated, and "
    "the new one put into the connection."
)
_VERSION = (
    "Set api_version to 2.17 or Preview, on the connection or the task: WhatsApp and its statuses need 2.16 or "
    "later, SMS needs Preview, cc, bcc and lists of recipients need 2.14 or later."
)
_LATER = "Intercom could not answer. Try again later."
_FOREIGN = (
    "Something else answers in place of Intercom: check the connection's host and region, and the proxy, gateway or "
    "firewall on the way."
)
_REGION = "The workspace is kept in another region: set the connection's region to that one (us, eu, au)."
_OTHER_WORKSPACE = (
    "The id belongs to another workspace than the token: use an id of the token's workspace, or a connection with a "
    "token of the other one."
)
_UNSUBSCRIBED = "This contact does not want such messages: leave the contact out. Nothing is wrong with the token."
_CLOSED_CONTACT = "This contact cannot be messaged: leave the contact out. Nothing is wrong with the token."
_ACCEPT = "A proxy between this machine and Intercom drops the Accept header. Check the proxy."
_OWN_ID = (
    "The recipient's id does not look like one of Intercom's (24 hexadecimal digits): if it is your own id of the "
    "contact, write it as user_id."
)
_CONTACT = (
    "Check that the recipient is a contact of this workspace with this role (a new contact takes a moment to "
    "appear). Check the sender's admin id and the region."
)
_WHATSAPP_MESSAGE = (
    "Check the whatsapp_message_id (it begins with wamid) and the region. A new message can take a while to appear."
)
_RULESET = (
    "Check ruleset_id: it is the id of an Outbound message of this workspace that sends WhatsApp messages (a number "
    "in its address). Check the region."
)
_MERGED = "The contact was merged into another one. Use the id of the remaining contact"
_NAMED_FIELD = "Correct the field that Intercom names."
_NO_FIELD = f"Intercom names no field: correct what its words describe. See {REFERENCE}."
_OTHERWISE = f"See {REFERENCE}."

_BY_WORDS: Final = (
    (re.compile(r"hosted in|wrong region|different region|another region", re.IGNORECASE), _REGION),
    (
        re.compile(
            r"cross[- ](?:app|workspace)|(?:another|different|other) (?:app|workspace)\b"
            r"|not belong to (?:this|your|the) (?:app|workspace)",
            re.IGNORECASE,
        ),
        _OTHER_WORKSPACE,
    ),
    (re.compile(r"unsubscribed|opted out", re.IGNORECASE), _UNSUBSCRIBED),
    (
        re.compile(
            # Not "the user's token was blocked", which is about all messages.
            r"^(?!.*\btoken\b).*\b(?:"
            r"(?:user|contact|lead|recipient|person)\b[^.]{0,60}\b(?:blocked|archived|deleted|removed|bounced|spam)\b"
            r"|(?:blocked|archived|deleted|removed|bounced)\b[^.]{0,20}\b(?:user|contact|lead|recipient|person)\b)",
            re.IGNORECASE,
        ),
        _CLOSED_CONTACT,
    ),
)
_BY_CODE: Final = {
    "intercom_version_invalid": _VERSION,
    "api_plan_restricted": "The workspace's plan does not include this. Change the plan in Intercom.",
    "token_revoked": f"The token was revoked. {_CHECK_TOKEN}",
    "token_blocked": f"The token was blocked. {_CHECK_TOKEN}",
    "token_suspended": f"The token was suspended. {_CHECK_TOKEN}",
    "token_expired": f"The token has expired. {_CHECK_TOKEN}",
    "token_not_found": f"Intercom does not know this token. {_CHECK_TOKEN}",
    "admin_not_found": "Check from_admin_id, or the connection's admin_id: it must be a teammate of this workspace.",
    "whatsapp_message_not_found": _WHATSAPP_MESSAGE,
    "media_type_not_acceptable": _ACCEPT,
}
_NOT_FOUND_BY_REQUEST: Final = {
    "GET /messages/status": _RULESET,
    "GET /messages/whatsapp/status": _WHATSAPP_MESSAGE,
    "POST /messages": _CONTACT,
    "GET /me": "This is not the address of Intercom's API: check the connection's host.",
}
_BY_STATUS: Final = {
    401: f"{_CHECK_TOKEN} {_REGENERATE}",
    403: _REGENERATE,
    404: "Check the id and the region.",
    406: _ACCEPT,
    408: _LATER,
    429: "The rate limit is used up. Try again when it opens, or send fewer messages at a time.",
}
_SERVER_ERROR: Final = 500


def advice_for(refusal: Refusal) -> str:
    """
    Return what to do about a refused request.

    :param refusal: What is known of it.
    :return: Sentences.
    """
    status = refusal.status
    if status >= _SERVER_ERROR:
        return _LATER
    if not refusal.context.is_intercoms:
        return _FOREIGN
    advice = next((found for words, found in _BY_WORDS if words.search(refusal.words)), "")
    advice = advice or _by_code_or_request(refusal) or _BY_STATUS.get(status, _OTHERWISE)
    # 401 is also the answer to the token of another region, with any code.
    return f"{advice} {_CHECK_REGION}" if status == 401 and "region" not in advice else advice  # noqa: PLR2004


def _by_code_or_request(refusal: Refusal) -> str:
    code, status = refusal.code, refusal.status
    remaining = refusal.context.remaining_id
    if code == "contact_merged" or (status == 410 and remaining):  # noqa: PLR2004 - as the HTTP statuses above
        return f"{_MERGED}: {remaining}." if remaining else f"{_MERGED}."
    if code in _BY_CODE:
        return _BY_CODE[code]
    if status == 404:  # noqa: PLR2004 - as the HTTP statuses above
        found = _NOT_FOUND_BY_REQUEST.get(refusal.request, "")
        return f"{_OWN_ID} Else: {found}" if found and refusal.context.may_be_own_id else found
    if status in (400, 422):
        return _NAMED_FIELD if refusal.names_field else _NO_FIELD
    return ""
