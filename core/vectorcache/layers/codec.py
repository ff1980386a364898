"""How values become bytes and come back."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

V = TypeVar("V")


class Codec(ABC, Generic[V]):
    """Turns values into bytes for the layers that store bytes. Pure: no I/O, no state that changes."""

    @abstractmethod
    def encode(self, key: str, value: V) -> bytes:
        """The value as bytes."""

    @abstractmethod
    def decode(self, key: str, data: bytes) -> V:
        """The value that these bytes stand for.

        Raises:
            CorruptData: the bytes are not what ``encode`` makes; ``key`` belongs into the message.
        """

    mappable: ClassVar[bool] = False
    """Whether values can be made over a mapped file, by ``map``."""

    def map(self, key: str, data: memoryview) -> V:
        """The value over bytes that stay where they are, as those of a mapped file.

        They were decoded before, so nothing about them is checked again.
        """
        return self.decode(key, bytes(data))

    def prefers_mapping(self, value: V) -> bool:
        """Whether a value that is in memory whole is used as fast over a mapped file."""
        return False

    def check_blob(self, key: str, data: bytes) -> None:
        """Compare what a blob store returned with the checksum that was recorded for it, where one was.

        Other layers need not: their files carry checksums of their own.

        Raises:
            CorruptData: the bytes are not those that were written.
        """


class BytesCodec(Codec[bytes]):
    """Values that are bytes already."""

    def encode(self, key: str, value: bytes) -> bytes:
        """The value itself."""
        return value

    def decode(self, key: str, data: bytes) -> bytes:
        """The data itself."""
        return data
