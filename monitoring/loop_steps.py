"""From drift or corrections to the next version, by the verbs that people use, with a record of what came of it.

Steps: reason → data version → train → archive → compare → roll out. A killed loop goes on where it was when it is
started again with the same data: finished training and a finished archive are used, training resumes its checkpoint.
"""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import yaml

from handler.spec import FILE_NAME, read_spec
from model_archive.archive_registry import open_registry
from model_archive.entry import hash_file
from model_archive.identity import file_name, read_identity, version_in, version_order
from monitoring.correction import Correction
from monitoring.correction_folder import MANIFEST_FILE, latest_corrections, read_corrections
from monitoring.drift_level import CANNOT_SAY, DRIFT
from monitoring.loop_commands import LoopCommands, run, show
from monitoring.loop_thresholds import LoopError, LoopThresholds, NothingToDo
from monitoring.version_comparison import check_gain, compare_versions, read_photos

RECORD_FILE = "loops.jsonl"
_NO_DRIFT = {None: "no prediction log", 0: "no drift", CANNOT_SAY: "drift cannot be judged"}
BUILD, RUNS, LOGS = Path("build"), Path("runs"), Path("logs")


@dataclass(frozen=True, kw_only=True)
class Loop:
    commands: LoopCommands
    thresholds: LoopThresholds
    serving: Path
    """The archive of the version that serves."""
    confirm: Callable[[str], None]
    """Asks a person; raises `LoopError` if the answer is no."""
    rolls_out: bool = True
    registry: str | None = None
    """Whose versions are not chosen again: a folder or gs://bucket/prefix."""
    folder: Path = BUILD / "loop"


class _Finished(msgspec.Struct):
    """What is read of a line of loops.jsonl."""

    outcome: str
    until: datetime | None = None
    to: str | None = None


def run_loop(loop: Loop) -> str:
    """Bring the next version to the server; return a sentence about it.

    Raises `LoopError` where it stops, and `RegistryError`.
    """
    loop.folder.mkdir(parents=True, exist_ok=True)
    line: dict[str, Any] = {"time": datetime.now(UTC).replace(microsecond=0), "steps": {}}
    outcome, reason = "failed", "a bug, or interrupted"
    try:
        done = _run_steps(loop, line)
        outcome, reason = "done", done
    except LoopError as error:
        outcome, reason = "stopped", str(error)
        raise
    finally:
        line |= {"outcome": outcome, "reason": reason}
        with (loop.folder / RECORD_FILE).open("ab") as file:
            file.write(msgspec.json.encode(line) + b"\n")
    return done


def _run_steps(loop: Loop, line: dict[str, Any]) -> str:
    commands = loop.commands
    old = read_identity(loop.serving)
    line["from"] = old.version
    corrections = latest_corrections(read_corrections(commands.corrections))
    with _step(line, "reason"):
        line["why"] = find_reason(loop, corrections)
        print(f"{line['why']}; version {old.version} serves")
    loop.confirm(f"train the version after {old.version} on {commands.data} and {len(corrections):,} corrections?")
    with _step(line, "data"):
        line["dvc"] = _version_corrections(commands)
        run_id, manifest = _list_data(loop)
        line |= {"run": run_id, "until": max(one.time for one in corrections), "corrections": len(corrections)}
    with _step(line, "train"):
        trained = _train(commands, manifest, run_id)
    with _step(line, "archive"):
        new = _build(loop, trained)
        line["to"] = version = new.name.removeprefix("fruity-").removesuffix(".mar")
    with _step(line, "compare"):
        comparison = compare_versions(loop.serving, new, manifest, commands.corrections / MANIFEST_FILE)
        line |= comparison._asdict()
        print(f"old photos: {comparison.known}\ncorrections: {comparison.corrected}")
        check_gain(comparison, loop.thresholds)
    if not loop.rolls_out:
        return f"{new} is better than {old.version} and is not rolled out"
    loop.confirm(f"roll out {version} in place of {old.version}?")
    with _step(line, "roll out"):
        _check(run(commands.roll_out(version, new.parent)), "the rollout")
    return f"{version} serves"


@contextmanager
def _step(line: dict[str, Any], name: str) -> Iterator[None]:
    """Show that the step *name* begins, and record its seconds in *line*."""
    print(f"--- {name}", flush=True)
    started_s = time.monotonic()
    try:
        yield
    finally:
        line["steps"][name] = round(time.monotonic() - started_s, 1)


def find_reason(loop: Loop, corrections: Sequence[Correction]) -> str:
    """Return why a new version is needed; raise `LoopError` if it is not, or cannot be made yet."""
    until = _learned_until(loop.folder / RECORD_FILE, read_identity(loop.serving).version)
    new = sum(until is None or one.time > until for one in corrections)
    code = _find_drift(loop)
    drift = code == DRIFT
    thresholds, folder = loop.thresholds, loop.commands.corrections
    if not drift and new < thresholds.min_corrections:
        needed = f"{thresholds.min_corrections:,} start a loop"
        raise NothingToDo(f"{_NO_DRIFT[code]}, and {folder} has {new:,} new corrections, {needed}")
    if not new:
        raise LoopError(f"drift, but {folder} has no new correction to learn from; `make corrections` collects them")
    held_out = sum(one.is_held_out for one in corrections)
    if held_out < thresholds.min_held_out:
        raise LoopError(
            f"{held_out:,} of {len(corrections):,} corrections are held out, {thresholds.min_held_out:,} are needed to "
            "compare versions on; collect more"
        )
    return f"{'drift' if drift else 'enough corrections'}: {new:,} of {len(corrections):,} corrections are new"


