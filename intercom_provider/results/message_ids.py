"""The WhatsApp ids of more messages than are held in memory, read from what batches wrote wherever they are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, overload

from intercom_provider.api.errors import IntercomError, InvalidInputError, UnreachableError
from intercom_provider.api.parallel import MAX_UNTAKEN_RESULTS
from intercom_provider.results.reader import Key, TryResults

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Mapping

# Each is read when it is asked for, and its key is wanted when it is taken.
_LATELY: Final = MAX_UNTAKEN_RESULTS + 1

Piece: TypeAlias = "TryResults | Mapping[str, Key]"
"""What a batch wrote, or ids that are held, with their keys."""


@contextmanager
def explain_read_errors(folder: str) -> Iterator[None]:
    """
    Say of what could not be read where it was, and whether it may pass.

    :param folder: Where a batch wrote.
    :raises InvalidInputError: When another attempt would find the same, which is for a person.
    :raises UnreachableError: When another attempt may succeed.
    """
    try:
        yield
    except IntercomError:
        raise
    except Exception as error:
        said = f"the batch's results_path {folder} can not be read: {error}"
        if isinstance(error, ValueError | ImportError | FileNotFoundError | NotADirectoryError):
            raise InvalidInputError.of("sent", said) from None
        raise UnreachableError(f"sent: {said}") from error


class StreamedIds(Sequence[str]):
    """
    Ids in an order that is always the same; reading one after the other is fast, going back begins anew.

    :param pieces: Where they are.
    :param number: How many they are.
    """

    def __init__(self, pieces: Sequence[Piece], number: int) -> None:
        self._pieces = tuple(pieces)
        self._number = number
        self._reading: Generator[tuple[str, Key]] | None = None
        self._index = -1
        self._at: tuple[str, Key] = ("", None)
        self._lately: dict[str, Key] = {}

    def __len__(self) -> int:
        return self._number

    @overload
    def __getitem__(self, index: int) -> str: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...

    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        """
        Read an id.

        :param index: Its place, from 0.
        :return: The id.
        :raises InvalidInputError: When it is not there any more.
        :raises UnreachableError: When it can not be read, which may pass.
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
                self._at = next(self._reading)
            except StopIteration:
                raise InvalidInputError.of("sent", "the results of a batch hold fewer ids than before") from None
            self._index += 1
        whatsapp_message_id, key = self._at
        self._lately[whatsapp_message_id] = key
        if len(self._lately) > _LATELY:
            del self._lately[next(iter(self._lately))]
        return whatsapp_message_id

    def get(self, whatsapp_message_id: str) -> Key:
        """
        Tell the key of a message whose id was read lately.

        :param whatsapp_message_id: Its id.
        :return: The key; None when it has none, and of all other messages.
        """
        return self._lately.get(whatsapp_message_id)

    def close(self) -> None:
        """Hold no file open, and no key, until the next id is wanted."""
        self._rewind()
        self._lately.clear()

    def _rewind(self) -> None:
        if self._reading is not None:
            self._reading.close()
        self._reading, self._index, self._at = None, -1, ("", None)

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
        Give as JSON where they are: ids, but no keys, which may name somebody.

        :return: What :meth:`resume` takes.
        """
        pieces = [
            [piece.folder, piece.try_number, piece.total] if isinstance(piece, TryResults) else {"ids": list(piece)}
            for piece in self._pieces
        ]
        return {"number": self._number, "pieces": pieces}

    @classmethod
    def resume(cls, state: Mapping[str, Any]) -> Self:
        """
        Read them from JSON.

        :param state: What :meth:`state` gave.
        :return: The ids.
        """
        pieces: list[Piece] = [
            dict.fromkeys(piece["ids"]) if isinstance(piece, dict) else TryResults(*piece) for piece in state["pieces"]
        ]
        return cls(pieces, int(state["number"]))
