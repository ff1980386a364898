"""The encoding of values as bytes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Generic, TypeVar

V = TypeVar("V")


class Codec(ABC, Generic[V]):
    """Encoding of values for the layers that store bytes. Pure: it does no I/O and has no mutable state."""

    @abstractmethod
    def encode(self, key: str, value: V) -> bytes:
        """Return the value as bytes."""

    @abstractmethod
    def decode(self, key: str, data: bytes) -> V:
        """Return the value that the bytes encode.

        Raises:
            CorruptData: the bytes are not valid. The message should name ``key``.
        """

    mappable: ClassVar[bool] = False
    """Whether values can be views of a mapped file, made by ``map``."""

    def map(self, key: str, data: memoryview) -> V:
        """Return the value as a view of the bytes of a mapped file, without a copy.

        The bytes were decoded before, so they are not validated again.
        """
        return self.decode(key, bytes(data))

    def prefers_mapping(self, value: V) -> bool:
        """Return whether a value is as fast as a view of a mapped file as it is in memory."""
        return False

    def check_blob(self, key: str, data: bytes) -> None:
        """Verify the bytes of a blob by the checksum that was recorded for it, if there is one.

        Only the blob layer calls this: the files of the disk layer have their own checksums.

        Raises:
            CorruptData: the checksum differs.
        """


class BytesCodec(Codec[bytes]):
    """Codec of values that are bytes."""

    def encode(self, key: str, value: bytes) -> bytes:
        """Return the value unchanged."""
        return value

    def decode(self, key: str, data: bytes) -> bytes:
        """Return the data unchanged."""
        return data
