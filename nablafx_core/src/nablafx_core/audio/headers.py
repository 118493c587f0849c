"""Parse headers of audio files: find the audio, and compare its declared length with the size of the file.

libsndfile believes a header that declares too little (a recorder that crashed, a WAV beyond 4 GiB) and silently
shortens some files whose header declares too much. WAV, RF64, BW64, W64, AIFF, CAF and AU are parsed here, also if
their audio is compressed; FLAC is parsed in `nablafx_core.audio.flac`.
"""

from __future__ import annotations

import io
import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO, NamedTuple

from nablafx_core.audio.values import StrPath

_MOST_CHUNKS = 10_000  # of a file; a damaged one may hold millions of empty chunks
_PADDING = 1 << 16  # up to this many zero bytes after the audio are padding; more are recorded silence
_MARGIN = 1 << 16  # programs that write to a pipe declare 2^31 or 2^32 bytes, minus about the size of a header
_AUDIO = (b"data", b"SSND", b"RIFF", b"RF64", b"FORM")  # chunks that show that a second recording follows
_KNOWN = {
    *("LIST", "INFO", "bext", "iXML", "id3 ", "ID3 ", "fact", "PEAK", "cue ", "smpl", "inst", "plst", "JUNK", "junk"),
    *("FLLR", "PAD ", "DISP", "cart", "axml", "chna", "_PMX", "acid", "strc", "levl", "link", "umid", "DGDA", "minf"),
    *("elm1", "regn", "afsp", "NAME", "AUTH", "(c) ", "ANNO", "COMT", "MARK", "INST", "APPL", "MIDI", "AESD", "CHAN"),
    *("basc", "FVER", "COMM", "SAXL", "free", "info", "chan", "kuki", "peak", "mark", "midi", "strg", "uuid", "fmt "),
}
_W64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")  # end of the GUIDs of W64's chunks


class _Container(NamedTuple):
    """Layout of the chunks in a container format.

    Args:
        first: position of the first chunk in the file.
        id_bytes: number of bytes of a chunk's name.
        size: format of a chunk's length, for `struct`.
        size_has_header: True if a chunk's length includes its name and its length.
        align: number of bytes of which each chunk's position is a multiple.
        audio, format: names of the chunks with the audio, and with its encoding.
    """

    first: int
    id_bytes: int
    size: str
    size_has_header: bool
    align: int
    audio: bytes
    format: bytes


_WAV = _Container(12, 4, "<I", False, 2, b"data", b"fmt ")
_RIFX = _WAV._replace(size=">I")
_AIFF = _Container(12, 4, ">I", False, 2, b"SSND", b"COMM")
_W64 = _Container(40, 16, "<Q", True, 8, b"data" + _W64_TAIL, b"fmt " + _W64_TAIL)
_CAF = _Container(8, 4, ">q", False, 1, b"data", b"desc")
_MAGIC = {
    b"RIFF": ("WAV", _WAV),
    b"RIFX": ("WAV", _RIFX),
    b"RF64": ("RF64", _WAV),
    b"BW64": ("RF64", _WAV),
    b"FORM": ("AIFF", _AIFF),
    b"riff": ("W64", _W64),
    b"caff": ("CAF", _CAF),
}


class Encoding(NamedTuple):
    """Encoding that a header declares, in the terms of libsndfile.

    Args:
        subtype: subtype such as ``"PCM_24"``; empty for an encoding without samples of a fixed size, or an unknown one.
        channels: number of channels.
        sample_rate: sample rate in Hz.
        frame_bytes: number of bytes of one frame, one sample for each channel; meaningless if `subtype` is empty.
        endian: byte order of the samples, ``"LITTLE"`` or ``"BIG"``.
    """

    subtype: str
    channels: int
    sample_rate: int
    frame_bytes: int
    endian: str


