import itertools
from urllib.parse import quote

import pytest

from handler.problem import MalformedRequest
from handler.request import NamedPhoto
from tests.handler.posting import PHOTO, post_form, read


def test_the_parts_of_a_form_are_photos_by_name() -> None:
    request = post_form(("left", PHOTO, ""), ("right", b"\x89PNG", '; filename="b.png"\r\nContent-Type: image/png'))

    assert request.photos == (NamedPhoto("left", PHOTO), NamedPhoto("right", b"\x89PNG"))


def test_a_form_part_that_torchserve_has_decoded_is_bytes_again() -> None:
    request = read({"photo": "text", "other": {"a": 1}}, {"content-type": "multipart/form-data; boundary=x"})

    assert request.photos == (NamedPhoto("photo", b"text"), NamedPhoto("other", b'{"a":1}'))


@pytest.mark.parametrize("parts", [(), (("top_k", b"3", ""),)], ids=["nothing", "top_k alone"])
def test_a_form_without_photo_is_malformed(parts: tuple[tuple[str, bytes, str], ...]) -> None:
    with pytest.raises(MalformedRequest, match="the form has no photo"):
        post_form(*parts)


@pytest.mark.parametrize("content_type", ["Multipart/Form-Data; boundary=x", 'multipart/form-data; boundary="x"'])
def test_a_form_is_recognised_by_any_spelling_of_its_content_type(content_type: str) -> None:
    assert read({"photo": PHOTO}, {"content-type": content_type}).photos == (NamedPhoto("photo", PHOTO),)


def test_a_form_without_a_boundary_is_refused_with_the_way_out() -> None:
    with pytest.raises(MalformedRequest, match="without a boundary; do not set it by hand"):
        read({"body": PHOTO}, {"content-type": "multipart/form-data"})


@pytest.mark.parametrize("length", ["1200", "5000000"])
def test_a_form_with_another_boundary_is_refused_with_that_reason(length: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=other", "content-length": length}

    with pytest.raises(MalformedRequest, match=r"boundary of the Content-Type, 'other', or it was cut short"):
        read({}, headers)


@pytest.mark.parametrize("size", [1_000, 100_000])
def test_parts_that_were_lost_under_one_name_are_detected(size: int) -> None:
    with pytest.raises(MalformedRequest, match=r"\(names received: photo\)"):
        post_form(("photo", bytes(size), '; filename="a.jpg"'), ("photo", PHOTO, '; filename="b.jpg"'))


@pytest.mark.parametrize("more", ["", '; filename="1.jpg"\r\nContent-Type: image/jpeg'], ids=["bare", "file"])
def test_one_lost_small_part_of_sixteen_is_detected(more: str) -> None:
    names = [f"photo{number}" for number in range(15)]

    with pytest.raises(MalformedRequest, match="bytes of the form were lost"):
        post_form(*((name, bytes(3_000), more) for name in ["photo0", *names]))


ALL_HEADERS = (
    "; filename=\"a.jpg\"; filename*=UTF-8''%C3%A4.jpg\r\nContent-Type: image/jpeg\r\n"
    "Content-Transfer-Encoding: binary\r\nMIME-Version: 1.0"
)
LONG_NAME = f'; filename="{"n" * 251}.jpg"\r\nContent-Type: application/octet-stream'
LONG_NAME_AND_LENGTH = f'; filename="{"ñ" * 125}.jpg"\r\nContent-Type: image/jpeg\r\nContent-Length: 10485760'
CHINESE_NAME = "食" * 30
CHINESE_NAME_TWICE = (
    f"; filename=\"{CHINESE_NAME}.jpg\"; filename*=UTF-8''{quote(CHINESE_NAME)}.jpg\r\nContent-Type: image/jpeg"
)


@pytest.mark.parametrize(
    ("num_parts", "more"),
    [
        *itertools.product([1, 3, 16], ["", ALL_HEADERS]),
        *itertools.product([1, 3], [LONG_NAME, LONG_NAME_AND_LENGTH]),
        (1, CHINESE_NAME_TWICE),
        (1, CHINESE_NAME_TWICE.replace(CHINESE_NAME, quote(CHINESE_NAME))),
    ],
    ids=lambda value: value[:40] if isinstance(value, str) else None,
)
def test_long_file_names_and_other_part_headers_are_not_lost_parts(num_parts: int, more: str) -> None:
    request = post_form(*((f"photo{number}", PHOTO, more) for number in range(num_parts)))

    assert len(request.photos) == num_parts


@pytest.mark.parametrize("more", [LONG_NAME, LONG_NAME_AND_LENGTH, CHINESE_NAME_TWICE])
def test_one_long_file_name_among_sixteen_parts_is_not_a_lost_part(more: str) -> None:
    others = [(f"photo{number}", PHOTO, ALL_HEADERS) for number in range(15)]

    assert len(post_form(("long", PHOTO, more), *others).photos) == 16


@pytest.mark.parametrize(("num_parts", "extra"), [(1, 900), (2, 1020), (16, 2700)])
def test_a_form_may_have_900_bytes_beyond_its_parts_and_120_for_each_further_part(num_parts: int, extra: int) -> None:
    row = {f"photo{number:02}": PHOTO for number in range(num_parts)}
    form = b"".join(
        b'--x\r\nContent-Disposition: form-data; name="%b"; filename=""\r\n\r\n%b\r\n' % (name.encode(), photo)
        for name, photo in row.items()
    )
    headers = {"content-type": "multipart/form-data; boundary=x"}
    length = len(form + b"--x--\r\n") + extra

    assert len(read(row, {**headers, "content-length": str(length)}).photos) == num_parts
    with pytest.raises(MalformedRequest, match="were lost"):
        read(row, {**headers, "content-length": str(length + 1)})
