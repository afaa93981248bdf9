"""The figures of a finished run on photos that it has not seen: `python -m training.evaluate_run RUN SOURCE`."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from handler.familiarity import read_familiarity
from handler.spec import Spec, SpecError, read_spec
from training.config import ConfigError
from training.data.photo_set import DataError, Photo
from training.data.sources import load_test_photos
from training.evaluation.decision import Decision
from training.learned_photos import LEARNED_FILE, VAL_FILE, leave_out, read_digests
from training.loader import load_photo_set
from training.network import NetworkError
from training.network_evaluation import EvaluationResult, EvaluationSet, evaluate_decision, print_summary
from training.process_setup import keep_freed_memory
from training.run_folder import load_network, read_run_config


def evaluate_run(run: Path, source: str, cache: Path) -> EvaluationResult:
    """Return the figures of the finished *run* on *source*; raise `ConfigError`, `DataError` or `NetworkError`."""
    spec = read_spec(run)
    learned, reason = read_digests(run, LEARNED_FILE), "the model has learned from them"
    found = _find_unseen(run, spec, source, cache)
    splits = {split: leave_out(photos, learned, reason) for split, photos in found.items()}
    if not any(splits.values()):
        raise DataError(f"{run} has learned from all photos of {source}, or was chosen by them; evaluate it on others")
    evaluation_set = EvaluationSet(splits, spec.labels, spec.groups, spec.preprocessing)
    decision = Decision(spec.temperature, spec.threshold)
    precision = read_run_config(run).evaluation.precision if splits.get("val") else None
    result = evaluate_decision(load_network(run, spec), evaluation_set, decision, precision)
    familiarity = read_familiarity(run)
    return result if familiarity is None else result.with_unfamiliar_shares(familiarity)


def _find_unseen(run: Path, spec: Spec, source: str, cache: Path) -> dict[str, Sequence[Photo]]:
    """Return val and test of *source* if the run was trained on it, else its photos without those of the run's val."""
    if spec.provenance.data_digest:
        data = read_run_config(run).data
        # A source of test photos alone cannot be loaded to train.
        with suppress(DataError):
            same = load_photo_set(msgspec.structs.replace(data, source=source, cache=str(cache)))
            if same.digest == spec.provenance.data_digest:
                return {"val": same.of("val"), "test": same.of("test")}
    photos = load_test_photos(source, spec.labels, cache=cache)
    return {"test": leave_out(photos, read_digests(run, VAL_FILE), "the model was chosen by them")}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Evaluate a finished run on photos that it has not seen.")
    parser.add_argument("run", type=Path, help="a run folder, for example runs/latest")
    parser.add_argument("source", help="what training.data.sources reads: a folder, a manifest, a name, a bucket")
    parser.add_argument("--cache", type=Path, default=Path("data"), help="where remote photos are kept")
    options = parser.parse_args(arguments)
    keep_freed_memory()
    try:
        result = evaluate_run(options.run, options.source, options.cache)
    except (ConfigError, DataError, NetworkError, SpecError) as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit("error: stopped; nothing was written")
    print_summary(result.summary, result.intervals)


if __name__ == "__main__":
    main()
