"""Signatures: proof that an archive is what the holder of a key built.

A signature is a Sigstore bundle beside its archive, made and checked by model-signing, offline. That package is
imported where it is used: `make serve` without a public key installs and loads none of it.
"""

import base64
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SIGNATURE_SUFFIX = ".sig"
PRIVATE_KEY = "fruity.key"
PUBLIC_KEY = "fruity.pub"

_MAX_SIGNATURE_BYTES = 1 << 20


class SignatureError(Exception):
    """A signature is missing or does not hold, or a key cannot be used."""


def signature_path(archive: Path) -> Path:
    return archive.with_suffix(SIGNATURE_SUFFIX)


def sign_archive(archive: Path, private_key: Path) -> Path:
    """Return the signature of *archive*, written beside it; raise `SignatureError` or `OSError`."""
    signer = _load_signer(private_key)
    signature = signature_path(archive)
    partial = signature.with_name(signature.name + ".partial")
    try:
        # A file's name is not part of what is signed.
        signer.sign(archive.resolve(strict=True), partial)
        partial.replace(signature)
    finally:
        partial.unlink(missing_ok=True)
    return signature


def verify_archive(archive: Path, public_key: Path, signature: Path | None = None) -> None:
    """Return if *signature*, by default the one beside it, proves *archive* by *public_key*; raise `SignatureError`.

    Nothing in the archive is unpacked. What it says of itself, as its version, is checked by `identity.identify`.
    """
    signature = signature or signature_path(archive)
    verifier = _load_verifier(public_key)
    # The library takes no link.
    target = archive.resolve(strict=True)
    with _refused(archive, signature):
        _parse_bundle(signature)
        verifier.verify(target, signature)


def check_signed(archive: Path, digest: str) -> None:
    """Return if the signature beside *archive* is about its SHA-256 *digest*, by whichever key; else `SignatureError`.

    It proves nothing: it keeps a signature that was left from an older build from being published.
    """
    signature = signature_path(archive)
    with _refused(archive, signature):
        statement = json.loads(base64.b64decode(_parse_bundle(signature)["dsseEnvelope"]["payload"]))
        signed = [resource["digest"] for resource in statement["predicate"]["resources"]]
        if signed != [digest]:
            raise ValueError(f"it signs the SHA-256 {', '.join(signed)}, the archive has {digest}")


def check_private_key(private_key: Path) -> None:
    """Return if *private_key* can sign; raise `SignatureError`."""
    _load_signer(private_key)


def create_keys(folder: Path) -> tuple[Path, Path]:
    """Return a new private and its public key in *folder*; existing ones are never overwritten: `SignatureError`."""
    with _library():
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ec
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    paths = folder / PRIVATE_KEY, folder / PUBLIC_KEY
    for path in paths:
        if path.exists():
            raise SignatureError(f"{path} exists and is kept: archives may be signed with it; choose another folder")
    folder.mkdir(parents=True, exist_ok=True)
    for path, content, mode in zip(paths, (private, public), (0o600, 0o644), strict=True):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
            file.write(content)
    return paths


def _load_signer(private_key: Path) -> Any:
    with _library():
        from model_signing import signing
    with _readable_key(private_key, "private"):
        return signing.Config().use_elliptic_key_signer(private_key=private_key)


def _load_verifier(public_key: Path) -> Any:
    with _library():
        from model_signing import hashing, verifying
    with _readable_key(public_key, "public"):
        verifier = verifying.Config().use_elliptic_key_verifier(public_key=public_key)
    # Not the algorithm that the signature asks for.
    return verifier.set_hashing_config(hashing.Config().use_file_serialization(hashing_algorithm="sha256"))


def _parse_bundle(signature: Path) -> dict[str, Any]:
    """Return the signature's JSON; raise `ValueError` if it says anything that the library would not read."""
    from sigstore_models.bundle.v1 import Bundle

    with signature.open("rb") as file:
        text = file.read(_MAX_SIGNATURE_BYTES + 1)
    if len(text) > _MAX_SIGNATURE_BYTES:
        raise ValueError(f"it has more than {_MAX_SIGNATURE_BYTES:,} bytes")
    fields: dict[str, Any] = json.loads(text)
    # Unused bits of base64 and missing fields are let pass by the library: a changed byte must not be.
    if json.loads(Bundle.from_json(text).to_json()) != fields:
        raise ValueError("it is no Sigstore bundle as signing writes it")
    return fields


@contextmanager
def _refused(archive: Path, signature: Path) -> Iterator[None]:
    """Turn whatever the library raises into the sentence that refuses *archive*."""
    try:
        yield
    except FileNotFoundError as error:
        raise SignatureError(
            f"{archive.name} is refused, a signature is required and there is no {signature}; "
            f"make archive SIGNING_KEY={PRIVATE_KEY} signs what it builds"
        ) from error
    except Exception as error:  # Rubbish makes the library raise anything; none of it may let an archive through.
        reason = (str(error) or type(error).__name__).partition("\n")[0]
        raise SignatureError(
            f"{archive.name} is refused, {signature.name} does not hold for it ({reason}); it was changed, damaged or "
            "signed with another key: fetch it again, or build and sign it anew"
        ) from error


@contextmanager
def _readable_key(key: Path, kind: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SignatureError(
            f"the {kind} key {key} cannot be read ({error.strerror}); make keys makes a pair"
        ) from error
    # RSA and Ed25519 keys have no curve: AttributeError; keys under a password: TypeError.
    except (ValueError, TypeError, AttributeError) as error:
        raise SignatureError(
            f"{key} is no {kind} key that can be used ({error}); allowed are PEM files of an elliptic curve key "
            "(P-256, P-384 or P-521) without a password, as make keys makes them"
        ) from error


@contextmanager
def _library() -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise SignatureError(
            f"signatures need a package that is not installed ({error}); run python3 scripts/prepare_venv.py registry, "
            "or use make, which installs it"
        ) from error
