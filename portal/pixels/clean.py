"""A stand-in until the real one is merged."""


def cleaned(data: bytes, type: str) -> bytes:
    return data
