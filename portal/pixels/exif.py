"""Read and write the orientation in EXIF, the only tag that we use."""

import struct

_BYTE_ORDER = {b"II*\0": "<", b"MM\0*": ">"}
_ORIENTATION = 0x0112
_VALUE = {1: "B", 3: "H", 4: "I"}  # TIFF types BYTE, SHORT, LONG: the standard says SHORT, files have all three


def orientation(exif: bytes) -> int:
    """Return the orientation, 1 to 8; 1 if the tag is absent or broken.

    Not read by a library, because the effort must be bounded: general readers follow every other tag too.
    """
    exif = exif.removeprefix(b"Exif\0\0")
    order = _BYTE_ORDER.get(exif[:4])
    if order is None:
        return 1
    try:
        value = _find(exif, order)
    except struct.error:
        return 1
    return value if 1 <= value <= 8 else 1


def _find(exif: bytes, order: str) -> int:
    (directory,) = struct.unpack_from(order + "I", exif, 4)
    (entries,) = struct.unpack_from(order + "H", exif, directory)
    for entry in range(entries):
        at = directory + 2 + 12 * entry
        tag, kind = struct.unpack_from(order + "HH", exif, at)
        if tag == _ORIENTATION:
            return int(struct.unpack_from(order + _VALUE.get(kind, "H"), exif, at + 8)[0])
    return 1


def only(orientation: int) -> bytes:
    """Return EXIF that holds only this orientation; nothing for an upright picture."""
    if orientation == 1:
        return b""
    return struct.pack(">4sIHHHIHxxI", b"MM\0*", 8, 1, _ORIENTATION, 3, 1, orientation, 0)
