"""What whoever starts a sandbox may choose about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

Region = Literal["us", "eu", "au"]


class Options(TypedDict, total=False):
    """The fields of `Settings` as keyword arguments, for type checkers."""

    token: str
    region: Region
    speed: float
    failures: float
    read_share: float
    rate_limit: int
    latency: float
    seed: int


@dataclass(slots=True)
class Settings:
    """How a sandbox behaves; every field may be changed while it runs, `seed` before a reset.

    :param token: the access token that requests must carry.
    :param region: the region of the workspace, as `GET /me` tells it.
    :param speed: sandbox seconds in a second: 60 makes of a minute's delivery one second.
    :param failures: the share of WhatsApp messages that fail, from 0 to 1.
    :param read_share: the share of the delivered WhatsApp messages that are read, from 0 to 1.
    :param rate_limit: API requests allowed in a 10-second window; 0 for no limit.
    :param latency: seconds every API reply is held back, after its work is done.
    :param seed: decides what becomes of each message; the same seed tells the same story.
    """

    token: str = "sandbox-token"  # noqa: S105 (opens nothing but this sandbox)
    region: Region = "us"
    speed: float = 1.0
    failures: float = 0.0
    read_share: float = 0.7
    rate_limit: int = 1667
    latency: float = 0.0
    seed: int = 0