@dataclass(frozen=True)
class Header:
    """Position and length of the audio in a file.

    Args:
        encoding: encoding of the samples.
        start: position of the first byte of audio in the file.
        declared: number of bytes of audio that the header declares; None if it declares no length, or one of those
            that programs write as "unknown".
        size: size of the file in bytes.
        follows: content after the declared end: ``""`` for nothing, padding, a tag or other chunks, ``"recording"``
            for a second recording with a header of its own, and ``"audio"`` for anything else.
        container: name of the container format, such as ``"WAV"``.
    """

    encoding: Encoding
    start: int
    declared: int | None
    size: int
    follows: str
    container: str

    @property
    def available(self) -> int:
        """Number of bytes from the beginning of the audio to the end of the file, with whatever follows the audio."""
        return max(0, self.size - self.start)

    @property
    def stop(self) -> int:
        """Position of the byte after the audio: the end of the file if no length is declared or more audio follows."""
        if self.declared is None or self.follows == "audio":
            return self.size
        return self.start + self.declared

    @property
    def unlike_libsndfile(self) -> bool:
        """True if libsndfile would not read the audio from `start` to `stop`, although the header is correct.

        That is so in two cases: libsndfile reads whatever follows the audio of a W64 file as audio, and it does not
        read files that declare no length, except WAV and W64.
        """
        return self.stop < self.size if self.container == "W64" else self.declared is None and self.container != "WAV"

    @property
    def cut_off(self) -> bool:
        """True if the header declares more bytes of audio than the file holds."""
        return self.declared is not None and self.declared > self.available

    def duration(self, size: int) -> str:
        """Format the length of `size` bytes of this audio in seconds, or in minutes if it is at least a minute."""
        return duration(size / max(1, self.encoding.frame_bytes) / max(1, self.encoding.sample_rate))

    def remark(self) -> str | None:
        """Describe audio or a second recording after the declared end, as the end of a sentence.

        Returns:
            None if neither follows, or if the header declares no length.
        """
        if not self.follows or self.declared is None:
            return None
        more = self.available - self.declared
        if self.follows == "recording":
            return f"holds another recording ({more:,} bytes) after its own, which is not read. Split the file."
        told = f"declares {self.duration(self.declared)} of audio in its header, but {more:,} bytes follow"
        if not self.encoding.subtype:
            return f"{told}. They are not read, because the file is compressed. Repair its header, or convert it."
        whole = self.duration(self.available)
        return f"{told}: {whole} in all. All of it is read. The header was never completed, or is damaged."


def duration(seconds: float) -> str:
    """Format a length in seconds, or in minutes if it is at least a minute."""
    return f"{seconds:.3g} s" if seconds < 60 else f"{seconds / 60:.1f} minutes"


def read_header(path: StrPath) -> Header | None:
    """Find the audio in a WAV, RF64, BW64, W64, AIFF, CAF or AU file.

    Returns:
        None for any other format, and if the header is invalid or declares no audio.

    Raises:
        OSError: if the file cannot be read.
    """
    with open(path, "rb") as file:
        magic = file.read(4)
        try:
            if magic in (b".snd", b"dns."):
                return _au(file, ">" if magic == b".snd" else "<")
            return _chunked(file, *_MAGIC[magic]) if magic in _MAGIC else None
        except (struct.error, ValueError, OverflowError, ZeroDivisionError):
            return None


