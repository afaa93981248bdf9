import shlex
import subprocess
from pathlib import Path

import pytest

from training.config import format_override

ROOT = Path(__file__).parents[2]


def dry_run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["make", "--dry-run", "--no-print-directory", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_folder_name_reaches_hydra_with_its_quotes() -> None:
    quoted = dry_run("train", 'DATA=Anna\'s "best" photos').stdout.splitlines()[-1]

    [source] = [word for word in shlex.split(quoted) if word.startswith("data.source=")]

    assert source == format_override("data.source", 'Anna\'s "best" photos')


@pytest.mark.parametrize(
    ("target", "variables", "command"),
    [
        ("train", (), 'training.train experiment=quick data.source="data/photos"'),
        (
            "train",
            ("experiment=full", "tracker=wandb", "DATA=my photos"),
            'training.train data.source="my photos" experiment=full tracker=wandb',
        ),
        ("train", ("ARGS=a=3 b=9",), 'training.train experiment=quick data.source="data/photos" a=3 b=9'),
        ("sweep", ("TRIALS=3",), 'training.sweep finetune --trials 3 data.source="data/photos"'),
        ("profile", ("ARGS=seed=1",), 'training.profile data.source="data/photos" seed=1'),
    ],
)
def test_variables_reach_the_command(target: str, variables: tuple[str, ...], command: str) -> None:
    last = dry_run(target, *variables).stdout.splitlines()[-1]

    assert " ".join(last.replace("'", "").split()).endswith(command)


@pytest.mark.parametrize(
    "arguments", [("train", "recipe.epochs=3"), ("sweep", "TRIAL=3"), ("help", "experiments=full")]
)
def test_a_variable_that_nobody_reads_is_refused(arguments: tuple[str, str]) -> None:
    done = dry_run(*arguments)

    assert done.returncode == 2
    assert arguments[1].split("=")[0] in done.stderr
    assert "ARGS=" in done.stderr
