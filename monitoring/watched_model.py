"""What drift is measured against: an archive's version, labels, drift reference and familiarity."""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from handler.drift_reference import DriftReference, read_drift_reference
from handler.familiarity import Familiarity, read_familiarity
from handler.spec import FAMILIARITY_FILE, REFERENCE_FILE, Spec, SpecError
from model_archive.identity import ArchiveError, check_members, read_identity


class CannotSayError(Exception):
    """Whether there is drift cannot be said; the message is one sentence that says why and what to do."""


@dataclass(frozen=True)
class WatchedModel:
    version: str
    spec: Spec
    reference: DriftReference
    familiarity: Familiarity | None


def read_watched_model(archive: Path) -> WatchedModel:
    """Return what *archive* says of its val photos; raise `CannotSayError`."""
    try:
        identity = read_identity(archive)
        check_members(archive)
        with TemporaryDirectory() as scratch, zipfile.ZipFile(archive) as members:
            for name in {REFERENCE_FILE, FAMILIARITY_FILE} & set(members.namelist()):
                members.extract(name, scratch)
            reference, familiarity = read_drift_reference(Path(scratch)), read_familiarity(Path(scratch))
    except (ArchiveError, SpecError, OSError) as error:
        raise CannotSayError(f"{archive} cannot be read: {error}") from error
    if reference is None:
        raise CannotSayError(
            f"{archive.name} has no drift reference: its run had no val photos of its own; "
            "train a version with make train and serve that"
        )
    return WatchedModel(identity.version, identity.spec, reference, familiarity)
