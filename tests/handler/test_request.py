import base64
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from handler.problem import MalformedRequest, NotAPhoto, Problem, TooLarge
from handler.request import NamedPhoto, Request, lower_names, read_request
from handler.settings import Limits, Settings
from tests.handler.posting import NUM_LABELS, PHOTO, read, read_json
from tests.pictures import draw_corners, encode

FORM = "multipart/form-data; boundary=x"
PHOTO_B64 = base64.b64encode(PHOTO).decode()


@pytest.mark.parametrize(
    "content_type",
    ["image/jpeg", "application/octet-stream", "application/json", "text/plain; charset=utf-8", "nonsense", "", None],
)
@pytest.mark.parametrize("photo", [PHOTO, b""])
def test_the_body_is_a_photo_under_any_content_type(content_type: str | None, photo: bytes) -> None:
    request = read({"body": bytearray(photo)}, {} if content_type is None else {"content-type": content_type})

    assert request == Request((NamedPhoto("body", photo),), 5, explain=False, wants_picture=False)


def test_a_photo_sent_as_a_web_form_is_refused_with_the_right_command() -> None:
    with pytest.raises(MalformedRequest, match=r"application/x-www-form-urlencoded.*curl -T photo\.jpg"):
        read({"\\xff\\xd8": ""}, {"content-type": "application/x-www-form-urlencoded"})


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
@pytest.mark.parametrize("space", ["", " \r\n\t", "\ufeff"])
def test_json_is_read_under_any_content_type(content_type: str, space: str) -> None:
    body = bytearray(f'{space}{{"instances": [{{"b64": "{PHOTO_B64}"}}]}}'.encode())

    assert read({"body": body}, {"content-type": content_type}).photos == (NamedPhoto("instances[0]", PHOTO),)


@pytest.mark.parametrize(
    "body",
    [
        {"instances": [{"b64": PHOTO_B64}], "parameters": {"top_k": 2}},
        json.dumps({"instances": [{"b64": PHOTO_B64}], "parameters": {"top_k": 2}}),
    ],
    ids=["values", "text"],
)
def test_json_that_torchserve_has_decoded_is_read_the_same(body: object) -> None:
    request = read({"body": body}, {"content-type": "application/json"})

    assert request == Request((NamedPhoto("instances[0]", PHOTO),), 2, explain=False, wants_picture=False)


def test_instances_keep_their_order_with_a_problem_in_the_place_of_a_bad_one() -> None:
    request = read_json({"instances": [{"b64": PHOTO_B64}, {"b64": "###"}, {"b64": ""}]})

    assert [photo.name for photo in request.photos] == ["instances[0]", "instances[1]", "instances[2]"]
    first, second, third = (photo.photo for photo in request.photos)
    assert (first, third) == (PHOTO, b"")
    assert isinstance(second, MalformedRequest)
    assert str(second).startswith("`b64` is not base64")


@pytest.mark.parametrize(
    ("body", "detail"),
    [
        (b"{", "Input data was truncated"),
        (b"{}", "missing required field `instances`"),
        (b"[]", "Expected `object`, got `array`"),
        *((body, "the JSON body is not") for body in (b"3", b"-1", b'"text"', b"null", b"true")),
        *(('{"instances": []}'.encode(coding), "the JSON body is not") for coding in ("utf-16", "utf-16-le")),
        (b'{"instances": 3}', r"Expected `array`, got `int` - at `\$\.instances`"),
        (b'{"instances": []}', "`instances` is empty"),
        (b'{"instances": [{}]}', r"missing required field `b64` - at `\$\.instances\[0\]`"),
        (b'{"instances": [{"b64": 1}]}', "Expected `str`, got `int`"),
        (b'{"instances": [], "parameters": {"topk": 1}}', "contains unknown field `topk`"),
        (b'{"instances": [{"b64": "\xff"}]}', "invalid start byte"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "recursion depth"),
        (b'{"instances": [], "parameters": {"top_k": ' + b"1" * 5000 + b"}}", "out of range"),
    ],
    ids=lambda value: value[:30] if isinstance(value, bytes) else None,
)
def test_json_of_another_shape_is_refused_with_its_place(body: bytes, detail: str) -> None:
    with pytest.raises(MalformedRequest, match=detail):
        read({"body": body}, {"content-type": "application/json"})


# Of a length that base64 pads.
EVERY_BYTE = bytes(range(256)) + b"\xfb\xff\xfe"


@pytest.mark.parametrize(
    "text",
    [
        base64.b64encode(EVERY_BYTE).decode(),
        base64.b64encode(EVERY_BYTE).decode().rstrip("="),
        base64.urlsafe_b64encode(EVERY_BYTE).decode(),
        base64.urlsafe_b64encode(EVERY_BYTE).decode().rstrip("="),
        "data:image/jpeg;base64," + base64.b64encode(EVERY_BYTE).decode(),
        "data:;base64," + base64.urlsafe_b64encode(EVERY_BYTE).decode(),
    ],
    ids=["standard", "unpadded", "URL-safe", "URL-safe, unpadded", "data URL", "data URL, URL-safe"],
)
def test_base64_of_either_alphabet_and_data_urls_are_read(text: str) -> None:
    assert read_json({"instances": [{"b64": text}]}).photos == (NamedPhoto("instances[0]", EVERY_BYTE),)


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("/9j/\n4AAQ", "without line breaks"),
        ("A", "not base64"),
        ("data:image/jpeg,abc", "data URL without `;base64,`"),
        ("data:image/jpeg;base64", "data URL without `;base64,`"),
        ("\N{SNOWMAN}", "not base64"),
    ],
)
def test_other_text_is_not_base64(text: str, detail: str) -> None:
    (named,) = read_json({"instances": [{"b64": text}]}).photos

    assert isinstance(named.photo, MalformedRequest)
    assert re.search(detail, str(named.photo))


