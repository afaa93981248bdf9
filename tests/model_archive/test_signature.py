import errno
import json
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from model_archive.entry import hash_file
from model_archive.signature import (
    SignatureError,
    check_signed,
    create_keys,
    load_signer,
    sign_archive,
    signature_path,
    verify_archive,
)

ROOT = Path(__file__).parents[2]
NUM_FLIPS = 200


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


def test_a_signed_archive_is_verified_and_nothing_else_is_written(archive: Path, keys: tuple[Path, Path]) -> None:
    link = archive.with_name("link.mar")
    link.symlink_to(archive)

    signatures = [sign_archive(path, keys[0]) for path in (archive, link)]
    for path in (archive, link):
        verify_archive(path, keys[1])

    assert signatures == [archive.with_name("fruity-1.1.0.sig"), archive.with_name("link.sig")]
    assert sorted(archive.parent.iterdir()) == [archive, signatures[0], link, signatures[1]]
    assert [path.stat().st_mode & 0o777 for path in keys] == [0o600, 0o644]


def test_a_signature_that_could_not_be_written_leaves_the_one_before(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    class FullDisk:
        def sign(self, archive: Path, signature: Path) -> None:
            signature.write_text("half a signa")
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("model_archive.signature.load_signer", lambda _: FullDisk())

    with pytest.raises(OSError, match="No space"):
        sign_archive(signed, keys[0])

    verify_archive(signed, keys[1])
    assert sorted(signed.parent.iterdir()) == [signed, signature_path(signed)]


@pytest.mark.parametrize("suffix", [".mar", ".sig"])
def test_any_changed_byte_is_refused(signed: Path, keys: tuple[Path, Path], suffix: str) -> None:
    changed, chance = signed.with_suffix(suffix), random.Random(1)
    content = changed.read_bytes()
    # The last characters of base64 have unused bits.
    ends = [index - 1 for index in range(len(content)) if suffix == ".sig" and content[index : index + 1] == b"="]

    for place in [*ends, *(chance.randrange(len(content)) for _ in range(NUM_FLIPS))]:
        flipped = bytes([content[place] ^ (1 << chance.randrange(8))])
        changed.write_bytes(content[:place] + flipped + content[place + 1 :])
        with pytest.raises(SignatureError, match=r"fruity-1\.1\.0\.mar .*fruity-1\.1\.0\.sig"):
            verify_archive(signed, keys[1])


def test_an_unsigned_archive_is_refused_with_the_command_that_signs(archive: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(
        SignatureError, match=rf"a signature is required and {signature_path(archive)} .*make archive SIGNING_KEY="
    ):
        verify_archive(archive, keys[1])


def test_the_signature_of_another_key_is_refused(signed: Path, tmp_path: Path) -> None:
    _, other = create_keys(tmp_path / "other")

    with pytest.raises(SignatureError, match="Key mismatch"):
        verify_archive(signed, other)
    with pytest.raises(SignatureError, match=r"fruity\.key is not a public key"):
        verify_archive(signed, other.with_name("fruity.key"))


def invalid(text: bytes) -> Callable[[Path], object]:
    return lambda signature: signature.write_bytes(text)


def pad(signature: Path) -> None:
    """Add so many spaces, which JSON allows, that the file is one byte over 1 MiB."""
    signature.write_bytes(signature.read_bytes().ljust(2**20 + 1))


def edited(*path: str, value: object) -> Callable[[Path], object]:
    return lambda signature: edit(signature, *path, value=value)


@pytest.mark.parametrize(
    "change",
    [
        *map(invalid, [b"", b"{}", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b" " * (2 << 20)]),
        invalid(b'{"verificationMaterial": {}}'),
        pad,
        edited("verificationMaterial", "publicKey", "hint", value="ab" * 32),
        edited("dsseEnvelope", "signatures", value=[]),
        edited("dsseEnvelope", "payloadType", value="text/plain"),
        edited("mediaType", value="text/plain"),
        edited("more", value=1),
    ],
)
def test_an_invalid_signature_is_refused(
    signed: Path, keys: tuple[Path, Path], change: Callable[[Path], object]
) -> None:
    change(signature_path(signed))

    with pytest.raises(SignatureError, match="does not verify"):
        verify_archive(signed, keys[1])


def test_the_signature_of_another_build_is_detected_without_a_key(signed: Path) -> None:
    check_signed(signed, hash_file(signed))

    with pytest.raises(SignatureError, match=rf"{hash_file(signed)}, .*{'0' * 64}"):
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

    with pytest.raises(SignatureError, match=r"other\.key .*P-256, P-384 or P-521"):
        load_signer(key)


def test_a_missing_key_is_named(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(SignatureError, match=r"no\.key is not a private key .*No such file"):
        sign_archive(archive, tmp_path / "no.key")


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "fruity.pub").write_text("mine")

    with pytest.raises(SignatureError, match=r"fruity\.pub exists"):
        create_keys(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["fruity.pub"]


def test_without_the_package_the_command_that_installs_it_is_named(
    signed: Path, keys: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "model_signing", None)

    with pytest.raises(SignatureError, match=r"model_signing.*scripts/prepare_venv\.py registry"):
        verify_archive(signed, keys[1])


def test_serving_without_a_key_imports_no_package_for_signatures() -> None:
    code = "import sys, scripts.serve; print({'model_signing', 'cryptography', 'google'} & set(sys.modules))"

    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)

    assert done.stdout == "set()\n"
