"""Messages of an MCAP file in the order they were logged, up to the first damage.

Framing is walked here rather than by `mcap`'s readers because those need an intact index or give up a whole chunk: a
truncated chunk still holds whole messages, and every complaint must name a byte offset.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import BinaryIO
from zlib import crc32

import lz4.frame  # type: ignore[import-untyped]
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Schema

from world2act_core.errors import DamagedBagError

MAGIC = b"\x89MCAP0\r\n"
_RECORD = struct.Struct("<BQ")  # opcode, length
_MESSAGE = struct.Struct("<HIQQ")  # channel, sequence, log time, publish time
_CHUNK = struct.Struct("<QQQII")  # first and last log time, uncompressed size and CRC, length of the compression's name
_U64 = struct.Struct("<Q")
_LONGEST_NAME = 16  # of a compression; a longer one is garbage


@dataclass(frozen=True)
class RawMessage:
    """One message as it was logged.

    Attributes:
        offset: where it lies: the byte of the file, or of its chunk where that is compressed.
        file: from which ``data`` can be read again at ``offset``; None where it cannot (compressed).
        type_hash: RIHS01 hash of its type as the recorder knew it, "" if the recorder did not say.
    """

    topic: str
    type_name: str
    type_hash: str
    log_time_ns: int
    data: memoryview
    offset: int
    file: Path | None = None

    def keep(self) -> Callable[[], bytes]:
        """A way to get the data later that does not hold it in memory if that can be helped."""
        if self.file is None:
            data = bytes(self.data)
            return lambda: data
        return partial(_read_at, self.file, self.offset, len(self.data))


def _read_at(path: Path, offset: int, length: int) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            file.seek(offset)
            return file.read(length)
    except OSError as error:
        raise DamagedBagError(f"{path} cannot be read at byte {offset}: {error.strerror}") from error


class _Damage(Exception):
    """What is wrong and at which byte, for the one place that knows the file's name."""

    def __init__(self, offset: int, what: str) -> None:
        super().__init__(what)
        self.offset = offset


def mcap_messages(path: Path) -> Iterator[RawMessage]:
    """Yield every whole message in front of the first damage.

    Raises:
        DamagedBagError: the file is no MCAP file, truncated or corrupt; after all whole messages were given. Names
            the file and the byte.
    """
    try:
        with open(path, "rb") as file:
            yield from _Walk(file, path).messages()
    except OSError as error:
        raise DamagedBagError(f"{path} cannot be read: {error.strerror}") from error
    except _Damage as damage:
        raise DamagedBagError(f"{path} is damaged at byte {damage.offset}: {damage}") from None


class _Walk:
    """One pass over a file."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.path = file, path
        self.size = os.fstat(file.fileno()).st_size
        self.schemas: dict[int, Schema] = {}
        self.channels: dict[int, Channel] = {}

    def messages(self) -> Iterator[RawMessage]:
        if self.file.read(len(MAGIC)) != MAGIC:
            raise _Damage(0, "it does not begin as an MCAP file does")
        while True:
            start = self.file.tell()
            opcode, length = self._next_record(start)
            if opcode in (Opcode.DATA_END, Opcode.FOOTER):
                return self._check_end()
            body = start + _RECORD.size
            whole = body + length <= self.size
            if opcode == Opcode.CHUNK:
                yield from self._chunk(self.file.read(length if whole else max(0, self.size - body)), start, whole)
            elif whole and opcode in (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE):
                yield from self._record(opcode, memoryview(self.file.read(length)), body, self.path)
            elif whole and (Opcode.HEADER <= opcode <= Opcode.DATA_END or opcode >= 0x80):
                self.file.seek(length, os.SEEK_CUR)  # indexes, attachments, metadata, private records
            elif whole:
                raise _Damage(start, f"record type {opcode:#04x} does not exist")
            if not whole:
                raise _Damage(start, f"a record of {length} bytes is cut off, the file has {self.size} bytes")

    def _next_record(self, start: int) -> tuple[int, int]:
        head = self.file.read(_RECORD.size)
        if not head:
            raise _Damage(start, "it ends without a footer, so the recording was cut off")
        if len(head) < _RECORD.size:
            raise _Damage(start, "it ends in the middle of a record")
        opcode, length = _RECORD.unpack(head)
        return opcode, length

    def _check_end(self) -> None:
        """All data was read; an index that is cut off still hinders other tools, so say so."""
        self.file.seek(max(0, self.size - len(MAGIC)))
        if self.file.read() != MAGIC:
            raise _Damage(self.size, "its index is cut off (all messages were read)")

    def _chunk(self, data: bytes, start: int, whole: bool) -> Iterator[RawMessage]:
        """Messages of a chunk; of a truncated one those that are whole."""
        if len(data) < _CHUNK.size:
            raise _Damage(start, "a chunk is too short for its header")
        _, _, size, crc, name_length = _CHUNK.unpack_from(data)
        data_start = _CHUNK.size + name_length + _U64.size
        if name_length > _LONGEST_NAME or len(data) < data_start:
            raise _Damage(start, "the header of a chunk is cut off or garbage")
        compression = data[_CHUNK.size : _CHUNK.size + name_length]
        records = _decompress(compression, data[data_start:], start)
        if whole and (len(records) != size or (crc and crc32(records) != crc)):
            raise _Damage(start, "the checksum of a chunk is wrong")
        # In a compressed chunk there are no byte offsets of messages: name the chunk.
        first, path = (start, None) if compression else (start + _RECORD.size + data_start, self.path)
        view, position = memoryview(records), 0
        while position + _RECORD.size <= len(view):
            opcode, length = _RECORD.unpack_from(view, position)
            body = position + _RECORD.size
            position = body + length
            if position > len(view):
                break
            yield from self._record(opcode, view[body:position], first + (0 if compression else body), path)
        if whole and position != len(view):
            raise _Damage(start, "the records of a chunk do not fill it")

    def _record(self, opcode: int, body: memoryview, offset: int, path: Path | None) -> Iterator[RawMessage]:
        try:
            if opcode == Opcode.SCHEMA:
                schema = Schema.read(ReadDataStream(BytesIO(body)))
                self.schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                channel = Channel.read(ReadDataStream(BytesIO(body)))
                self.channels[channel.id] = channel
            elif opcode == Opcode.MESSAGE:
                channel_id, _, log_time, _ = _MESSAGE.unpack_from(body)
                channel = self.channels[channel_id]
                yield RawMessage(
                    channel.topic,
                    self.schemas[channel.schema_id].name if channel.schema_id else "",
                    channel.metadata.get("topic_type_hash", ""),
                    log_time,
                    body[_MESSAGE.size :],
                    offset + (_MESSAGE.size if path else 0),
                    path,
                )
        except KeyError as error:
            raise _Damage(offset, f"a record refers to channel or schema {error}, which was never defined") from None
        except (struct.error, UnicodeDecodeError, McapError) as error:
            raise _Damage(offset, f"a record cannot be read ({error})") from None


def _decompress(compression: bytes, data: bytes, start: int) -> bytes:
    """The chunk's records, or as many as a truncated chunk still gives."""
    try:
        if compression == b"zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        if compression == b"lz4":
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data))
    except (zstandard.ZstdError, RuntimeError) as error:
        raise _Damage(start, f"a chunk cannot be decompressed ({error})") from None
    if compression:
        raise _Damage(start, f"a chunk has the unknown compression {compression!r}")
    return data
