"""What becomes of a WhatsApp message: drawn from the seed and from ids, never from a shared stream.

So the fate of one message does not depend on what else was asked of the sandbox, or in which order.
"""

from __future__ import annotations

from binascii import a2b_base64, b2a_base64
from hashlib import blake2b
from typing import Final, Literal

DeliveryPlan = Literal["read", "delivered", "stuck", "failed", "refused"]

# High endings, so that phone numbers counted up from zero do not meet them by accident.
MAGIC_ENDINGS: Final[dict[str, tuple[DeliveryPlan, str]]] = {
    "99901": ("failed", "fails, with an error"),
    "99902": ("stuck", "stays sent for ever, as if the phone were off"),
    "99903": ("refused", "is not accepted by WhatsApp: 200 without a whatsapp_message_id"),
    "99904": ("delivered", "is delivered, never read"),
    "99905": ("read", "is delivered, then read"),
}

FAILURES: Final = (
    {"message": "Message undeliverable", "details": "The recipient's phone number is not on WhatsApp"},
    {"message": "Message expired", "details": "The recipient could not be reached in time"},
    {"message": "Template paused", "details": "The template was paused because of its low quality"},
)


class SeededRandom:
    """An endless table of random bytes, looked up by ids.

    :param seed: two tables with one seed are the same table.
    :param ids: what this table is about; narrows it.
    """

    def __init__(self, seed: int, *ids: str) -> None:
        self._base = blake2b("\0".join((str(seed), *ids, "")).encode(), digest_size=32)

    def of(self, key: str | int) -> bytes:
        """Look up 32 random bytes.

        :param key: the same key always finds the same bytes.
        :return: bytes 0 to 7 decide fate and pace; the others are free to name things with.
        """
        # Copying a hash that has read the prefix is half the price of a new one: pages of 100 need it.
        hashed = self._base.copy()
        hashed.update(b"%d" % key if isinstance(key, int) else key.encode(errors="replace"))
        return hashed.digest()


def fate_of(draw: bytes, failures: float, read_share: float) -> DeliveryPlan:
    """Decide where a message ends.

    :param draw: the message's own random bytes.
    :param failures: the share that fails, 0 to 1.
    :param read_share: the share of the rest that is read, 0 to 1.
    """
    if (draw[0] << 8 | draw[1]) < failures * 65536:
        return "failed"
    if (draw[2] << 8 | draw[3]) < read_share * 65536:
        return "read"
    return "delivered"


def fate_of_phone(phone: str) -> DeliveryPlan | None:
    """Tell the fate that a magic phone number asks for.

    :param phone: a phone number.
    :return: None when the number is like any other.
    """
    magic = MAGIC_ENDINGS.get(phone[-5:])
    return magic[0] if magic else None


def status_at(fate: DeliveryPlan, draw: bytes, age: float) -> tuple[str, float]:
    """Tell how far a message has come.

    :param fate: where it ends.
    :param draw: the message's own random bytes, which set its pace.
    :param age: sandbox seconds since it was sent.
    :return: its status, and the age at which it got it.
    """
    delivered = 2 + draw[4] / 32
    if age < delivered or fate == "stuck":
        return "sent", 0.0
    if fate == "failed":
        return "failed", delivered
    read = delivered + 1 + draw[5] / 4
    if fate == "read" and age >= read:
        return "read", read
    return "delivered", delivered


def failure_of(draw: bytes) -> dict[str, str]:
    """Choose the error that a failed message carries.

    :param draw: the message's own random bytes.
    """
    return FAILURES[draw[6] % len(FAILURES)]


def whatsapp_id(draw: bytes, number: int) -> str:
    """Make an id that looks like WhatsApp's own.

    The bytes are standard base64, so an id holds `=` and often `+` and `/`: whoever forgets to
    URL-encode it finds out here.

    :param draw: the message's own random bytes.
    :param number: at most six bytes, to be found again by `number_in`.
    """
    hidden = number ^ int.from_bytes(draw[20:26], "big")
    code = b"\x1c\x18" + draw[20:31] + hidden.to_bytes(6, "big")
    return "wamid." + b2a_base64(code, newline=False).decode()


def number_in(whatsapp_message_id: str) -> int | None:
    """Read back the number that `whatsapp_id` put into an id.

    :param whatsapp_message_id: any text.
    :return: None when the text is no such id. A number proves nothing: an id can be made up.
    """
    try:
        code = a2b_base64(whatsapp_message_id.removeprefix("wamid."), strict_mode=True)
    except ValueError:
        return None
    return int.from_bytes(code[13:], "big") ^ int.from_bytes(code[2:8], "big")
