import base64
import builtins
import json
import random
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from model_archive.signature import (
    SignatureError,
    check_private_key,
    check_signed,
    create_keys,
    sign_archive,
    signature_path,
    verify_archive,
)

ROOT = Path(__file__).parents[2]
NUM_FLIPS = 150


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A private and its public key."""
    return create_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "fruity-1.1.0.mar"
    path.write_bytes(random.Random(0).randbytes(4000))
    return path


@pytest.fixture
def signed(archive: Path, keys: tuple[Path, Path]) -> Path:
    sign_archive(archive, keys[0])
    return archive


def edit(signature: Path, *path: str, value: object) -> None:
    bundle = json.loads(signature.read_bytes())
    place = bundle
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    signature.write_text(json.dumps(bundle))


def test_a_signed_archive_is_let_through_and_nothing_else_is_written(archive: Path, keys: tuple[Path, Path]) -> None:
    signature = sign_archive(archive, keys[0])

    verify_archive(archive, keys[1])

    assert signature == archive.with_name("fruity-1.1.0.sig")
    assert sorted(archive.parent.iterdir()) == [archive, signature]


def test_an_archive_behind_a_link_is_signed_and_verified(archive: Path, keys: tuple[Path, Path]) -> None:
    link = archive.with_name("link.mar")
    link.symlink_to(archive)
    sign_archive(link, keys[0])

    verify_archive(link, keys[1])


def test_any_changed_byte_of_an_archive_is_refused(signed: Path, keys: tuple[Path, Path]) -> None:
    content, chance = signed.read_bytes(), random.Random(1)

    for _ in range(NUM_FLIPS):
        place = chance.randrange(len(content))
        signed.write_bytes(flip(content, place, chance))
        with pytest.raises(SignatureError, match=r"fruity-1\.1\.0\.mar is refused, fruity-1\.1\.0\.sig does not hold"):
            verify_archive(signed, keys[1])


def test_any_changed_byte_of_a_signature_is_refused(signed: Path, keys: tuple[Path, Path]) -> None:
    content, chance = signature_path(signed).read_bytes(), random.Random(2)
    # The last characters of the encoded signature have unused bits, as base64 fills up.
    ends = [index for index in range(len(content)) if content[index : index + 1] == b"="]

    for place in [*(end - 1 for end in ends), *(chance.randrange(len(content)) for _ in range(2 * NUM_FLIPS))]:
        signature_path(signed).write_bytes(flip(content, place, chance))
        with pytest.raises(SignatureError, match="does not hold for it"):
            verify_archive(signed, keys[1])


def flip(content: bytes, place: int, chance: random.Random) -> bytes:
    return content[:place] + bytes([content[place] ^ (1 << chance.randrange(8))]) + content[place + 1 :]


def test_unused_bits_of_an_encoded_signature_are_refused_too(signed: Path, keys: tuple[Path, Path]) -> None:
    payload = json.loads(signature_path(signed).read_bytes())["dsseEnvelope"]["payload"]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    spellings = {f"{payload[:-2]}{letter}=" for letter in alphabet} - {payload}
    twins = [text for text in spellings if base64.b64decode(text) == base64.b64decode(payload)]

    for twin in twins:
        edit(signature_path(signed), "dsseEnvelope", "payload", value=twin)
        with pytest.raises(SignatureError, match="no Sigstore bundle as signing writes it"):
            verify_archive(signed, keys[1])

    assert len(twins) == 3


def test_an_unsigned_archive_is_refused_with_the_way_to_sign_it(archive: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(
        SignatureError, match=r"a signature is required and there is no .*\.sig; make archive SIGNING_KEY=fruity\.key"
    ):
        verify_archive(archive, keys[1])


def test_a_missing_archive_is_no_matter_of_signatures(signed: Path, keys: tuple[Path, Path]) -> None:
    signed.unlink()

    with pytest.raises(FileNotFoundError, match=r"fruity-1\.1\.0\.mar"):
        verify_archive(signed, keys[1])


def test_the_signature_of_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    _, other = create_keys(tmp_path / "other")

    with pytest.raises(SignatureError, match=r"Key mismatch.* signed with another key"):
        verify_archive(signed, other)


@pytest.mark.parametrize(
    "text", [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (2 << 20), b'{"verificationMaterial": {}}']
)
def test_rubbish_is_no_signature(archive: Path, keys: tuple[Path, Path], text: bytes) -> None:
    signature_path(archive).write_bytes(text)

    with pytest.raises(SignatureError, match="does not hold for it"):
        verify_archive(archive, keys[1])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["verificationMaterial", "publicKey", "hint"], "ab" * 32),
        (["dsseEnvelope", "signatures"], []),
        (["dsseEnvelope", "payloadType"], "text/plain"),
        (["mediaType"], "text/plain"),
        (["more"], 1),
    ],
)
def test_a_signature_that_says_something_else_is_refused(
    signed: Path, keys: tuple[Path, Path], path: Sequence[str], value: object
) -> None:
    edit(signature_path(signed), *path, value=value)

    with pytest.raises(SignatureError, match="does not hold for it"):
        verify_archive(signed, keys[1])


def test_a_signature_left_from_an_older_build_is_noticed_without_a_key(signed: Path) -> None:
    with pytest.raises(SignatureError, match=rf"it signs the SHA-256 [0-9a-f]{{64}}, the archive has {'0' * 64}"):
        check_signed(signed, "0" * 64)


@pytest.mark.parametrize(
    "command",
    [
        ["genrsa", "2048"],
        ["genpkey", "-algorithm", "ed25519"],
        ["ecparam", "-genkey", "-name", "secp256k1", "-noout"],
        ["genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-aes256", "-pass", "pass:secret"],
        ["version"],
    ],
)
def test_a_key_of_another_kind_is_refused_with_the_kinds_allowed(tmp_path: Path, command: list[str]) -> None:
    key = tmp_path / "other.key"
    with key.open("wb") as file:
        subprocess.run(["openssl", *command], stdout=file, stderr=subprocess.DEVNULL, check=True)  # noqa: S607

    with pytest.raises(SignatureError, match=r"other\.key is no private key that can be used .* as make keys makes th"):
        check_private_key(key)


def test_a_private_key_does_not_pass_for_a_public_one(signed: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(SignatureError, match=r"fruity\.key is no public key that can be used"):
        verify_archive(signed, keys[0])


def test_a_key_that_is_not_there_is_one_sentence(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"private key .*no\.key cannot be read \(No such file .*make keys makes"):
        sign_archive(archive, tmp_path / "no.key")


def test_only_the_owner_can_read_a_private_key(keys: tuple[Path, Path]) -> None:
    assert [path.stat().st_mode & 0o777 for path in keys] == [0o600, 0o644]


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "fruity.pub").write_text("mine")

    with pytest.raises(SignatureError, match=r"fruity\.pub exists and is kept"):
        create_keys(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["fruity.pub"]


def test_without_the_package_the_way_to_it_is_told(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, variables: Mapping[str, object] | None = None, *rest: object) -> object:
        if name.startswith("model_signing"):
            raise ModuleNotFoundError(f"No module named {name!r}")
        return real(name, variables, *rest)  # type: ignore[arg-type]  # as it came

    monkeypatch.setattr(builtins, "__import__", refuse)

    with pytest.raises(
        SignatureError, match=r"not installed \(No module named 'model_signing'\); run python3 scripts/p"
    ):
        verify_archive(signed, keys[1])


def test_who_serves_without_a_key_loads_nothing_of_signatures() -> None:
    code = "import sys, scripts.serve; print({'model_signing', 'cryptography', 'google'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