def _chunked(file: BinaryIO, name: str, container: _Container) -> Header | None:
    size = os.fstat(file.fileno()).st_size
    encoding: Encoding | None = None
    long_size: int | None = None
    audio: tuple[int, int] | None = None
    for chunk, start, length in _chunks(file, container, container.first):
        if chunk == container.format:
            file.seek(start)
            encoding = _ENCODINGS[container.format[:4]](file.read(40), container)
        elif chunk == b"ds64":
            file.seek(start + 8)
            long_size = struct.unpack("<Q", file.read(8))[0]
        elif chunk == container.audio:
            audio = audio or (start, length)
        if encoding and audio:
            break
    if encoding is None or audio is None:
        return None
    start, length = audio
    if long_size is not None and (long_size or length == 0xFFFFFFFF):
        length = long_size
    if container is _AIFF:
        file.seek(start)
        skipped = 8 + struct.unpack(">I", file.read(4))[0]
    else:
        skipped = 4 if container is _CAF else 0
    start, length = start + skipped, max(0, length - skipped) if length >= 0 else length
    wide = long_size is not None or container.size[1] in "Qq"
    if _is_open(length, wide) and length not in range(size - start + 1):
        return Header(encoding, start, None, size, "", name)
    follows = "" if length > size - start else _follows(file, container, start + length, size)
    return Header(encoding, start, length, size, follows, name)


