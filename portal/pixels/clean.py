"""A stand-in until the real one is merged."""


def cleaned(data: bytes, _: str) -> bytes:
    return data
