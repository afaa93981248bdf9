"""A correction: a photo, and the label that a person says is right; and how its photo is kept."""

import io
from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from handler.decode import decode_photo
from handler.settings import Limits

# Photos that are trained on are at most 512 pixels wide inside their random crops.
_SHORT_SIDE = 512
_QUALITY = 95
_HELD_OUT = 5

# Spreadsheets run a cell that starts with one of =+-@ as a formula.
_LABEL = r"^[^=+\-@\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]{0,98}[^\s\x00-\x1f\x7f])?$"
_TEXT = r"^[^\x00-\x1f\x7f]{0,100}$"

Label = Annotated[str, msgspec.Meta(pattern=_LABEL)]
Text = Annotated[str, msgspec.Meta(pattern=_TEXT)]
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Source = Literal["playground", "csv", "post"]


class CorrectionError(Exception):
    """A correction, or a source of them, cannot be used."""


class Correction(msgspec.Struct, frozen=True, kw_only=True):
    """A line of corrections.jsonl."""

    schema: Literal[1] = 1
    digest: Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]
    """SHA-256 of the photo as it was sent."""
    photo: Annotated[str, msgspec.Meta(pattern=r"^photos/[0-9a-f]{64}\.[a-z]{3,4}\Z")]
    label: Label
    who: Text = ""
    time: Time
    version: Text = ""
    """That answered; with its first label, `answer`. Both may be empty."""
    answer: Text = ""
    source: Source

    @property
    def is_held_out(self) -> bool:
        """Whether it judges versions and none learns from it: every fifth, by the photo alone, so it stays so."""
        return int(self.digest[:8], 16) % _HELD_OUT == 0

    def repeats(self, other: "Correction") -> bool:
        """Return whether *other* says the same of the same photo."""
        return all(getattr(self, name) == getattr(other, name) for name in ("digest", "label", "who", "version"))


def make_correction(
    digest: str, label: str, source: Source, *, who: str = "", version: str = "", answer: str = ""
) -> Correction:
    """Return the correction, made now, of the photo that was sent with *digest*; raise `CorrectionError`."""
    values = {"digest": digest, "photo": photo_name(digest), "label": label.strip(), "who": who.strip()}
    values |= {"version": version.strip(), "answer": answer.strip(), "source": source}
    time = datetime.now(UTC).replace(microsecond=0)
    try:
        return msgspec.convert({**values, "time": time}, Correction)
    except msgspec.ValidationError as error:
        name = str(error).rpartition("`$.")[2].rstrip("`")
        allowed = "1 to 100 characters that do not start with =+-@" if name == "label" else "at most 100 characters"
        seen = values.get(name, "")[:120]
        raise CorrectionError(f"{name} is {seen!r}; it must have {allowed}, all printable") from error


def photo_name(digest: str) -> str:
    return f"photos/{digest}.jpg"


def clean_photo(photo: bytes) -> bytes:
    """Return *photo* as an upright JPEG without metadata, at most 1,023 pixels on its short side; raise a `Problem`.

    Compressed again, so nothing else that the file held is left of it.
    """
    image, file = decode_photo(photo, Limits(), _SHORT_SIDE), io.BytesIO()
    # Else Pillow writes a JPEG's comment again.
    image.info.clear()
    image.save(file, "JPEG", quality=_QUALITY, subsampling=0)
    return file.getvalue()
