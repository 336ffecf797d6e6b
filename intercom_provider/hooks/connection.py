"""Read an Airflow connection: its fields, checked, as the settings of a client."""

from __future__ import annotations

import logging
import re
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from airflow.sdk.log import mask_secret
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator
from pydantic_core import PydanticCustomError

from intercom_provider.api.characters import strip_invisible
from intercom_provider.api.errors import InvalidInputError, Problem
from intercom_provider.api.json_text import read_json
from intercom_provider.api.settings import (
    DEFAULT_API_VERSION,
    DEFAULT_REGION,
    DEFAULT_TIMEOUT_SECONDS,
    Settings,
    is_loopback,
    parse_base_url,
    parse_region,
)
from intercom_provider.api.values import Identifier, is_missing
from intercom_provider.api.version import parse_api_version

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import Connection

log = logging.getLogger(__name__)

_REGIONS_PORT: Final = 443
_NOT_AN_OBJECT: Final = "must be a JSON object"
_WORDS: Final = {
    "region": "must be text: us, eu or au",
    "api_version": "must be text, such as 2.17 or Preview",
    "timeout": "must be seconds, above 0",
    "dry_run": "must be true or false",
    "allow_http": "must be true or false",
}
"""What is wrong with a field of the extra, in words of our own; those of ``admin_id`` come from its type."""


class _Extra(BaseModel):
    """The connection's extra. Booleans and numbers may be text, because in a URI they are."""

    # Built when the first connection is read, not when a DAG file imports the hook.
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True, coerce_numbers_to_str=True, defer_build=True)

    region: str = DEFAULT_REGION
    api_version: str = DEFAULT_API_VERSION
    admin_id: Identifier | None = None
    timeout: float = Field(default=DEFAULT_TIMEOUT_SECONDS, gt=0, allow_inf_nan=False)
    dry_run: bool = False
    allow_http: bool = False

    @field_validator("timeout", mode="before")
    @classmethod
    def _refuse_booleans(cls, value: object) -> object:
        if isinstance(value, bool):
            raise PydanticCustomError("seconds", "must be seconds, above 0")
        return value


def read_settings(
    connection: Connection, conn_id: str, *, region: str | None = None, api_version: str | None = None
) -> Settings:
    """
    Read the settings of a client from a connection.

    :param connection: The connection.
    :param conn_id: Its id, for errors and warnings.
    :param region: ``us``, ``eu`` or ``au``; None (default) for the connection's region.
    :param api_version: ``2.17``, ``Preview``, ...; None (default) for the connection's version.
    :return: The settings.
    :raises InvalidInputError: When a field is wrong; it names the connection.
    """
    try:
        return _read(connection, conn_id, region, api_version)
    except InvalidInputError as error:
        raise InvalidInputError(
            Problem(f"connection {conn_id}: {bad.field}", bad.text) for bad in error.problems
        ) from None


def _read(connection: Connection, conn_id: str, region: str | None, api_version: str | None) -> Settings:
    given = {name: value for name, value in _extra(connection).items() if not is_missing(value)}
    _check_names(given, conn_id)
    try:
        extra = _Extra.model_validate(given)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)
        names = [(str(problem["loc"][0]), problem["msg"]) for problem in found]
        raise InvalidInputError(Problem(name, _WORDS.get(name, text)) for name, text in names) from None
    base_url = None
    if not is_missing(connection.host):
        base_url = parse_base_url(str(connection.host), port=connection.port, allow_http=extra.allow_http)
        parts = urlsplit(base_url)
        if parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            log.warning("Connection %s sends the token over plain http (allow_http)", conn_id)
    elif connection.port not in (None, _REGIONS_PORT):
        raise InvalidInputError.of(
            "port", f"is {connection.port}, and there is no host that it belongs to: fill in host, or empty port"
        )
    return Settings(
        token=_token(connection.password),
        region=parse_region(extra.region if is_missing(region) else region),
        base_url=base_url,
        api_version=parse_api_version(extra.api_version if is_missing(api_version) else api_version),
        admin_id=extra.admin_id,
        timeout=extra.timeout,
        dry_run=extra.dry_run,
    )


def _check_names(given: Mapping[str, object], conn_id: str) -> None:
    """Warn of unknown names in the extra; one that is nearly ``dry_run`` is an error, as real messages would go out."""
    unknown = []
    for name in sorted(given.keys() - _Extra.model_fields.keys()):
        close = get_close_matches(_words(name), _Extra.model_fields, n=1, cutoff=0.75)
        if close == ["dry_run"]:
            raise InvalidInputError.of(
                f"extra: {name}", "is unknown; did you mean dry_run? Correct it: without it real messages would go out"
            )
        unknown.append(f"{name} (did you mean {close[0]}?)" if close else name)
    if unknown:
        log.warning("Connection %s: unknown in extra, ignored: %s", conn_id, ", ".join(unknown))


def _words(name: str) -> str:
    """Write a name as the extra's names are: ``dryRun`` and ``Dry-Run`` as ``dry_run``."""
    return re.sub(r"[\s-]+", "_", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name.strip())).lower()


def _extra(connection: Connection) -> dict[str, Any]:
    if connection.extra is None or is_missing(connection.extra):
        return {}
    # Airflow takes broken JSON for an empty extra. A dry run with a comma too many would then send.
    if not isinstance(read_json("extra", connection.extra, _NOT_AN_OBJECT), dict):
        raise InvalidInputError.of("extra", _NOT_AN_OBJECT)
    return connection.extra_dejson


def _token(password: str | None) -> str:
    token = strip_invisible(password or "")
    if not token:
        raise InvalidInputError.of(
            "password", "is empty: put the access token there (Developer Hub > your app > Configure > Authentication)"
        )
    if not token.isascii() or not token.isprintable() or " " in token:
        raise InvalidInputError.of("password", "must be the access token alone, without spaces and without 'Bearer'")
    mask_secret(token)
    return token
