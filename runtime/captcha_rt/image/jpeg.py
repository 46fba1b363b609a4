"""Checks a JPEG: walks its segments, and passes on those that make pixels.

The other segments are comments, profiles and thumbnails; libjpeg writes to the native stderr about
some of them.
"""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from captcha_rt.errors import ImageDecodeError
from captcha_rt.image.checked import MAX_BLOCKS, check_size, cut_off, damaged
from captcha_rt.image.exif import orientation

_MAX_SCANS: Final = 50  # encoders write 10, and 1,000 scans of 14 bytes cost OpenCV 2.5 s
_LONG_HEAD: Final = 4096  # bytes; without pictures and profiles in it a head takes about 600
_MARKER: Final = re.compile(rb"\xff[^\x00]", re.DOTALL)
_JFIF: Final = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"


@dataclass(slots=True)
class Scan:
    """One scan of a JPEG.

    Attributes:
        tables: The segments with the tables that it needs and no scan before it brought.
        header: Its header, a segment.
        parts: Its coded data, cut at the restart markers.
        interval: The number of units between two restart markers; 0 if there are none.
    """

    tables: bytes
    header: bytes
    parts: list[bytes]
    interval: int

    @property
    def components(self) -> bytes:
        """The identifiers of the scan's components."""
        return self.header[5 : 5 + 2 * self.header[4] : 2]


