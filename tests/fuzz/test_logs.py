"""Any prediction log, correction and form of one: each line is counted, each correction is kept or refused."""

import io
from collections.abc import Iterator

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from handler.problem import Problem
from model_archive.storage import open_storage
from monitoring.correction import Correction, CorrectionError, clean_photo
from monitoring.correction_folder import read_corrections
from monitoring.correction_sources import FoundCorrection, Refused, read_source
from monitoring.prediction_windows import read_log
from monitoring.sink import keep, read_form
from tests.fuzz.broken_bytes import broken_bytes, broken_json
from tests.fuzz.broken_photos import broken_photos
from tests.fuzz.property import finds, folder, gate
from tests.monitoring.prediction_logs import log_photo

_LOGGED = msgspec.to_builtins(log_photo(embedding=bytes(12)))
_WORD = {
    "schema": 1,
    "digest": "0" * 64,
    "photo": f"photos/{'0' * 64}.jpg",
    "label": "apple",
    "who": "anna",
    "time": "2026-11-26T00:00:00Z",
    "version": "1.1.0",
    "answer": "banana",
    "source": "post",
}
_LINES = st.lists(broken_json(_LOGGED) | broken_json(_WORD) | st.binary(max_size=40), max_size=6).map(b"\n".join)


@gate(100)
@finds("log")
@given(_LINES)
def test_each_line_of_a_prediction_log_is_counted_once(text: bytes) -> None:
    path = folder() / "predictions.jsonl"
    path.write_bytes(text)

    log = read_log(path, "1.1.0")

    assert len(log.photos) + log.num_other_versions + log.num_unreadable == len(io.BytesIO(text).readlines())
    assert all(photo.version == "1.1.0" for photo in log.photos)


@gate(100)
@finds("log")
@given(_LINES)
def test_corrections_that_cannot_be_read_are_left_out(text: bytes) -> None:
    (folder() / "corrections.jsonl").write_bytes(text)

    corrections = read_corrections(folder())

    assert all(isinstance(one, Correction) for one in corrections)
    assert [one.time for one in corrections] == sorted(one.time for one in corrections)


_CSV = b'photo,label,who\n"a.jpg",apple,anna\r\n../a.jpg,=1+1,\nphotos/b.jpg,"two\nlines"\n'


@gate(100)
@given(broken_bytes(_CSV) | st.binary(max_size=80), broken_photos())
def test_each_row_of_a_table_of_corrections_is_a_correction_or_refused(table: bytes, photo: bytes) -> None:
    path = folder() / "table" / "corrections.csv"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(table)
    path.with_name("a.jpg").write_bytes(photo)

    for found in _read_all(str(path)):
        if isinstance(found, Refused):
            assert found.reason
            continue
        assert not found.correction.label.startswith(tuple("=+-@"))
        try:
            assert clean_photo(found.read_photo()).startswith(b"\xff\xd8")
        except Problem as error:
            assert str(error)


def _read_all(source: str) -> Iterator[FoundCorrection | Refused]:
    try:
        yield from read_source(source)
    except CorrectionError as error:
        assert str(error)


_FORM = (
    b'--b\r\nContent-Disposition: form-data; name="photo"; filename="a.jpg"\r\n\r\n%b\r\n'
    b'--b\r\nContent-Disposition: form-data; name="label"\r\n\r\napple\r\n--b--\r\n'
)


@gate(100)
@given(
    st.sampled_from(("multipart/form-data; boundary=b", "multipart/form-data; boundary=", "multipart/form-data", "a"))
    | st.text(max_size=40),
    broken_photos().map(lambda photo: _FORM % photo) | broken_bytes(_FORM % b"photo") | st.binary(max_size=60),
)
def test_any_form_of_a_correction_is_kept_as_a_jpeg_or_refused(content_type: str, body: bytes) -> None:
    storage = open_storage(str(folder() / "received"))
    try:
        kept = keep(storage, read_form(content_type, body), "anna")
    except Problem as problem:
        assert problem.status in {400, 413, 415, 422}
        return
    photo = b"".join(storage.read(f"photos/{kept['digest']}.jpg"))
    assert io.BytesIO(photo).read(2) == b"\xff\xd8"
