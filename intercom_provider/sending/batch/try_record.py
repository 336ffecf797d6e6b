"""What a try of a batch has done so far: kept over its deferrals, so that the try counts each message once."""

from __future__ import annotations

import base64
import json
import zlib
from collections import Counter
from dataclasses import fields
from typing import Any, Self

from intercom_provider.sending.batch.counts import Counts


class TryRecord:
    """
    The outcomes that a try has recorded: their counts, and whose they are.

    :param total: How many messages the batch has.
    :param fingerprint: Tells one input from another, as the messages are known by their positions.
    """

    def __init__(self, total: int, fingerprint: str = "") -> None:
        self.counts = Counts(total=total)
        self._fingerprint = fingerprint
        self._recorded = bytearray(total // 8 + 1)

    def add(self, index: int) -> None:
        """
        Record that a message has its outcome.

        :param index: Its position.
        """
        self._recorded[index // 8] |= 1 << index % 8

    def has(self, index: int) -> bool:
        """
        Check whether a message has its outcome.

        :param index: Its position.
        :return: True when it has.
        """
        return bool(self._recorded[index // 8] & 1 << index % 8)

    def pack(self) -> str:
        """
        Write the record down: some bytes a hundred messages, and nothing about the people.

        :return: Text.
        """
        counts = {each.name: getattr(self.counts, each.name) for each in fields(Counts)}
        recorded = base64.b64encode(self._recorded).decode()
        value = {"counts": counts, "fingerprint": self._fingerprint, "recorded": recorded}
        return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()

    @classmethod
    def unpack(cls, packed: object) -> Self:
        """
        Read what :meth:`pack` has written.

        :param packed: The text.
        :return: The record.
        :raises ValueError: When it cannot be read.
        """
        try:
            value: Any = json.loads(zlib.decompress(base64.b64decode(str(packed), validate=True)))
            counts = value["counts"]
            made = cls(counts["total"], str(value["fingerprint"]))
            made.counts = Counts(**{**counts, "reasons": Counter(counts["reasons"])})
            made._recorded[:] = base64.b64decode(value["recorded"])
        except (zlib.error, KeyError, TypeError, ValueError) as error:
            raise ValueError("it cannot be read") from error
        return made

    def check_input(self, total: int, fingerprint: str) -> None:
        """
        Check that the messages are those of the record.

        :param total: How many messages the batch has now.
        :param fingerprint: The fingerprint of the input as it is now.
        :raises ValueError: When they are others.
        """
        if (self.counts.total, self._fingerprint) != (total, fingerprint):
            raise ValueError("the input is another one now")
