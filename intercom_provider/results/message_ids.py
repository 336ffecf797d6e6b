"""Read the WhatsApp ids of more messages than fit into memory from the results of batches, whenever they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, overload

from intercom_provider.api.errors import IntercomError, InvalidInputError, UnreachableError
from intercom_provider.api.parallel import MAX_UNTAKEN_RESULTS
from intercom_provider.results.reader import Key, TryResults

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

# A key is needed until the result of the message's call is taken, and so many calls may be untaken.
_MAX_RECENT_KEYS: Final = MAX_UNTAKEN_RESULTS + 1

Piece: TypeAlias = "TryResults | Mapping[str, Key]"
"""The results of a batch, or ids in memory with their keys."""


@contextmanager
def explain_read_errors(folder: str) -> Iterator[None]:
    """
    Raise errors of storage libraries as errors that name the folder and say whether a retry may help.

    :param folder: The folder of a batch's results.
    :raises InvalidInputError: When another attempt would meet the same error.
    :raises UnreachableError: When another attempt may succeed.
    """
    try:
        yield
    except IntercomError:
        raise
    except Exception as error:
        text = f"the batch's results_path {folder} cannot be read: {error}"
        if isinstance(error, ValueError | ImportError | FileNotFoundError | NotADirectoryError):
            raise InvalidInputError.of("sent", text) from None
        raise UnreachableError(f"sent: {text}") from error


class StreamedIds(Sequence[str]):
    """
    A sequence of ids that are read when they are needed, in an order that never changes.

    Reading the next id is fast; going back reads everything from the beginning.

    :param pieces: The results and ids that make up the sequence.
    :param number: How many ids there are.
    """

    def __init__(self, pieces: Sequence[Piece], number: int) -> None:
        self._pieces = tuple(pieces)
        self._number = number
        self._reading: Generator[tuple[str, Key]] | None = None
        self._index = -1
        self._current: tuple[str, Key] = ("", None)
        self._recent_keys: dict[str, Key] = {}

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """
        Read an id.

        :param index: Its index, from 0.
        :return: The id.
        :raises InvalidInputError: When the results do not have it any more.
        :raises UnreachableError: When it cannot be read, and another attempt may succeed.
        """
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(self._number))]
        if not 0 <= index < self._number:
            raise IndexError(index)
        if self._reading is None or index < self._index:
            self._rewind()
            self._reading = self._read()
        while self._index < index:
            try:
                self._current = next(self._reading)
            except StopIteration:
                raise InvalidInputError.of("sent", "the results of a batch hold fewer ids than before") from None
            self._index += 1
        whatsapp_message_id, key = self._current
        self._recent_keys[whatsapp_message_id] = key
        if len(self._recent_keys) > _MAX_RECENT_KEYS:
            del self._recent_keys[next(iter(self._recent_keys))]
        return whatsapp_message_id

    def get(self, whatsapp_message_id: str) -> Key:
        """
        Return the key of a message whose id was among the last that were read.

        :param whatsapp_message_id: Its id.
        :return: The key; None when it has none, and for all other messages.
        """
        return self._recent_keys.get(whatsapp_message_id)

    def close(self) -> None:
        """Close the file and forget the keys, until the next id is read."""
        self._rewind()
        self._recent_keys.clear()

    def _rewind(self) -> None:
        if self._reading is not None:
            self._reading.close()
        self._reading, self._index, self._current = None, -1, ("", None)

    def _read(self) -> Generator[tuple[str, Key]]:
        for piece in self._pieces:
            if isinstance(piece, TryResults):
                with explain_read_errors(piece.folder):
                    for line in piece.lines():
                        if line.whatsapp_message_id is not None:
                            yield line.whatsapp_message_id, line.key
            else:
                yield from piece.items()

    def state(self) -> dict[str, Any]:
        """
        Return the sequence as JSON: ids and folders, but no keys, which may name a person.

        :return: The state, for :meth:`resume`.
        """
        pieces = [
            [piece.folder, piece.try_number, piece.total] if isinstance(piece, TryResults) else {"ids": list(piece)}
            for piece in self._pieces
        ]
        return {"number": self._number, "pieces": pieces}

    @classmethod
    def resume(cls, state: Mapping[str, Any]) -> Self:
        """
        Restore a sequence from JSON.

        :param state: The state that :meth:`state` returned.
        :return: The sequence.
        """
        pieces: list[Piece] = [
            dict.fromkeys(piece["ids"]) if isinstance(piece, dict) else TryResults(*piece) for piece in state["pieces"]
        ]
        return cls(pieces, int(state["number"]))
