"""Find the length of FLAC files from their last frames: the header of a file may declare no length, or too little.

Format: RFC 9639, "Free Lossless Audio Codec (FLAC)", sections 8.2 (STREAMINFO) and 9.1 (frame header).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from nablafx_core.audio.headers import Span, duration
from nablafx_core.audio.values import StrPath

_STREAMINFO = 8  # first byte, after "fLaC" and the header of the block
_TOTAL_AT = 18  # 64 bits that end with the number of samples, in 36 bits
_TOTAL_BITS = 36  # width of the number of samples in STREAMINFO
_TAIL = 1 << 20  # bytes at the end that are searched; a frame of 8 channels and 65,535 samples may be longer
_LONGEST_HEADER = 16  # bytes of a frame header
_MOST_FRAMES = 6  # number of frames tried: the last one may be cut off, and a few bytes of audio look like a frame
_BLOCK_SIZES = {1: 192, **{c: 576 << (c - 2) for c in range(2, 6)}, **{c: 256 << (c - 8) for c in range(8, 16)}}


class FlacLength(NamedTuple):
    """Length of a FLAC file in samples per channel.

    Args:
        declared: number of samples that the header declares; 0 if it declares none.
        found: number of samples up to the end of the last complete frame; 0 if no complete frame was found.
        sample_rate: sample rate in Hz that the header declares.
        patched: the 8 bytes of the header that end with the declared length, with `found` in its place.
    """

    declared: int
    found: int
    sample_rate: int
    patched: bytes

    def remark(self) -> str | None:
        """Describe audio after the declared end, as the end of a sentence.

        Returns:
            None if there is no such audio, or if the header declares no length.
        """
        if not 0 < self.declared < self.found:
            return None
        declared, found = (duration(samples / max(1, self.sample_rate)) for samples in (self.declared, self.found))
        return (
            f"declares {declared} of audio in its header, but its frames hold {found}. All of it is read. The header "
            "was never completed, or is damaged."
        )


def flac_length(path: StrPath) -> FlacLength | None:
    """Return the declared length of a FLAC file, and the length found from its last frames.

    Returns:
        None if the file does not begin with a FLAC header.

    Raises:
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        head = file.read(_TOTAL_AT + 8)
        if len(head) < _TOTAL_AT + 8 or head[:4] != b"fLaC" or head[4] & 0x7F:
            return None
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _TAIL))
        tail = file.read(_TAIL)
    word = int.from_bytes(head[_TOTAL_AT:], "big")
    declared = word & ((1 << _TOTAL_BITS) - 1)
    found = _last_sample(tail, block_size=int.from_bytes(head[_STREAMINFO : _STREAMINFO + 2], "big"))
    return FlacLength(declared, found, word >> 44, (word - declared + found).to_bytes(8, "big"))


class PatchedFlac(Span):
    """File object that reads a FLAC file as if its header declared the length found.

    Args:
        path: path of the file.
        length: result of `flac_length` for the file.
    """

    def __init__(self, path: StrPath, length: FlacLength) -> None:
        super().__init__(path, 0, os.path.getsize(path))
        self._patched = length.patched

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the next bytes, and return their number; 0 at the end of the file."""
        first = self.tell()
        count = super().readinto(buffer)
        for at, byte in enumerate(self._patched, _TOTAL_AT - first):
            if 0 <= at < count:
                memoryview(buffer)[at] = byte
        return count


def _last_sample(tail: bytes, block_size: int) -> int:
    """Return the number of samples up to the end of the last frame whose checksum is right; 0 if there is none.

    Args:
        tail: last bytes of the file.
        block_size: number of samples of a frame in a file whose frames are equally long.
    """
    ends = [len(tail), len(tail) - 128 * (tail[-128:-125] == b"TAG")]  # ID3v1, which players append to any format
    for at, first, length in islice(_frames(tail, block_size), _MOST_FRAMES):
        if any(_crc16(tail[at:end]) == 0 for end in ends):
            return first + length
        ends.append(at)
    return 0


def _frames(tail: bytes, block_size: int) -> Iterator[tuple[int, int, int]]:
    """Yield, from the last frame to the first: its position in `tail`, number of its first sample, its samples."""
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0:
        header = tail[at : at + _LONGEST_HEADER]
        if len(header) < 6 or header[1] not in (0xF8, 0xF9):
            continue
        number, used = _coded_number(header[4:])
        code, stop = header[2] >> 4, 4 + used
        if code in (6, 7):
            stop += code - 5
            length = int.from_bytes(header[4 + used : stop], "big") + 1
        else:
            length = _BLOCK_SIZES.get(code, 0)
        stop += {12: 1, 13: 2, 14: 2}.get(header[2] & 0xF, 0)
        if used and length and stop < len(header) and _crc8(header[:stop]) == header[stop]:
            yield at, number if header[1] & 1 else number * block_size, length


def _coded_number(content: bytes) -> tuple[int, int]:
    """Decode a number of up to 36 bits, coded as in UTF-8; return it and its count of bytes, 0 if it is invalid."""
    first = content[0]
    ones = 8 - (first ^ 0xFF).bit_length()
    if ones == 0:
        return first, 1
    rest = content[1:ones]
    if ones == 1 or ones == 8 or len(rest) < ones - 1 or any(byte >> 6 != 2 for byte in rest):
        return 0, 0
    number = first & (0x7F >> ones)
    for byte in rest:
        number = number << 6 | byte & 0x3F
    return number, ones


def _crc8(content: bytes) -> int:
    """Return the CRC with the polynomial x^8 + x^2 + x + 1."""
    value = 0
    for byte in content:
        value ^= byte
        for _ in range(8):
            value = (value << 1) ^ (0x107 if value & 0x80 else 0)
    return value


def _crc16(content: bytes) -> int:
    """Return the CRC with the polynomial x^16 + x^15 + x^2 + 1; 0 if the content ends with its own CRC."""
    value = 0
    for byte in content:
        value = (value << 8) & 0xFFFF ^ _CRC16[value >> 8 ^ byte]
    return value


def _crc16_of_byte(byte: int) -> int:
    value = byte << 8
    for _ in range(8):
        value = (value << 1) ^ (0x18005 if value & 0x8000 else 0)
    return value


_CRC16 = [_crc16_of_byte(byte) for byte in range(256)]
