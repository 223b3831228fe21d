"""The supported image types and their file extensions."""

from collections.abc import Sequence

EXTENSIONS: dict[str, Sequence[str]] = {  # the first is the canonical one
    "image/jpeg": ("jpg", "jpeg", "jpe", "jfif"),
    "image/png": ("png",),
    "image/webp": ("webp",),
    "image/heic": ("heic", "heif"),
    "image/avif": ("avif",),
    "image/gif": ("gif",),
    "image/bmp": ("bmp",),
    "image/tiff": ("tif", "tiff"),
}
_TYPES = {extension: type for type, extensions in EXTENSIONS.items() for extension in extensions}


def extension_of(type: str, file_name: str = "") -> str:
    """Return the extension for a type: the file name's if it fits, else the canonical one."""
    named = file_name.rpartition(".")[2].lower()
    return named if named in EXTENSIONS[type] else EXTENSIONS[type][0]


def type_of(file_name: str) -> str:
    """Return the type that the extension of a file name or key stands for; the empty string for an unknown one."""
    return _TYPES.get(file_name.rpartition(".")[2].lower(), "")
