"""The committed archive with one bit flipped."""

import struct
import zipfile
from pathlib import Path

from tests.conftest import DEFAULT_ARCHIVE


def write_damaged(path: Path, member: str) -> Path:
    """Write the committed archive to *path* so that *member* cannot be inflated."""
    content = bytearray(DEFAULT_ARCHIVE.read_bytes())
    with zipfile.ZipFile(DEFAULT_ARCHIVE) as members:
        start = members.getinfo(member).header_offset
    start += 30 + sum(struct.unpack_from("<HH", content, start + 26))
    # The kind of the first block: dynamic (2) becomes 3, which does not exist.
    content[start] ^= 2
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path