def _chunks(file: BinaryIO, container: _Container, at: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the name of each chunk from `at` on, and position and length of its content in bytes.

    Stop at the first data that does not look like a chunk, after a chunk of unknown (negative) length, and after
    `_MOST_CHUNKS` chunks.
    """
    head = container.id_bytes + struct.calcsize(container.size)
    for _ in range(_MOST_CHUNKS):
        file.seek(at)
        content = file.read(head)
        if len(content) < head or not _is_name(content[: container.id_bytes]):
            return
        length = struct.unpack(container.size, content[container.id_bytes :])[0]
        length -= head if container.size_has_header else 0
        yield content[: container.id_bytes], at + head, length
        if length < 0:
            return
        at = at + head + -(-length // container.align) * container.align


def _is_name(name: bytes) -> bool:
    tail = name[4:]
    return re.fullmatch(rb"[ -~]{4}", name[:4]) is not None and (not tail or tail.endswith(_W64_TAIL[-6:]))


def _is_open(length: int, wide: bool) -> bool:
    """Return True if a length in bytes means "unknown": programs that cannot seek back to the header write it.

    Args:
        length: length in the header; negative in CAF.
        wide: True if the header has 64 bits for the length.
    """
    if length < 0 or (wide and length >= 1 << 62):
        return True
    near = any(-_MARGIN < length - power <= 4096 for power in (1 << 31, 1 << 32))
    return not wide and (near or length in range(0x7F000000 - _MARGIN, 0x7F000000 + 4096))


def _follows(file: BinaryIO, container: _Container, end: int, size: int) -> str:
    """Return the value of `Header.follows` for audio that is declared to end at byte `end` of `size`."""
    aligned = end + -end % container.align
    if size - aligned <= 0:
        return ""
    for at in {aligned, end}:
        reached, names = at, []
        for name, start, length in _chunks(file, container, at):
            if start + length > size and name[:4].decode() not in _KNOWN:
                break
            names.append(name[:4])
            reached = start + length + -length % container.align
        known = bool(names) and names[0].decode() in _KNOWN
        if reached >= size or known or (names and _is_padding(file, reached, size)):
            return "recording" if any(name in _AUDIO for name in names) else ""
    return "" if any(_is_padding(file, at, size) for at in {aligned, end}) else "audio"


def _is_padding(file: BinaryIO, at: int, size: int) -> bool:
    """Return True if the file from `at` on is a tag, or at most 64 KiB of zeros or of printable text.

    Players append tags (ID3, APE, Lyrics3) to any format.
    """
    file.seek(at)
    rest = file.read(_PADDING)
    if re.match(rb"TAG|ID3|APETAGEX|LYRICSBEGIN", rest):
        return True
    return size - at <= _PADDING and (not rest.strip(b"\0") or re.fullmatch(rb"[\s -~]+", rest) is not None)


def _au(file: BinaryIO, order: str) -> Header:
    size = os.fstat(file.fileno()).st_size
    start, length, code, rate, channels = struct.unpack(f"{order}5I", file.read(20))
    subtype, width = _AU_ENCODINGS.get(code, ("", 0))
    encoding = Encoding(subtype, channels, rate, width * channels, "BIG" if order == ">" else "LITTLE")
    if _is_open(length, wide=False) and length > size - start:
        return Header(encoding, start, None, size, "", "AU")
    end = start + length
    return Header(
        encoding, start, length, size, "audio" if end < size and not _is_padding(file, end, size) else "", "AU"
    )


_AU_ENCODINGS = {
    1: ("ULAW", 1),
    2: ("PCM_S8", 1),
    3: ("PCM_16", 2),
    4: ("PCM_24", 3),
    5: ("PCM_32", 4),
    6: ("FLOAT", 4),
    7: ("DOUBLE", 8),
    27: ("ALAW", 1),
}
_FLOATS = {4: "FLOAT", 8: "DOUBLE"}
_SIGNED = {1: "PCM_S8", 2: "PCM_16", 3: "PCM_24", 4: "PCM_32"}


def _wave_format(content: bytes, container: _Container) -> Encoding:
    order = container.size[0]
    tag, channels, rate, _, frame_bytes, _ = struct.unpack(f"{order}HHIIHH", content[:16])
    if tag == 0xFFFE:
        tag = struct.unpack(f"{order}H", content[24:26])[0]
    width = frame_bytes // channels
    subtypes = {1: {**_SIGNED, 1: "PCM_U8"}, 3: _FLOATS, 6: {1: "ALAW"}, 7: {1: "ULAW"}}
    endian = "LITTLE" if order == "<" else "BIG"
    return Encoding(subtypes.get(tag, {}).get(width, ""), channels, rate, frame_bytes, endian)


def _aiff_format(content: bytes, container: _Container) -> Encoding:
    channels, _, bits, exponent, mantissa = struct.unpack(">hIhHQ", content[:18])
    rate = round(mantissa * 2.0 ** (exponent - 16383 - 63))
    kind = bytes(content[18:22]).lower() if len(content) >= 22 and content[18:22].isalnum() else b"none"
    width = -(-bits // 8)
    if kind in (b"fl32", b"fl64"):
        width = 8 if kind == b"fl64" else 4
        subtype = _FLOATS[width]
    else:
        subtype = _SIGNED.get(width, "") if kind in (b"none", b"twos", b"sowt", b"in24", b"in32", b"ssnd") else ""
    return Encoding(subtype, channels, rate, width * channels, "LITTLE" if kind == b"sowt" else "BIG")


def _caf_format(content: bytes, container: _Container) -> Encoding:
    rate, kind, flags, packet, frames, channels, _ = struct.unpack(">d4s5I", content[:32])
    linear = kind == b"lpcm" and frames == 1
    subtype = (_FLOATS if flags & 1 else _SIGNED).get(packet // channels, "") if linear else ""
    return Encoding(subtype, channels, round(rate), packet, "LITTLE" if flags & 2 else "BIG")


_ENCODINGS = {b"fmt ": _wave_format, b"COMM": _aiff_format, b"desc": _caf_format}


class Span(io.RawIOBase):
    """File object that reads only a part of a file.

    Args:
        path: path of the file.
        start, stop: position of the part's first byte in the file, and of the byte after its last one.

    Raises:
        OSError: if the file cannot be opened.
    """

    def __init__(self, path: StrPath, start: int, stop: int) -> None:
        super().__init__()
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115  # closed by close
        self._start, self._length, self._at = start, stop - start, 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Set the position, as for any file, and return it in bytes from the beginning of the part."""
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        return self._at

    def tell(self) -> int:
        """Return the position of the next byte to read, in bytes from the beginning of the part."""
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer with the next bytes, and return their number; 0 at the end of the part."""
        view = memoryview(buffer)[: max(0, self._length - self._at)]
        self._file.seek(self._start + self._at)
        count = self._file.readinto(view) or 0
        self._at += count
        return count

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
