"""Any spec, archive, signature and registry entry: read as it is, or refused with the error that callers expect."""

import base64
import functools
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import msgspec
import yaml
from hypothesis import given
from hypothesis import strategies as st

from handler.settings import SettingsError, read_settings
from handler.spec import Spec, SpecError, encode_sorted, parse_spec
from model_archive.entry import Entry, decode_entry, describe_archive
from model_archive.golden import read_golden
from model_archive.identity import ArchiveError, check_members, is_version, read_identity
from model_archive.signature import (
    SignatureError,
    check_signed,
    create_keys,
    sign_archive,
    signature_path,
    verify_archive,
)
from model_archive.storage import RegistryError
from tests.archives import write_archive
from tests.fuzz.broken_bytes import ANY_JSON, broken_bytes, broken_json
from tests.fuzz.property import finds, folder, gate
from tests.specs import make_spec

# Deeper than Python's stack, and not UTF-8.
_DEEP = st.sampled_from((b"[" * 5_000, b'{"schema":' * 2_500, b'{"schema": 1, "name": "\xff"}', b"\xff\xfe"))
_SPEC: dict[str, Any] = msgspec.to_builtins(make_spec())


@functools.cache
def archive() -> bytes:
    """Return a small archive with a golden set."""
    path = write_archive(folder() / "fruity-1.1.0.mar")
    sample = {"photo": base64.b64encode(b"photo").decode(), "label": "apple", "probability": 0.9}
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as members:
        members.writestr("golden.json", json.dumps([sample]))
    return path.read_bytes()


@functools.cache
def signed() -> tuple[Path, Path, dict[str, Any]]:
    """Return an archive, the public key of its signature, and the signature."""
    private_key, public_key = create_keys(folder() / "keys")
    path = write_archive(folder() / "signed" / "fruity-1.1.0.mar")
    bundle: dict[str, Any] = json.loads(sign_archive(path, private_key).read_bytes())
    return path, public_key, bundle


@gate(150)
@finds("spec")
@given(broken_json(_SPEC) | st.binary(max_size=100) | _DEEP)
def test_any_spec_is_refused_or_read_and_written_without_a_change(text: bytes) -> None:
    try:
        spec = parse_spec(text)
    except SpecError as error:
        assert str(error)
        return
    assert isinstance(spec, Spec)
    assert parse_spec(encode_sorted(spec)) == spec


def yaml_of(text: bytes) -> Any:
    """Return what YAML, as TorchServe reads model-config.yaml, makes of *text*; the text itself if it is not YAML."""
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError):
        return text.decode(errors="replace")


@gate()
@given(ANY_JSON | broken_json({"engine": "auto", "limits": {"max_photos": 3}}).map(yaml_of))
def test_any_settings_of_a_model_are_refused_or_read(config: Any) -> None:
    try:
        assert read_settings({"fruity": config}).limits.max_photos >= 1
    except SettingsError as error:
        assert "model-config.yaml" in str(error)


@st.composite
def broken_archives(draw: st.DrawFn) -> bytes:
    """Return an archive whose bytes, members or names are broken."""
    if draw(st.booleans()):
        return draw(broken_bytes(archive()))
    file = io.BytesIO()
    names = st.sampled_from(("MAR-INF/MANIFEST.json", "spec.json", "golden.json", "../spec.json", "/etc/passwd"))
    manifest = {"model": {"modelName": "fruity", "modelVersion": "1.1.0"}}
    contents = broken_json(_SPEC) | broken_json(manifest) | broken_json([{"photo": "YQ==", "label": "a"}]) | _DEEP
    with zipfile.ZipFile(file, "w", draw(st.sampled_from((0, 8, 12, 14)))) as members:
        for name, content in draw(st.dictionaries(names, contents, max_size=4)).items():
            members.writestr(name, content)
    return file.getvalue()


@gate(150)
@given(broken_archives())
def test_any_archive_is_identified_or_refused(content: bytes) -> None:
    path = folder() / "fruity-1.1.0.mar"
    path.write_bytes(content)
    for read in (read_identity, check_members, read_golden):
        try:
            read(path)
        except ArchiveError as error:
            assert path.name in str(error)
            continue
    try:
        entry = describe_archive(path)
    except ArchiveError:
        return
    assert is_version(entry.version)
    assert entry.size == len(content)


@st.composite
def broken_signatures(draw: st.DrawFn) -> bytes:
    """Return a signature, or one whose bytes, document or signed statement are broken."""
    _, _, bundle = signed()
    envelope = bundle["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))
    payload = base64.b64encode(draw(broken_json(statement))).decode()
    other = {**bundle, "dsseEnvelope": {**envelope, "payload": payload}}
    others = st.sampled_from((json.dumps(other).encode(), json.dumps(bundle).encode()))
    return draw(broken_json(bundle) | others | _DEEP)


@gate(100)
@given(broken_signatures())
def test_only_the_signature_itself_is_accepted(text: bytes) -> None:
    path, public_key, bundle = signed()
    signature_path(path).write_bytes(text)
    try:
        check_signed(path, describe_archive(path).digest)
    except SignatureError as error:
        assert path.name in str(error)
    try:
        verify_archive(path, public_key)
    except SignatureError:
        return
    assert json.loads(text) == bundle


_FILE = {"digest": "0" * 64, "size": 3}
_ENTRY = {
    "name": "fruity",
    "version": "1.1.0",
    "published": "2026-11-26T00:00:00Z",
    "files": {".mar": _FILE, ".md": _FILE},
}


@gate(100)
@finds("entry")
@given(broken_json(_ENTRY) | st.binary(max_size=60) | _DEEP)
def test_any_entry_of_a_registry_is_read_or_refused(text: bytes) -> None:
    try:
        entry = decode_entry(text, Entry, "1.1.0", "registry/1.1.0.json")
    except RegistryError as error:
        assert "registry/1.1.0.json" in str(error)
        return
    assert (entry.version, len(entry.digest)) == ("1.1.0", 64)
