"""The settings of a sandbox."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypedDict

from intercom_provider.sandbox.versions import check_version

if TYPE_CHECKING:
    from intercom_provider.sandbox.templates import Templates

Region = Literal["us", "eu", "au"]


class SandboxOptions(TypedDict, total=False):
    """The fields of `SandboxSettings` as keyword arguments, for type checkers."""

    token: str
    region: Region
    speed: float
    failures: float
    read_share: float
    rate_limit: int
    latency: float
    seed: int
    default_version: str
    templates: Templates | None


@dataclass(slots=True)
class SandboxSettings:
    """How a sandbox behaves. Every field may be changed while it runs; a new `seed` applies from the next reset.

    :param token: the access token that requests must carry.
    :param region: the region of the workspace, as `GET /me` returns it.
    :param speed: sandbox seconds per real second: at 60, a delivery of one minute takes one second.
    :param failures: the share of WhatsApp messages that fail, from 0 to 1.
    :param read_share: the share of the delivered WhatsApp messages that are read, from 0 to 1.
    :param rate_limit: API requests allowed in a 10-second window; 0 for no limit.
    :param latency: seconds by which every API reply is delayed, after its work is done.
    :param seed: seeds the random choices; two runs with one seed deliver the same messages alike.
    :param default_version: the API version of requests without the header `Intercom-Version`.
    :param templates: the WhatsApp templates of the workspace; None when every name and all parameters pass.
    """

    token: str = "sandbox-token"  # noqa: S105 (opens nothing but this sandbox)
    region: Region = "us"
    speed: float = 1.0
    failures: float = 0.0
    read_share: float = 0.7
    rate_limit: int = 1667
    latency: float = 0.0
    seed: int = 0
    default_version: str = "1.0"
    templates: Templates | None = None

    def __post_init__(self) -> None:
        check_version(self.default_version)
