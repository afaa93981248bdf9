"""A row for each photo, as Parquet or JSON lines."""

import io
from typing import Any, Literal, get_args

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

Format = Literal["parquet", "jsonl"]
FORMATS: tuple[Format, ...] = get_args(Format)

STAGES = ("read", "decode", "preprocess", "inference")
"""What a row has the milliseconds of; `inference` is that of the batch which the photo was in."""


class Score(msgspec.Struct, frozen=True, kw_only=True):
    """A row. A photo with an `error` has `labels` None."""

    index: int
    """The photo's place in the source, from 0 on: each number is there once."""
    photo: str
    digest: str | None
    """SHA-256 in hex of the photo's bytes, None if they could not be read or are too many."""
    labels: list[dict[str, Any]] | None = None
    """The best ones, best first, as the server answers them: label and probability."""
    confident: bool | None = None
    unfamiliar: bool | None = None
    """None: the archive cannot tell. So is the next."""
    unfamiliarity: float | None = None
    error: dict[str, Any] | None = None
    """The problem document that the server answers (RFC 9457): type, title, status, detail."""
    version: str
    milliseconds: dict[str, float]


_PROBLEM = pa.struct([("type", pa.string()), ("title", pa.string()), ("status", pa.int32()), ("detail", pa.string())])
_SCHEMA = pa.schema(
    [
        ("index", pa.int64()),
        ("photo", pa.string()),
        ("digest", pa.string()),
        ("labels", pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float64())]))),
        ("confident", pa.bool_()),
        ("unfamiliar", pa.bool_()),
        ("unfamiliarity", pa.float64()),
        ("error", _PROBLEM),
        ("version", pa.string()),
        ("milliseconds", pa.struct([(stage, pa.float64()) for stage in STAGES])),
    ]
)


def encode_rows(rows: list[Score], suffix: Format) -> bytes:
    """Return *rows* as the content of a file."""
    if suffix == "jsonl":
        return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([msgspec.structs.asdict(row) for row in rows], _SCHEMA), content)
    return content.getvalue()
