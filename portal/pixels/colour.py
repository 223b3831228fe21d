"""Convert any of Pillow's modes to plain sRGB: apply the colour profile, put transparency on white."""

from functools import lru_cache
from io import BytesIO

from PIL import Image, ImageCms

_SRGB = ImageCms.createProfile("sRGB")
_LAB = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
_SPACES = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK", "LAB": "Lab"}  # Pillow's mode → colour space in the profile
_SIXTEEN_BITS = {"I;16": 1, "I;16L": 1, "I;16B": 0}  # mode → index of the high byte


def resizable(image: Image.Image) -> Image.Image:
    """Return the image in a mode whose pixels can be averaged: RGB, RGBA, L, CMYK or LAB."""
    if image.mode in _SIXTEEN_BITS:  # convert("L") would clip at 255 instead of scaling down
        high_bytes = image.tobytes()[_SIXTEEN_BITS[image.mode] :: 2]
        return Image.frombytes("L", image.size, high_bytes)
    if image.mode == "RGBA":
        return image
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in _SPACES:
        return image
    return image.convert("L" if image.mode == "1" else "RGB")


def to_srgb(image: Image.Image, icc: bytes | None) -> Image.Image:
    """Return the image in sRGB, opaque, without metadata. `image` must be in a mode that `resizable` returns.

    Transparency becomes white, so that a photo looks the same as WebP, JPEG and AVIF, on light and dark pages. A
    profile that is broken or doesn't fit the mode is ignored, as browsers do.
    """
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    colours = image.convert("RGB") if alpha else image
    transform = _transform(icc, colours.mode)
    if transform:
        colours = transform.apply(colours)
    elif colours.mode != "RGB":
        colours = colours.convert("RGB")
    if alpha:
        colours = Image.composite(colours, Image.new("RGB", colours.size, "white"), alpha)
    colours.info = {}  # Pillow's encoders would write this metadata
    return colours


@lru_cache(maxsize=8)
def _transform(icc: bytes | None, mode: str) -> ImageCms.ImageCmsTransform | None:
    """Return the transform of a profile, if it needs one. Cached: thousands of photos share a phone's profile."""
    if icc:
        try:
            profile = ImageCms.getOpenProfile(BytesIO(icc))
            if profile.profile.xcolor_space.strip() == _SPACES[mode]:
                return _from_profile(profile, mode)
        except (ImageCms.PyCMSError, OSError):
            pass
    return _from_profile(_LAB, mode) if mode == "LAB" else None


def _from_profile(profile: ImageCms.ImageCmsProfile, mode: str) -> ImageCms.ImageCmsTransform | None:
    if (profile.profile.profile_description or "").startswith("sRGB"):
        return None
    relative, perceptual = ImageCms.Intent.RELATIVE_COLORIMETRIC, ImageCms.Intent.PERCEPTUAL
    if mode == "CMYK":  # the ranges of paper and screen differ too much for a relative colorimetric transform
        black_point = ImageCms.Flags.BLACKPOINTCOMPENSATION
        return ImageCms.buildTransform(profile, _SRGB, mode, "RGB", perceptual, black_point)
    return ImageCms.buildTransform(profile, _SRGB, mode, "RGB", relative)