@dataclass(slots=True)
class Jpeg:
    """What of a JPEG makes pixels.

    Attributes:
        marker: The second byte of the frame header's marker, 0xC0 to 0xCF.
        width: The width in pixels.
        height: The height in pixels.
        components: By identifier the sampling factors across and down, and the table.
        adobe: The segment that says how the colours are stored; may be empty.
        jfif: Whether the file says that it is JFIF, whose colours are YCbCr.
        huffman: Whether there are tables of Huffman codes.
        turn: The orientation, 1 to 8.
        scans: The scans.
    """

    marker: int = 0
    width: int = 0
    height: int = 0
    components: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    adobe: bytes = b""
    jfif: bool = False
    huffman: bool = False
    turn: int = 0
    scans: list[Scan] = field(default_factory=list)

    @property
    def unit(self) -> tuple[int, int]:
        """The width and the height in pixels of the unit that is coded at a time, the MCU."""
        if len(self.components) == 1:
            return 8, 8
        across, down, _ = zip(*self.components.values(), strict=True)
        return 8 * max(across), 8 * max(down)

    @property
    def progressive(self) -> bool:
        """Whether the scans refine each other."""
        return self.marker & 3 == 2

    def units(self, scan: Scan) -> int:
        """The number of units that a scan codes."""
        width, height = self.unit
        if len(scan.components) == 1:  # then a unit is one block of the component
            across, down, _ = self.components[scan.components[0]]
            width, height = width // across, height // down
            if len(self.components) == 1:
                width = height = 8
        return -(-self.width // width) * -(-self.height // height)

    def build(
        self,
        width: int,
        height: int,
        interval: int | None = None,
        change: Callable[[bytes], bytes] = bytes,
    ) -> bytes:
        """Writes the JPEG anew.

        Args:
            width: The width for the header.
            height: The height for the header.
            interval: The number of units between restart markers; None leaves it.
            change: Changes each part of each scan.
        """
        frame = struct.pack(
            ">BBHBHHB",
            0xFF,
            self.marker,
            8 + 3 * len(self.components),
            8,
            height,
            width,
            len(self.components),
        )
        for name, (across, down, table) in self.components.items():
            frame += bytes((name, across << 4 | down, table))
        pieces = [b"\xff\xd8", _JFIF if self.jfif else b"", self.adobe, frame]
        for scan in self.scans:
            between = scan.interval if interval is None else interval
            pieces += [scan.tables, struct.pack(">HHH", 0xFFDD, 4, between), scan.header]
            for index, part in enumerate(scan.parts):
                if index:
                    pieces.append(bytes((0xFF, 0xD0 + (index - 1) % 8)))
                pieces.append(change(part))
        return b"".join([*pieces, b"\xff\xd9"])


def read_jpeg(data: bytes, max_pixels: int) -> Jpeg:
    """Walks the segments of a JPEG up to its end marker.

    Raises:
        ImageDecodeError: If the file ends before that, is too large, or contradicts itself.
    """
    jpeg = Jpeg()
    position, tables, interval = 2, b"", 0
    for _ in range(MAX_BLOCKS):
        position = data.find(b"\xff", position)  # like libjpeg, skips bytes between segments
        if position < 0:
            raise cut_off("JPEG", data)
        marker = data[position + 1]
        if marker == 0xFF:  # a fill byte
            position += 1
            continue
        if marker == 0xD9 and jpeg.scans:
            return jpeg
        if marker < 0x02 or 0xD0 <= marker <= 0xD9:  # a marker without a length
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        segment = data[position : position + 2 + length]
        if len(segment) < 2 + length:
            raise cut_off("JPEG", data)
        position += len(segment)
        if marker == 0xDA:
            scan = Scan(tables, segment, [], interval)
            position = _read_parts(data, position, scan)
            _check_scan(jpeg, scan)
            jpeg.scans.append(scan)
            tables = b""
        elif marker == 0xDD:
            (interval,) = struct.unpack_from(">H", segment, 4)
        elif marker in (0xC4, 0xDB, 0xCC):
            tables += segment
            jpeg.huffman |= marker == 0xC4
        elif 0xC0 <= marker <= 0xCF and marker != 0xC8:
            _read_frame(jpeg, segment, max_pixels)
        else:
            _read_application(jpeg, marker, segment)
    raise damaged("JPEG", f"more than {MAX_BLOCKS} segments")


def split_head(data: bytes) -> tuple[bytes, bytes] | None:
    """Splits a JPEG of one scan in one part: what comes before the coded data, and the data.

    Returns:
        None if there are more scans or parts, or if what comes before is unusually long.
    """
    start = data.find(b"\xff\xda")
    if start < 0:
        return None
    start += 2 + int.from_bytes(data[start + 2 : start + 4], "big")
    found = _MARKER.search(data, start)
    if found is None or found[0] != b"\xff\xd9" or start > _LONG_HEAD:
        return None
    return data[:start], data[start : found.start()]


def _read_parts(data: bytes, position: int, scan: Scan) -> int:
    """Reads the coded data of a scan; returns where it ends."""
    start = position
    for found in _MARKER.finditer(data, position):
        marker = found[0][1]
        if marker == 0xFF:
            raise damaged("JPEG", "a fill byte within its data")
        scan.parts.append(data[start : found.start()])
        if not 0xD0 <= marker <= 0xD7:
            return found.start()
        if marker != 0xD0 + (len(scan.parts) - 1) % 8:
            raise damaged("JPEG", "its restart markers are not in order")
        if len(scan.parts) > MAX_BLOCKS:
            raise damaged("JPEG", f"more than {MAX_BLOCKS} restart markers")
        start = found.end()
    raise cut_off("JPEG", data)


def _check_scan(jpeg: Jpeg, scan: Scan) -> None:
    if not jpeg.components:
        raise damaged("JPEG", "no frame header")
    names = scan.components
    if len(scan.header) != 8 + 2 * len(names) or not set(names) <= jpeg.components.keys():
        raise damaged("JPEG", "the header of a scan doesn't fit the picture's")
    units = jpeg.units(scan)
    if len(scan.parts) != (-(-units // scan.interval) if scan.interval else 1):
        raise damaged("JPEG", f"{len(scan.parts) - 1} restart markers for {units} units")
    several = jpeg.progressive or len(names) < len(jpeg.components)
    if len(jpeg.scans) >= (_MAX_SCANS if several else 1):
        raise damaged("JPEG", f"more than {_MAX_SCANS if several else 1} scans")


def _read_frame(jpeg: Jpeg, segment: bytes, max_pixels: int) -> None:
    depth, height, width, count = struct.unpack_from(">BHHB", segment, 4)
    check_size("JPEG", width, height, max_pixels)
    if jpeg.components:
        raise damaged("JPEG", "two frame headers")
    if depth != 8:  # libjpeg would complain on the native stderr, and refuse it, too
        raise ImageDecodeError(f"JPEG of {depth} bits a value: convert it to PNG")
    jpeg.marker, jpeg.width, jpeg.height = segment[1], width, height
    for name, factors, table in zip(*[iter(segment[10:])] * 3, strict=False):
        jpeg.components[name] = (factors >> 4, factors & 15, table)
        if not (1 <= factors >> 4 <= 4 and 1 <= factors & 15 <= 4):
            raise damaged("JPEG", f"a sampling factor of {factors:#x}")
    if len(segment) != 10 + 3 * count or len(jpeg.components) != count or not count:
        raise damaged("JPEG", "its frame header isn't whole")


def _read_application(jpeg: Jpeg, marker: int, segment: bytes) -> None:
    if marker == 0xE0 and segment[4:9] == b"JFIF\0":
        jpeg.jfif = True
    elif marker == 0xE1 and segment[4:10] == b"Exif\0\0" and not jpeg.turn:
        jpeg.turn = orientation(segment[10:])
    elif marker == 0xEE and segment[4:9] == b"Adobe" and len(segment) >= 16:
        jpeg.adobe = segment[:2] + b"\0\x0e" + segment[4:16]
