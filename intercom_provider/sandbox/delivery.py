"""The delivery of a WhatsApp message: its plan, its status over time, its error, its id.

Every choice is derived from the seed and the message's own ids, never drawn from a shared stream. The delivery of one
message therefore does not depend on other requests to the sandbox, nor on their order.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from hashlib import blake2b
from typing import Final, Literal

DeliveryPlan = Literal["read", "delivered", "stuck", "failed", "refused"]
"""The last status that a message reaches; `refused`: WhatsApp does not accept it at all."""

# High endings, so that a test that counts phone numbers up from zero does not meet them by accident.
MAGIC_ENDINGS: Final[dict[str, tuple[DeliveryPlan, str]]] = {
    "99901": ("failed", "fails, with an error"),
    "99902": ("stuck", "stays sent for ever, as if the phone were off"),
    "99903": ("refused", "is not accepted by WhatsApp: 200 without a whatsapp_message_id"),
    "99904": ("delivered", "is delivered, never read"),
    "99905": ("read", "is delivered, then read"),
}

ERRORS: Final = (
    {"message": "Message undeliverable", "details": "The recipient's phone number is not on WhatsApp"},
    {"message": "Message expired", "details": "The recipient could not be reached in time"},
    {"message": "Template paused", "details": "The template was paused because of its low quality"},
)

# Sandbox seconds. The message's own random bytes add up to the variation, evenly spread.
_MIN_DELIVERY_SECONDS: Final = 2
_DELIVERY_VARIATION_SECONDS: Final = 8
_MIN_READ_SECONDS: Final = 1
_READ_VARIATION_SECONDS: Final = 64


class SeededRandom:
    """An endless table of random bytes, looked up by id.

    :param seed: two tables with the same seed and ids are equal.
    :param ids: name the table, so that each kind of object has a table of its own.
    """

    def __init__(self, seed: int, *ids: str) -> None:
        self._base = blake2b("\0".join((str(seed), *ids, "")).encode(), digest_size=32)

    def of(self, key: str | int) -> bytes:
        """Return the 32 random bytes of an id.

        :param key: the id; the same id always has the same bytes.
        :return: bytes 0 to 7 decide plan and pace; the others are free for ids.
        """
        # A copy of a hash that has read the prefix costs half of a new one, which counts for pages of 100 events.
        hashed = self._base.copy()
        hashed.update(b"%d" % key if isinstance(key, int) else key.encode(errors="replace"))
        return hashed.digest()


def choose_plan(random_bytes: bytes, failures: float, read_share: float) -> DeliveryPlan:
    """Choose the delivery plan of a message.

    :param random_bytes: the message's own random bytes.
    :param failures: the share of messages that fail, 0 to 1.
    :param read_share: the share of the others that are read, 0 to 1.
    """
    if (random_bytes[0] << 8 | random_bytes[1]) < failures * 65536:
        return "failed"
    if (random_bytes[2] << 8 | random_bytes[3]) < read_share * 65536:
        return "read"
    return "delivered"


def magic_plan(phone: str) -> DeliveryPlan | None:
    """Return the delivery plan of a magic phone number.

    :param phone: a phone number.
    :return: None for an ordinary number.
    """
    magic = MAGIC_ENDINGS.get(phone[-5:])
    return magic[0] if magic else None


def status_at(plan: DeliveryPlan, random_bytes: bytes, age: float) -> tuple[str, float]:
    """Return the status that a message has at an age.

    :param plan: its delivery plan.
    :param random_bytes: its own random bytes, which set its pace.
    :param age: sandbox seconds since it was sent.
    :return: its status, and the age in sandbox seconds at which it reached that status.
    """
    delivered = _MIN_DELIVERY_SECONDS + random_bytes[4] * _DELIVERY_VARIATION_SECONDS / 256
    if age < delivered or plan == "stuck":
        return "sent", 0.0
    if plan == "failed":
        return "failed", delivered
    read = delivered + _MIN_READ_SECONDS + random_bytes[5] * _READ_VARIATION_SECONDS / 256
    if plan == "read" and age >= read:
        return "read", read
    return "delivered", delivered


def choose_error(random_bytes: bytes) -> dict[str, str]:
    """Choose the error of a failed message.

    :param random_bytes: the message's own random bytes.
    """
    return ERRORS[random_bytes[6] % len(ERRORS)]


def make_whatsapp_id(random_bytes: bytes, number: int) -> str:
    """Build an id in the form of WhatsApp's own.

    It is standard base64 and therefore holds `=` and often `+` and `/`, so that a client that does not URL-encode ids
    fails against the sandbox already.

    :param random_bytes: the message's own random bytes.
    :param number: at most six bytes; `number_in_whatsapp_id` reads it back.
    """
    hidden = number ^ int.from_bytes(random_bytes[20:26], "big")
    code = b"\x1c\x18" + random_bytes[20:31] + hidden.to_bytes(6, "big")
    return "wamid." + b2a_base64(code, newline=False).decode()


def number_in_whatsapp_id(whatsapp_message_id: str) -> int | None:
    """Read the number that `make_whatsapp_id` put into an id.

    It proves nothing, because an id can be made up: compare the id of the message that has this number.

    :param whatsapp_message_id: any text.
    :return: None when the text is not base64.
    """
    try:
        code = a2b_base64(whatsapp_message_id.removeprefix("wamid."), strict_mode=True)
    except ValueError:
        return None
    return int.from_bytes(code[13:], "big") ^ int.from_bytes(code[2:8], "big")
