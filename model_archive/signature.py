"""Signatures: Sigstore bundles beside their archives, created and verified by model-signing, offline.

That package is imported where it is used, because `make serve` without a public key does not install it.
"""

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIGNATURE_SUFFIX = ".sig"
PRIVATE_KEY = "fruity.key"
PUBLIC_KEY = "fruity.pub"

_MAX_SIGNATURE_BYTES = 1 << 20


class SignatureError(Exception):
    """A signature is missing or does not verify, or a key cannot be used."""


def signature_path(archive: Path) -> Path:
    return archive.with_suffix(SIGNATURE_SUFFIX)


def sign_archive(archive: Path, private_key: Path) -> Path:
    """Return the signature of *archive*, written beside it; raise `SignatureError` or `OSError`."""
    signer, signature = load_signer(private_key), signature_path(archive)
    partial = signature.with_name(signature.name + ".partial")
    try:
        # The library does not accept links, and the signature does not cover the file's name.
        signer.sign(archive.resolve(strict=True), partial)
        partial.replace(signature)
    finally:
        partial.unlink(missing_ok=True)
    return signature


def verify_archive(archive: Path, public_key: Path, signature: Path | None = None) -> None:
    """Verify *archive* by *public_key* and *signature*, by default the one beside it; raise `SignatureError`."""
    signature = signature or signature_path(archive)
    verifier = _load_verifier(public_key)
    target = archive.resolve(strict=True)
    with _refused(archive, signature):
        _parse_bundle(signature)
        verifier.verify(target, signature)


def check_signed(archive: Path, digest: str) -> None:
    """Raise `SignatureError` if the signature beside *archive*, of any key, is for another SHA-256: an older build."""
    signature = signature_path(archive)
    with _refused(archive, signature):
        statement = json.loads(base64.b64decode(_parse_bundle(signature)["dsseEnvelope"]["payload"]))
        signed = [resource["digest"] for resource in statement["predicate"]["resources"]]
        if signed != [digest]:
            raise ValueError(f"it is for the SHA-256 {', '.join(signed)}, the archive has {digest}")


def create_keys(folder: Path) -> tuple[Path, Path]:
    """Return a new private key and its public key in *folder*; raise `SignatureError` if one exists."""
    with required_package(SignatureError):
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    paths = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    if existing := [path for path in paths if path.exists()]:
        raise SignatureError(f"{existing[0]} exists and is kept: archives may be signed with it; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content, mode in zip(paths, (private, public), (0o600, 0o644), strict=True):
        path.touch(mode, exist_ok=False)
        path.write_bytes(content)
    return paths


def load_signer(private_key: Path) -> Any:
    """Return the signer of *private_key*; raise `SignatureError` if it cannot sign."""
    with required_package(SignatureError):
        from model_signing import signing
    with _readable_key(private_key, "private"):
        return signing.Config().use_elliptic_key_signer(private_key=private_key)


def _load_verifier(public_key: Path) -> Any:
    with required_package(SignatureError):
        from model_signing import hashing, verifying
    with _readable_key(public_key, "public"):
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    # A fixed algorithm, and not the one that the signature names.
    return verifier.set_hashing_config(hashing.Config().use_file_serialization(hashing_algorithm="sha256"))


def _parse_bundle(signature: Path) -> dict[str, Any]:
    """Return the signature's JSON; raise `ValueError` if it differs from what the library would write."""
    from sigstore_models.bundle.v1 import Bundle

    with signature.open("rb") as file:
        text = file.read(_MAX_SIGNATURE_BYTES + 1)
    if len(text) > _MAX_SIGNATURE_BYTES:
        raise ValueError(f"it has more than {_MAX_SIGNATURE_BYTES:,} bytes")
    fields: dict[str, Any] = json.loads(text)
    # The library accepts unused bits of base64 and missing fields; every changed byte must be refused.
    if json.loads(Bundle.from_json(text).to_json()) != fields:
        raise ValueError("it is not a Sigstore bundle as model-signing writes it")
    return fields


@contextmanager
def _refused(archive: Path, signature: Path) -> Iterator[None]:
    """Turn any error of the library into a `SignatureError` that refuses *archive*."""
    try:
        yield
    except FileNotFoundError as error:
        raise SignatureError(
            f"{archive.name} is refused, a signature is required and {signature} does not exist; "
            f"build and sign it with make archive SIGNING_KEY={PRIVATE_KEY}"
        ) from error
    except Exception as error:  # Invalid input makes the library raise errors of any type.
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        raise SignatureError(
            f"{archive.name} is refused, {signature.name} does not verify ({reason}); fetch it again, or sign it "
            "with make archive SIGNING_KEY=…"
        ) from error


@contextmanager
def _readable_key(key: Path, kind: str) -> Iterator[None]:
    try:
        yield
    # RSA and Ed25519 keys have no curve: AttributeError; keys under a password: TypeError.
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise SignatureError(
            f"{key} is not a {kind} key ({error}); make keys creates one: PEM, P-256, P-384 or P-521, no password"
        ) from error


@contextmanager
def required_package(failure: type[Exception]) -> Iterator[None]:
    """Turn a failed import into *failure* with the command that installs the package."""
    try:
        yield
    except ImportError as error:
        raise failure(f"{error}: not installed; run python3 scripts/prepare_venv.py registry, or use make") from error
