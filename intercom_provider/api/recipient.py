"""The recipients of a message: contacts and phones, strict, with errors for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError

from intercom_provider.api.cells import as_plain
from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.errors import InvalidInputError
from intercom_provider.api.json_text import parse_json_text
from intercom_provider.api.values import Email, Identifier, Line, Word, is_missing

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}")
_IDS: Final = frozenset({"id", "user_id", "email", "phone"})
_SCHEME: Final = re.compile(r"[A-Za-z]+:")
_BETWEEN_DIGITS: Final = re.compile(r"[\s().\-/\u2010-\u2015\u2212]")


class StrictModel(BaseModel):
    """A model of what users write: unknown fields are errors, and no error repeats a value."""

    # Built when the first message of its type is parsed, so that a DAG pays only for the types that it uses.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True, defer_build=True)


class ContactRecipient(StrictModel):
    """
    A contact who receives an in-app message, an email or an SMS. Needs exactly one of the three ids.

    :param type: ``user`` or ``lead``: the contact's role.
    :param id: Intercom's id of the contact.
    :param user_id: Your own id of the contact (``external_id``).
    :param email: The contact's email address; not accepted by every workspace.
    """

    type: Literal["user", "lead"]
    id: Identifier | None = None
    user_id: Identifier | None = None
    email: Email | None = None

    @field_validator("type", mode="before")
    @classmethod
    def _only_contacts(cls, value: object) -> object:
        value = strip_invisible(value) if isinstance(value, str) else value
        if value == "admin":
            raise PydanticCustomError(
                "admin",
                "must be user or lead: Intercom messages contacts, not teammates. To alert your own team, "
                "create a contact for it and message that contact",
            )
        if value not in ("user", "lead"):
            raise PydanticCustomError("role", "must be the contact's role: user or lead")
        return value

    @model_validator(mode="after")
    def _exactly_one_id(self) -> ContactRecipient:
        if len(self.model_fields_set & {"id", "user_id", "email"}) != 1:
            raise PydanticCustomError("one_id", "needs exactly one of id, user_id and email")
        return self


class PhoneRecipient(StrictModel):
    """
    The phone that receives a WhatsApp message.

    :param phone: The number in E.164, with the plus sign, as text.
    :param name: The name of the contact that Intercom creates or finds for the number.
    """

    phone: Word
    name: Line | None = None

    @field_validator("phone", mode="before")
    @classmethod
    def _no_number(cls, value: object) -> object:
        if isinstance(plain := as_plain(value), int | float | Decimal) and not isinstance(plain, bool):
            raise PydanticCustomError(
                "phone",
                "is a number, and a phone is text: write it in quotes, with the plus sign and the country code "
                "(+447900123456)",
            )
        return value

    @field_validator("phone")
    @classmethod
    def _e164(cls, value: str) -> str:
        if not _E164.fullmatch(value):
            raise PydanticCustomError("e164", "{problem}", {"problem": f"must be in E.164: {_how_to_write(value)}"})
        return value


def read_phone(text: str) -> str:
    """
    Read a phone number that people wrote, with blanks, dots, hyphens or brackets between its digits.

    :param text: The number, with the plus sign.
    :return: The number in E.164.
    :raises InvalidInputError: When it is not certain which number is meant.
    """
    plain = _BETWEEN_DIGITS.sub("", text)
    # The (0) stands for a digit that is dialled within the country only.
    if "(0)" in text or not _E164.fullmatch(plain):
        raise InvalidInputError.of("phone", f"must be in E.164: {_how_to_write(text)}")
    return plain


def _how_to_write(phone: str) -> str:
    """Return what to change in a phone number, without repeating it."""
    plain = _BETWEEN_DIGITS.sub("", phone)
    is_number = plain.isascii() and plain.isdigit()
    ways = (
        (_SCHEME.match(phone), "write the number alone, without a word and a colon before it"),
        (any(char.isdecimal() and not char.isascii() for char in phone), "it has digits of another script, use 0 to 9"),
        ("(0)" in phone, "leave the (0) out, digits only"),
        (plain != phone and _E164.fullmatch(plain), "write it without blanks, dots, hyphens and brackets"),
        (is_number and plain.startswith("00"), "write a plus sign in place of the 00 before the country code"),
        (is_number and plain.startswith("0"), "write a plus sign and the country code in place of the 0"),
        (is_number, "it lacks the plus sign before the country code"),
    )
    way = next((text for applies, text in ways if applies), "a plus sign, the country code and the number, digits only")
    return f"{way} (+447900123456)"


def _as_list(value: object, info: ValidationInfo) -> list[object]:
    """Return one recipient or several as a list, without the fields that are missing."""
    data = parse_json_text(str(info.field_name), value)
    people = data if isinstance(data, list) else [data]
    return [_given(person) if isinstance(person, Mapping) else person for person in people]


def _given(person: Mapping[object, object]) -> dict[object, object]:
    given = {name: entry for name, entry in person.items() if not is_missing(entry)}
    if not _IDS.intersection(map(str, given)):
        # With no other id, the text "None" is refused by name, because it is what str() makes of a missing id.
        given |= {name: entry for name, entry in person.items() if name in _IDS and _is_none_as_text(entry)}
    return given


def _is_none_as_text(value: object) -> bool:
    return isinstance(value, str) and value.strip() == "None"


Recipient = TypeVar("Recipient", ContactRecipient, PhoneRecipient)
Recipients = Annotated[tuple[Recipient, ...], BeforeValidator(_as_list), Field(min_length=1)]
