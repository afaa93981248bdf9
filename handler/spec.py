"""`spec.json`: the contract between training, archive and server; training writes it, all others read it."""

from pathlib import Path
from typing import Annotated, Literal

import msgspec

SCHEMA: Literal[1] = 1
FILE_NAME = "spec.json"

# Other files of a run, which training writes and model_archive reads.
WEIGHTS_FILE = "model.safetensors"
REFERENCE_FILE = "reference.npz"
"""Statistics of the val split; drift is measured against them."""
FAMILIARITY_FILE = "familiarity.npz"
"""Statistics of the train embeddings; handler/familiarity.py tells unfamiliar photos by them."""
PHOTOS_FILE = "photos.zip"
"""Preprocessed photos, `<set>/<class index>/<number>.webp`, for quantization to int8."""
PHOTO_SETS = ("calibration", "gate")
"""Photos of train, which calibrate int8, and photos of val, on which the accuracy gate compares it with float32."""

INVALID_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What msgspec raises for a document that is not JSON, not of its type, or nested more deeply than Python's stack."""

Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
Figures = dict[str, int | float | str]


class SpecError(Exception):
    """spec.json is missing, is not JSON, or has a field or a value that is not allowed."""


class Schema(msgspec.Struct):
    """What the documents of all versions of fruity have in common."""

    schema: object = None


class Preprocessing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a photo becomes the model's input."""

    size: Annotated[int, msgspec.Meta(ge=16, le=2048)]
    """Side of the square input, in pixels."""
    crop: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
    """Side of the central square, as a share of the photo's short side."""
    interpolation: Literal["bilinear", "bicubic", "lanczos"]
    mean: tuple[float, float, float]
    """Subtracted from channels scaled to [0, 1]; the network does it, not the server."""
    std: tuple[Positive, Positive, Positive]


class Provenance(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Where the weights come from."""

    weights: str
    data_digest: str | None = None
    data_licence: str | msgspec.UnsetType = msgspec.UNSET
    """Where the source of the data says it."""
    code_revision: str | None = None
    seed: int | None = None


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: Literal[1] = SCHEMA
    name: Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_-]*$")]
    architecture: str
    """A model of timm, by its name there."""
    num_outputs: Annotated[int, msgspec.Meta(ge=1)]
    """Width of the network's own classifier."""
    labels: Annotated[tuple[str, ...], msgspec.Meta(min_length=2)]
    """In the order of their class index."""
    label_outputs: tuple[tuple[int, ...], ...] | None = None
    """For each label the network outputs that it sums (log-sum-exp); None is one output a label."""
    groups: tuple[str, ...] | None = None
    """For each label its coarse label; None if the labels have no groups."""
    preprocessing: Preprocessing
    temperature: Positive = 1.0
    """Logits are divided by it before the softmax (Guo et al., ICML 2017)."""
    threshold: Share
    """The lowest probability of the first label at which an answer is `confident`."""
    metrics: dict[str, dict[str, float]] = {}
    """By split, then by the metric's name."""
    intervals: dict[str, dict[str, tuple[float, float]]] = {}
    """The 95 % intervals of some of them."""
    pruned: Share | msgspec.UnsetType = msgspec.UNSET
    """Share of each layer's channels that was removed: the layers then have the widths of the weights, not timm's."""
    engines: dict[str, Figures] = {}
    """By exported engine, its agreement with the network."""
    provenance: Provenance

    def __post_init__(self) -> None:
        if repeated := sorted({label for label in self.labels if self.labels.count(label) > 1}):
            raise ValueError(f"labels must differ, but these are repeated: {', '.join(repeated)}")
        for name, entries in (("groups", self.groups), ("label_outputs", self.label_outputs)):
            if entries is not None and len(entries) != len(self.labels):
                raise ValueError(f"{name} has {len(entries)} entries for {len(self.labels)} labels")
        if self.label_outputs is None:
            if self.num_outputs != len(self.labels):
                raise ValueError(f"{self.num_outputs} outputs for {len(self.labels)} labels")
            return
        outputs = sorted(index for group in self.label_outputs for index in group)
        if outputs != list(range(self.num_outputs)) or not all(self.label_outputs):
            raise ValueError(f"label_outputs must name each of 0 to {self.num_outputs - 1} once, at least one a label")


def parse_spec(text: bytes) -> Spec:
    """Return the checked spec; raise `SpecError`, which names the field."""
    try:
        schema = msgspec.json.decode(text, type=Schema).schema
        if isinstance(schema, int) and schema > SCHEMA:
            raise SpecError(f"schema {schema} is newer than this fruity reads (up to {SCHEMA}); update fruity")
        return msgspec.json.decode(text, type=Spec)
    except INVALID_JSON as error:
        raise SpecError(str(error)) from error


def read_spec(folder: Path) -> Spec:
    """Return the checked spec of the run or unpacked archive *folder*; raise `SpecError`."""
    path = folder / FILE_NAME
    try:
        return parse_spec(path.read_bytes())
    except FileNotFoundError as error:
        raise SpecError(f"{path} does not exist; is {folder} a run or an unpacked archive?") from error
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error


def encode_sorted(document: object) -> bytes:
    """Return *document* as sorted, indented JSON, the same bytes for the same values."""
    return msgspec.json.format(msgspec.json.encode(document, order="sorted"), indent=1) + b"\n"


def write_spec(spec: Spec, folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(encode_sorted(spec))
