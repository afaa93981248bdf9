"""Requests with tensors: what is read of them, and what is refused."""

import base64
import json
import re
from typing import Any

import pytest

from handler.open_inference import LENGTH, TensorRequest, WantedTensors, read_tensors
from handler.problem import MalformedRequest
from handler.request import NamedPhoto, lower_names
from tests.handler.calls import Row, in_binary, in_json

PHOTO = b"\xff\xd8 a photo"
TEXT = base64.b64encode(PHOTO).decode()


def read(call: Row) -> TensorRequest:
    row, headers = call
    return read_tensors(row["body"], lower_names(headers.items()))


def tensor(**members: object) -> dict[str, Any]:
    return {"inputs": [{"name": "photo", "shape": [1], "datatype": "BYTES", "data": [TEXT], **members}]}


def test_photos_come_in_json_as_base64() -> None:
    read_ = read(in_json({**tensor(shape=[2], data=[TEXT, TEXT]), "id": "7", "parameters": {"top_k": 3}}))

    assert read_.photos == [NamedPhoto("photo[0]", PHOTO), NamedPhoto("photo[1]", PHOTO)]
    assert (read_.top_k, read_.wanted) == (3, WantedTensors("7", None, all_binary=False))


@pytest.mark.parametrize("shape", [[2, 1], [1, 2], [2]])
def test_data_may_be_nested_as_its_shape_is(shape: list[int]) -> None:
    for data in ([TEXT, TEXT], [[TEXT], [TEXT]], [[TEXT, TEXT]]):
        assert [one.photo for one in read(in_json(tensor(shape=shape, data=data))).photos] == [PHOTO, PHOTO]


def test_photos_come_as_a_binary_tensor_after_the_json() -> None:
    read_ = read(in_binary([PHOTO, b"", b"x"], rest={"parameters": {"binary_data_output": True}}))

    assert [bytes(one.photo) for one in read_.photos if not isinstance(one.photo, Exception)] == [PHOTO, b"", b"x"]
    assert read_.wanted == WantedTensors(None, None, all_binary=True)


@pytest.mark.parametrize("photo", [PHOTO * 9, b"\x89PNG\r\n\x1a\n" + bytes(90), bytes(range(256))])
def test_base64_in_a_binary_tensor_is_decoded(photo: bytes) -> None:
    (one,) = read(in_binary([base64.b64encode(photo)])).photos

    assert one.photo == photo


@pytest.mark.parametrize(
    "content", [b"text", b"a" * 63, b"a" * 64 + b"\n", b"a" * 65, b"GIF89a" + bytes(90), b"=" * 99]
)
def test_bytes_that_are_not_the_base64_of_a_photo_stay_as_they_are(content: bytes) -> None:
    (one,) = read(in_binary([content])).photos

    assert one.photo == content


def test_outputs_are_chosen_each_binary_or_in_json() -> None:
    outputs = [
        {"name": "labels", "parameters": {"binary_data": True}},
        {"name": "error", "parameters": {"binary_data": False}},
        {"name": "confident"},
    ]

    wanted = read(in_json({**tensor(), "outputs": outputs, "parameters": {"binary_data_output": True}})).wanted

    assert wanted.binary == {"labels": True, "error": False, "confident": True}
    assert read(in_json({**tensor(), "outputs": []})).wanted.binary is None


def test_what_other_clients_add_is_ignored() -> None:
    more = {"parameters": {"sequence_id": 3, "priority": 1, "timeout": 5}, "model_name": "fruity", "id": None}

    assert len(read(in_json({**tensor(parameters=None), **more})).photos) == 1


REFUSED: dict[str, tuple[object, str]] = {
    "no inputs": ({}, "`inputs`"),
    "a list": ([], "Expected `object`"),
    "instances": ({"instances": [{"b64": TEXT}]}, "`inputs`"),
    "no input": ({"inputs": []}, "none; send one, named photo"),
    "another name": ({"inputs": [{"name": "image", "shape": [1], "datatype": "BYTES"}]}, "image; send one"),
    "two inputs": ({"inputs": tensor()["inputs"] * 2}, "photo, photo; send one"),
    "pixels": (tensor(datatype="UINT8", shape=[2], data=[1, 2]), "'UINT8', it must be BYTES"),
    "no data": (tensor(data=None), "has 0 elements"),
    "an empty tensor": (tensor(shape=[0], data=[]), "empty"),
    "another shape": (tensor(shape=[2]), r"the shape is \[2\], but the tensor has 1 elements"),
    "a negative shape": (tensor(shape=[-1]), "`int` >= 0"),
    "many axes": (tensor(shape=[1] * 9), "length <= 8"),
    "a huge shape": (tensor(shape=[2**63 - 1] * 8), "has 1 elements"),
    "numbers": (tensor(data=[1]), "not a string"),
    "an object": (tensor(data=[{"b64": TEXT}]), "not a string"),
    "shared memory": (tensor(parameters={"shared_memory_region": "a"}), "shared memory"),
    "a size without bytes": (tensor(parameters={"binary_data_size": 4}), "but 0 bytes follow"),
    "a class count": ({**tensor(), "outputs": [{"name": "labels", "parameters": {"classification": 3}}]}, "top_k"),
    "shared output": ({**tensor(), "outputs": [{"name": "labels", "parameters": {"shared_memory_region": "a"}}]}, "sh"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_malformed_request_says_what_is_wrong(name: str) -> None:
    body, reason = REFUSED[name]

    with pytest.raises(MalformedRequest, match=reason):
        read(in_json(body))


@pytest.mark.parametrize("body", [b"", b"\xff\xd8", b"{", b'{"inputs": ' + b"[" * 100_000, b'{"inputs": "\xff"}'])
def test_a_body_that_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedRequest, match="the JSON is not"):
        read_tensors(body, {})


@pytest.mark.parametrize("length", ["", "0", "-1", "+5", "1e3", "٣", "9" * 40, "1000000"])
def test_a_length_of_the_json_that_cannot_be_is_refused(length: str) -> None:
    with pytest.raises(MalformedRequest, match=re.escape(f"{LENGTH} is {length[:40]!r}")):
        read(in_binary([PHOTO], None, None, **{LENGTH: length}))


@pytest.mark.parametrize(("cut", "more"), [(0, 1), (0, 4), (1, 0), (10, 0), (14, 0)])
def test_a_binary_tensor_of_another_size_than_announced_is_refused(cut: int, more: int) -> None:
    row, headers = in_binary([PHOTO])
    row["body"] = row["body"][: len(row["body"]) - cut] + bytes(more)

    with pytest.raises(MalformedRequest, match="binary_data_size is 14"):
        read((row, headers))


@pytest.mark.parametrize("binary", [b"\x01", b"\x05\0\0\0abcd", b"\xff\xff\xff\xffabcd", b"\x01\0\0\0a\0"])
def test_elements_that_exceed_their_tensor_are_refused(binary: bytes) -> None:
    document = {"name": "photo", "shape": [1], "datatype": "BYTES", "parameters": {"binary_data_size": len(binary)}}
    start = json.dumps({"inputs": [document]}).encode()

    with pytest.raises(MalformedRequest, match="longer than the tensor"):
        read_tensors(start + binary, {LENGTH.lower(): str(len(start))})


def test_bytes_after_the_json_without_a_size_are_refused() -> None:
    start = json.dumps(tensor()).encode()

    with pytest.raises(MalformedRequest, match="3 bytes follow the JSON"):
        read_tensors(start + b"abc", {LENGTH.lower(): str(len(start))})