@pytest.mark.parametrize("coding", ["gzip", "br", " Deflate "])
def test_a_compressed_body_is_refused_with_that_reason(coding: str) -> None:
    with pytest.raises(NotAPhoto, match=r"Content-Encoding is .* send the body as it is") as refusal:
        read({"body": PHOTO}, {"content-encoding": coding})

    assert refusal.value.status == 415


@pytest.mark.parametrize("coding", ["", "identity", "Identity"])
def test_the_identity_coding_is_read(coding: str) -> None:
    assert read({"body": PHOTO}, {"content-encoding": coding}).photos == (NamedPhoto("body", PHOTO),)


def test_more_photos_than_the_limit_are_too_large() -> None:
    body = json.dumps({"instances": [{"b64": ""}] * 3}).encode()
    limits = Limits(max_photos=2)

    with pytest.raises(TooLarge, match="3 photos, the limit is 2;"):
        read_request({"body": body}, {}, Settings(limits=limits), NUM_LABELS)


SMALL, LARGE, TOO_LARGE = (encode(draw_corners(*size)) for size in ((20, 20), (40, 30), (60, 40)))


@pytest.mark.parametrize(
    ("photos", "kept"),
    [
        ([LARGE, SMALL, SMALL], [True, True, True]),
        ([LARGE, LARGE, SMALL], [True, False, True]),
        ([SMALL, LARGE, LARGE, SMALL, SMALL], [True, True, False, True, False]),
        ([PHOTO, LARGE, b"", SMALL], [True, True, True, True]),
        ([TOO_LARGE, LARGE], [True, True]),
        ([TOO_LARGE], [True]),
    ],
    ids=["as many as allowed", "one too many", "two too many", "not photos", "one too large", "single"],
)
def test_photos_above_the_pixels_of_a_request_are_too_large_in_their_place(
    photos: list[bytes], kept: list[bool]
) -> None:
    limits = {"max_photo_pixels": 2000, "max_request_pixels": 2000}

    request = read({f"photo{i}": photo for i, photo in enumerate(photos)}, {"content-type": FORM}, limits=limits)

    assert [named.photo in photos for named in request.photos] == kept
    refused = [named.photo for named in request.photos if named.photo not in photos]
    assert all(
        isinstance(problem, TooLarge) and re.search(r"(400|1,200) .* 2,000 ", str(problem)) for problem in refused
    )


@pytest.mark.parametrize(
    ("headers", "explain", "wants_picture"),
    [
        ({}, False, False),
        ({"accept": "image/png"}, False, False),
        ({"explain": "True"}, True, False),
        ({"explain": "True", "accept": "application/json"}, True, False),
        ({"explain": "True", "accept": "image/png"}, True, True),
        ({"explain": "True", "accept": "text/html, image/png;q=0.9"}, True, True),
        ({"explain": "True", "accept": "IMAGE/PNG ; q=1.0"}, True, True),
        ({"explain": "True", "accept": "image/png;q=0"}, True, False),
        ({"explain": "True", "accept": "application/json, image/png; q=0.000"}, True, False),
        ({"explain": "True", "accept": "image/pngx"}, True, False),
        ({"explain": "True", "accept": "*/*"}, True, False),
    ],
)
def test_an_explanation_is_a_picture_if_the_client_accepts_it(
    headers: dict[str, str], explain: bool, wants_picture: bool
) -> None:
    request = read({"body": PHOTO}, headers)

    assert (request.explain, request.wants_picture) == (explain, wants_picture)


def test_one_picture_cannot_explain_two_photos() -> None:
    with pytest.raises(MalformedRequest, match=r"image/png explains one photo, .* 2;"):
        read_json({"instances": [{"b64": ""}] * 2}, explain="True", accept="image/png")


def test_header_names_are_in_lower_case_without_form_parts() -> None:
    given_headers = {"X-Top-K": "3", "Content-Type": "a/b", "photo": {"content-type": "image/png"}}

    assert lower_names(given_headers.items()) == {"x-top-k": "3", "content-type": "a/b"}


def test_json_is_recognised_by_its_first_64_bytes_under_any_content_type() -> None:
    for body in (b"[]", b" " * 63 + b"{}"):
        with pytest.raises(MalformedRequest, match="the JSON body is not"):
            read({"body": body}, {"content-type": "text/plain"})

    assert read({"body": b" " * 64 + b"{}"}).photos == (NamedPhoto("body", b" " * 64 + b"{}"),)


def read_or_refuse(body: str | bytes, headers: dict[str, str]) -> Request | Problem:
    try:
        return read({"body": body}, headers)
    except Problem as problem:
        return problem


@given(
    body=st.one_of(
        st.binary(max_size=60),
        st.text(max_size=60),
        st.recursive(
            st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.sampled_from(["instances", "b64", "parameters", "top_k", "x"]), inner, max_size=3)
            ),
            max_leaves=12,
        ).map(json.dumps),
    ),
    content_type=st.sampled_from(["application/json", "image/png", "multipart/form-data; boundary=x", "text/plain"]),
    top_k=st.none() | st.text(max_size=4),
)
def test_any_request_gives_photos_or_a_problem(body: str | bytes, content_type: str, top_k: str | None) -> None:
    headers = {"content-type": content_type} | ({} if top_k is None else {"x-top-k": top_k})

    outcome = read_or_refuse(body, headers)

    assert outcome.status in {400, 413} if isinstance(outcome, Problem) else 1 <= outcome.top_k <= NUM_LABELS
