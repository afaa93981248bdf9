"""The fine-tuned archive that comes with fruity is the one that its run and this checkout give."""

from pathlib import Path

import pytest

from handler.spec import parse_spec
from model_archive.build import build_archive, reseal_archive
from model_archive.card import CardRun
from model_archive.entry import hash_file
from model_archive.identity import read_members
from model_archive.release_file import read_release
from model_archive.run_entry import describe_run
from scripts.default_archive import VERSION
from serving.model_store import DEFAULT_ARCHIVE, FINE_TUNED_ARCHIVE

RELEASE = read_release()
RUN = Path(__file__).parents[2] / "runs" / str(RELEASE.run)


def test_it_has_the_handler_of_this_checkout(tmp_path: Path) -> None:
    """`make default-archive` puts it there."""
    _, digest = reseal_archive(FINE_TUNED_ARCHIVE, tmp_path, CardRun(str(RELEASE.run), str(RELEASE.digest)))
    assert digest == hash_file(FINE_TUNED_ARCHIVE)


@pytest.mark.skipif(not RUN.exists(), reason="the run of the release is absent")
def test_it_rebuilds_from_the_run_that_the_release_names(tmp_path: Path) -> None:
    assert describe_run(RUN).digest == RELEASE.digest
    _, digest = build_archive(RUN, RELEASE.version, ["openvino"], tmp_path, precision="int8")
    assert digest == hash_file(FINE_TUNED_ARCHIVE)


def test_it_is_small_knows_81_groceries_and_does_not_replace_the_default() -> None:
    (spec,) = read_members(FINE_TUNED_ARCHIVE, "spec.json")
    assert FINE_TUNED_ARCHIVE.stat().st_size <= 10_000_000
    assert len(parse_spec(spec).labels) == 81
    assert DEFAULT_ARCHIVE.name == f"fruity-{VERSION}.mar"
