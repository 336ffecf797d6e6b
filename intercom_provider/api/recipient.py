"""The recipients of a message: contacts and phones, strict, with errors for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator
from pydantic_core import PydanticCustomError

from intercom_provider.api.values import Identifier, Text, is_missing, parse_json_text

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")


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
    email: Text | None = None

    @field_validator("type", mode="before")
    @classmethod
    def _only_contacts(cls, value: object) -> object:
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

    phone: Text
    name: Text | None = None

    @field_validator("phone")
    @classmethod
    def _e164(cls, value: str) -> str:
        if not _E164.fullmatch(value):
            raise PydanticCustomError(
                "e164",
                "must be in E.164: a plus sign, the country code and the number, digits only (+447900123456)",
            )
        return value


def _as_list(value: object) -> list[object]:
    """Return one recipient or several as a list, without the fields that are missing."""
    data = parse_json_text(value)
    people = data if isinstance(data, list) else [data]
    return [
        {name: entry for name, entry in person.items() if not is_missing(entry)}
        if isinstance(person, Mapping)
        else person
        for person in people
    ]


Recipient = TypeVar("Recipient", ContactRecipient, PhoneRecipient)
Recipients = Annotated[tuple[Recipient, ...], BeforeValidator(_as_list), Field(min_length=1)]