def next_version(old: str, old_labels: Sequence[str], new_labels: Sequence[str], taken: Sequence[str]) -> str:
    """Return the version after *old*, not one of *taken*: a major one if labels go, a minor one if labels come."""
    numbers = list(version_order(old))
    place = 0 if set(old_labels) - set(new_labels) else 1 if set(new_labels) - set(old_labels) else 2
    used = {version_order(version) for version in taken}
    numbers = [*numbers[:place], numbers[place] + 1, *(0 for _ in numbers[place + 1 :])]
    while tuple(numbers) in used:
        numbers[place] += 1
    return ".".join(map(str, numbers))


def print_plan(loop: Loop) -> None:
    """Print the commands of a loop that stops nowhere."""
    commands, old = loop.commands, read_identity(loop.serving).version
    manifest, run_id, version = loop.folder / "ID" / "photos.csv", "loop-ID", "VERSION"
    if commands.log:
        show(commands.find_drift(loop.serving))
    print("# a person confirms the training, unless YES=1")
    show(commands.add_to_dvc())
    show(commands.list_data(manifest))
    show(commands.train(manifest, run_id))
    show(commands.build(RUNS / run_id, version))
    print(f"# {old} and {version} label the same photos; a person confirms the rollout, unless YES=1")
    if loop.rolls_out:
        show(commands.roll_out(version, BUILD))


def _find_drift(loop: Loop) -> int | None:
    """Return the exit code of monitoring.drift, None without a prediction log; raise `LoopError`."""
    if loop.commands.log is None:
        return None
    code = run(loop.commands.find_drift(loop.serving))
    if code not in (0, DRIFT, CANNOT_SAY):
        raise LoopError(f"monitoring.drift ended with {code}; its message is above")
    return code


def _learned_until(record: Path, serving: str) -> datetime | None:
    """Return the time of the newest correction that the version *serving*, or one before it, has learned from."""
    lines = []
    for line in record.read_bytes().splitlines() if record.exists() else []:
        # A full disk may have cut a line off.
        with suppress(msgspec.DecodeError):
            lines.append(msgspec.json.decode(line, type=_Finished))
    # A version that was compared, published or taken back again need not serve.
    served = (
        one for one in lines if one.outcome == "done" and one.to and version_order(one.to) <= version_order(serving)
    )
    return max((one.until for one in served if one.until), default=None)


def _version_corrections(commands: LoopCommands) -> str | None:
    """Return the digest that DVC gives to the corrections; None, and a line, outside of a checkout with DVC."""
    folder = commands.corrections
    if not Path(".dvc").is_dir() or not folder.resolve().is_relative_to(Path.cwd()):
        print(f"{folder} is outside of this checkout, so DVC does not keep its version")
        return None
    _check(run(commands.add_to_dvc()), "dvc add")
    outputs = yaml.safe_load(Path(f"{folder}.dvc").read_text())["outs"]
    return str(outputs[0]["md5"])


def _list_data(loop: Loop) -> tuple[str, Path]:
    """Return the id of the run to train, by what it learns and how, and the manifest of its photos."""
    partial = loop.folder / "photos.csv"
    _check(run(loop.commands.list_data(partial)), "listing the photos")
    digest = hashlib.sha256(repr((loop.commands.experiment, *loop.commands.training)).encode())
    for photo in sorted(f"{hash_file(path)} {label} {split}" for path, label, split in read_photos(partial)):
        digest.update(photo.encode())
    run_id = f"loop-{digest.hexdigest()[:12]}"
    manifest = loop.folder / run_id / "photos.csv"
    manifest.parent.mkdir(exist_ok=True)
    return run_id, partial.replace(manifest)


def _train(commands: LoopCommands, manifest: Path, run_id: str) -> Path:
    trained = RUNS / run_id
    if (trained / FILE_NAME).exists():
        print(f"{trained} was trained before")
    else:
        resume = any((LOGS / run_id).glob("*.ckpt"))
        _check(run(commands.train(manifest, run_id, resume=resume)), "training")
    return trained


def _build(loop: Loop, trained: Path) -> Path:
    """Return the new archive; that of an earlier loop with the same run, if there is one."""
    chosen, old = loop.folder / trained.name / "version", read_identity(loop.serving)
    # Another version may have been rolled out since it was chosen.
    if not chosen.exists() or version_order(chosen.read_text()) < version_order(old.version):
        labels = read_spec(trained).labels
        built = [version for path in BUILD.glob("*.mar") if (version := version_in(path.name))]
        published = open_registry(loop.registry).versions() if loop.registry else []
        chosen.write_text(next_version(old.version, old.spec.labels, labels, [*built, *published]))
    version = chosen.read_text()
    archive = BUILD / file_name(version)
    if archive.exists():
        print(f"{archive} was built before")
    else:
        _check(run(loop.commands.build(trained, version)), "building the archive")
    return archive


def _check(code: int, what: str) -> None:
    if code:
        raise LoopError(f"{what} ended with {code}; its message is above. Start the loop again to go on from here")
