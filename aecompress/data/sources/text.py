"""Bytes of a file as UTF-8 text with LF line ends, whatever they were, piece by piece; and its lines in blocks."""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from aecompress.data.sources.limits import check_line
from aecompress.errors import DataError

PIECE = 1 << 19
"""Bytes that are read at once."""
BLOCK = 1 << 21
"""Bytes of lines that are parsed at once, unless a line is longer."""
CONTROLS = bytes({*range(32)} - {*b"\t\n\v\f\r\x1a\x1b"})
"""Bytes that no text has."""


class Text:
    """The text of a file of lines."""

    def __init__(self, where: str, file: BinaryIO) -> None:
        self.where, self.file = where, file
        self.encoding = "UTF-8"
        """What its bytes were taken for; known once they have been read."""

    def pieces(self) -> Iterator[bytes]:
        """Return the text in pieces of UTF-8 whose lines end with LF.

        Raises:
            DataError: it is no text.
        """
        held = b""
        for piece in self._utf8():
            text, held = held + piece, b""
            if text.endswith(b"\r"):
                text, held = text[:-1], b"\r"
            yield text.replace(b"\r\n", b"\n").replace(b"\r", b"\n") if b"\r" in text else text
        if held:
            yield b"\n"

    def _utf8(self) -> Iterator[bytes]:
        head = self.file.read(PIECE)
        if (utf16 := _utf16(head)) is not None:
            self.encoding = "UTF-16"
            yield from self._decoded(head, utf16)
            return
        decoder, place, seen = codecs.getincrementaldecoder("utf-8")(), 0, False
        piece = head.removeprefix(codecs.BOM_UTF8)
        if len(piece.translate(None, CONTROLS)) < len(piece):
            byte = next(place for place, value in enumerate(piece) if value in CONTROLS)
            raise DataError(f"{self.where}: is not text (byte {byte}); give CSV in UTF-8")
        while piece:
            if b"\0" in piece:
                raise DataError(f"{self.where}: is not text (byte {place + piece.index(0)}); give CSV in UTF-8")
            if not piece.isascii() or decoder.getstate()[0]:
                try:
                    decoder.decode(piece)
                except UnicodeDecodeError as fault:
                    if seen or not piece[: fault.start].isascii():
                        raise DataError(
                            f"{self.where}: is not text (byte {place + fault.start}); give CSV in UTF-8"
                        ) from fault
                    self.encoding = "Windows-1252"
                    yield from self._decoded(piece, _latin())
                    return
                seen = True
            yield piece
            place += len(piece)
            piece = self.file.read(PIECE)
        if decoder.getstate()[0]:
            raise DataError(f"{self.where}: is not text (it ends within a character); give CSV in UTF-8")

    def _decoded(self, piece: bytes, decoder: codecs.IncrementalDecoder) -> Iterator[bytes]:
        """Return what is left of the file, from ``piece`` on, decoded."""
        while piece:
            try:
                text = decoder.decode(piece)
            except UnicodeError as fault:
                raise DataError(f"{self.where}: is not {self.encoding} ({fault}); give CSV in UTF-8") from fault
            if "\0" in text:
                raise DataError(f"{self.where}: is not text (it holds zero bytes); give CSV in UTF-8")
            yield text.encode("utf-8", "replace")
            piece = self.file.read(PIECE)

    def blocks(self) -> Iterator[tuple[int, bytes]]:
        """Return the lines in blocks of about :data:`BLOCK` bytes, each with the number of its first line, from 1.

        A block ends with a line, and no quoted cell is cut.

        Raises:
            DataError: it is no text, a line is too long, or a quote is never closed.
        """
        held: list[bytes] = []  # put together once, when they are a block: a copy costs as much as the rest of reading
        size, number, most, quoted = 0, 1, BLOCK, False
        for piece in self.pieces():
            held.append(piece)
            size += len(piece)
            quoted = quoted or b'"' in piece
            if size < most:
                continue
            if quoted or b"\n" not in piece:
                held = [b"".join(held)]
            last = held.pop()
            cut = whole_lines(last)
            if not cut:
                check_line(self.where, size)
                held, most = [last], 2 * size
                continue
            block = b"".join((*held, memoryview(last)[:cut]))
            held, size, most = [last[cut:]], len(last) - cut, BLOCK
            quoted = quoted and b'"' in held[0]
            yield number, block
            number += newlines(block)
        if rest := b"".join(held):
            if not whole_lines(rest):
                check_line(self.where, len(rest))
            if rest.count(b'"') % 2:
                line = number + rest.count(b"\n", 0, rest.rfind(b'"'))
                raise DataError(f"{self.where}: a quote is opened in line {line} or before, and never closed; close it")
            yield number, rest


def newlines(block: bytes) -> int:
    """Return the number of line ends in a block; NumPy counts them in a tenth of the time that bytes take."""
    return int(np.count_nonzero(np.frombuffer(block, np.uint8) == 10))


def whole_lines(text: bytes) -> int:
    """Return where the last line of a text ends that does not end within quotes; 0 where none does."""
    if b'"' not in text:
        return text.rfind(b"\n") + 1
    end = len(text)
    while (place := text.rfind(b"\n", 0, end)) >= 0:
        if text.count(b'"', 0, place) % 2 == 0:
            return place + 1
        end = text.rfind(b'"', 0, place)
    return 0


def _utf16(head: bytes) -> codecs.IncrementalDecoder | None:
    """Return the decoder of UTF-16 where a text begins with its mark, or where half of its bytes are zero."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return codecs.getincrementaldecoder("utf-16")()
    start = head[:1000]
    for name, zeros, others in (("utf-16-le", start[1::2], start[::2]), ("utf-16-be", start[::2], start[1::2])):
        if len(start) > 3 and zeros.count(0) > 0.9 * len(zeros) and not others.count(0):
            return codecs.getincrementaldecoder(name)()
    return None


def _latin() -> codecs.IncrementalDecoder:
    return codecs.getincrementaldecoder("cp1252")("replace")
