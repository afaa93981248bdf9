"""From photos to a run: `python -m training.train data.source=FOLDER experiment=quick`."""

import errno
import shlex
import sys
import time
from pathlib import Path

import hydra
from lightning import seed_everything
from omegaconf import DictConfig
from rich.console import Console

from handler.spec import read_spec
from training.config import Config, ConfigError, read_config
from training.data.photo_set import DataError, Photo, PhotoSet
from training.data.sources import load_photos, load_test_photos
from training.evaluate import Exam, judge_network, judge_refitted, show_summary
from training.export import REPORT_FILE, RunError, check_free
from training.finish import Outcome, finish_run
from training.interruption import InterruptionError
from training.learn import learn, learn_from_val
from training.machine import prepare_machine
from training.network import NetworkError, default_preprocessing
from training.trackers import build_tracker

_EXIT_INTERRUPTED = 130


def train(config: Config) -> Path | None:
    """Return the finished run's folder, or None in every process but the first.

    Raises `DataError`, `NetworkError`, `RunError` or `InterruptionError`.
    """
    started = time.monotonic()
    prepare_machine(config.trainer)
    seed_everything(config.seed, workers=True, verbose=False)
    check_free(Path(config.runs) / config.id)
    preprocessing = default_preprocessing(config.network.architecture, config.network.size, config.network.crop)
    photos = load_photos(
        config.data.source, cache=Path(config.data.cache), seed=config.data.seed, val_share=config.data.val_share
    )
    exam = Exam(_find_exam_photos(config, photos), photos.labels, photos.groups, preprocessing)
    logs = Path(config.logs) / config.id
    if config.resume and not any(logs.glob("*.ckpt")):
        raise ConfigError(f"{logs} holds no checkpoint to go on from; check id=…, or leave resume out")
    tracker = build_tracker(config.tracker, logs, config.id)

    fitted = learn(config, photos, preprocessing, tracker)
    judgement = judge_network(fitted.network, exam, config.evaluation) if fitted.is_chief else None
    if config.recipe.refit_epochs:
        fitted = learn_from_val(fitted, config, photos, preprocessing, tracker)
        judgement = judge_refitted(fitted.network, judgement, exam) if judgement else None
    if judgement is None:
        return None
    minutes = (time.monotonic() - started) / 60
    run = finish_run(config, photos, exam, Outcome(fitted.network, judgement, fitted.epochs, minutes), tracker)
    for checkpoint in logs.glob("*.ckpt"):
        checkpoint.unlink()
    return run


def _find_exam_photos(config: Config, photos: PhotoSet) -> dict[str, tuple[Photo, ...]]:
    test = photos.of("test")
    if config.data.test is not None:
        test = load_test_photos(config.data.test, photos.labels, cache=Path(config.data.cache)).photos
    return {"val": photos.of("val"), "test": test}


@hydra.main(version_base="1.3", config_path=str(Path(__file__).parent / "conf"), config_name="train")
def main(node: DictConfig) -> None:
    try:
        config = read_config(node)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    try:
        run = train(config)
        summary = read_spec(run).metrics if run else {}
    except (ConfigError, DataError, NetworkError) as error:
        sys.exit(f"error: {error}")
    except (RunError, OSError) as error:
        sys.exit(f"error: {_explain(error)}{_hint(config)}")
    except (InterruptionError, KeyboardInterrupt) as stop:
        Console(stderr=True).print(f"{str(stop) or 'stopped'}{_hint(config)}", soft_wrap=True, highlight=False)
        sys.exit(_EXIT_INTERRUPTED)
    if run is not None:
        show_summary(summary)
        Console().print(f"run     {run}\nreport  {run / REPORT_FILE}", soft_wrap=True, highlight=False)


def _explain(error: RunError | OSError) -> str:
    if isinstance(error, RunError):
        return str(error)
    if error.errno == errno.ENOSPC:
        return "the disk is full; free some space and run the same command again"
    return f"{error.strerror or error} ({error.filename or 'no file named'}); mend that and run the same command again"


def _hint(config: Config) -> str:
    """Return the command that goes on from the last checkpoint; nothing if there is none."""
    if not any((Path(config.logs) / config.id).glob("*.ckpt")):
        return ""
    arguments = [a for a in sys.argv[1:] if not a.startswith(("id=", "resume="))]
    command = shlex.join(["python", "-m", "training.train", *arguments, f"id={config.id}", "resume=true"])
    return f"; to go on from its checkpoint:\n  {command}"


if __name__ == "__main__":
    main()
