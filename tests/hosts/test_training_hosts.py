"""A training on two hosts: as good as one process, and resumed exactly after a host was lost."""

import shlex
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
import safetensors.torch
import torch

from handler.spec import WEIGHTS_FILE
from tests.hosts.network import Host
from tests.hosts.results import Results
from tests.hosts.training_site import SIGKILL, resume_command, run_on_hosts, wait_for_epoch
from tests.training.pictures import write_photo_set
from tests.training.tiny_runs import LEARNS, read_metrics, run_training, tiny_overrides

_END_S = 100.0
_EPOCHS = 8

pytestmark = [pytest.mark.hosts, pytest.mark.slow]


@dataclass(frozen=True)
class Training:
    """A folder with the photos, the weights to start from, and the runs."""

    folder: Path
    photos: Path
    fixed: tuple[str, ...]
    """What makes a step depend on its photos alone: no dropout, no statistics of the batch."""

    def arguments(self, name: str, *more: str) -> list[str]:
        return tiny_overrides(self.photos, self.folder, *self.fixed, "recipe.batch=4", *_PAIR, f"id={name}", *more)

    def weights(self, name: str) -> dict[str, torch.Tensor]:
        return safetensors.torch.load_file(self.folder / "runs" / name / WEIGHTS_FILE)


_PAIR = ("trainer=ddp", "trainer.nodes=2", "trainer.devices=1")


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Training:
    folder = tmp_path_factory.mktemp("training")
    photos = write_photo_set(folder / "photos", {"train": 24, "val": 6, "test": 6})
    start = run_training(photos, folder, *LEARNS, "recipe.epochs=1", "id=start")
    fixed = (f"network.weights={start / WEIGHTS_FILE}", "recipe.freeze_norms=true", "network.dropout=0.0")
    return Training(
        folder, photos, (*LEARNS, "recipe.lr=0.003", "recipe.classifier=new", f"recipe.epochs={_EPOCHS}", *fixed)
    )


@pytest.fixture(scope="module")
def pair(training: Training, hosts: tuple[Host, ...]) -> Training:
    """*training* with the finished run `pair` of two hosts."""
    with run_on_hosts(training.folder / "pair", hosts[1:], training.arguments("pair")) as started:
        codes = [one.wait(_END_S) for one in started]
        assert codes == [0, 0], [one.log.read_text() for one in started]
        assert "sync_dist" not in started[0].log.read_text()
        assert "run     " not in started[1].log.read_text()
    return training


def test_two_hosts_train_the_network_of_one_process(pair: Training, results: Results) -> None:
    one = run_training(pair.photos, pair.folder, *pair.fixed, "recipe.batch=8", "id=one")

    alone, together = (read_metrics(pair.folder / "runs" / name)["epochs"] for name in (one.name, "pair"))
    for name, epochs, what in (("one process", alone, "the reference"), ("two hosts", together, "the same network")):
        results.training.append((name, f"{epochs[-1]['val_top1']:.3f}", f"{epochs[-1]['val_loss']:.5f}", what))
    assert [epoch["val_top1"] for epoch in together] == pytest.approx([epoch["val_top1"] for epoch in alone], abs=0.05)
    assert [epoch["val_loss"] for epoch in together] == pytest.approx([e["val_loss"] for e in alone], rel=1e-3)
    assert [epoch["train_loss"] for epoch in together[1:]] == pytest.approx(
        [epoch["train_loss"] for epoch in alone[1:]], rel=1e-3
    )
    # Both have learned: untrained networks would have equal figures, too.
    assert together[-1]["val_loss"] < 0.7 * together[0]["val_loss"]


def test_after_a_host_is_killed_the_other_says_how_to_resume_and_the_result_is_the_same(
    pair: Training, hosts: tuple[Host, ...], results: Results
) -> None:
    # The first one evaluates, writes, and is where the others meet.
    with run_on_hosts(pair.folder / "lost", hosts[1:], pair.arguments("lost")) as (first, second):
        wait_for_epoch(first, 3)
        first.kill()
        killed_s = time.monotonic()
        codes = [one.wait(_END_S) for one in (first, second)]
        took_s = time.monotonic() - killed_s
    said, command = second.log.read_text(), shlex.split(resume_command(second.log))
    arguments = command[command.index("training.train") + 1 :]

    with run_on_hosts(pair.folder / "resumed", hosts[1:], arguments) as resumed:
        assert [one.wait(_END_S) for one in resumed] == [0, 0], resumed[0].log.read_text()

    assert codes == [SIGKILL, 1]
    assert "error: another process of this training has ended or cannot be reached" in said
    assert "--node-rank=1" in command
    assert "fit: epoch 1 of" not in resumed[0].log.read_text()
    weights, whole = pair.weights("lost"), pair.weights("pair")
    assert {key for key in whole if not torch.equal(weights[key], whole[key])} == set()
    epochs = read_metrics(pair.folder / "runs" / "lost")["epochs"]
    assert epochs == read_metrics(pair.folder / "runs" / "pair")["epochs"]
    what = f"the other ended after {took_s:.0f} s with the command to resume; the same bytes of weights"
    row = "two hosts, the first killed in epoch 4, resumed"
    results.training.append((row, f"{epochs[-1]['val_top1']:.3f}", f"{epochs[-1]['val_loss']:.5f}", what))


def test_a_host_that_is_cut_off_is_given_up_after_the_timeout(
    pair: Training, hosts: tuple[Host, ...], results: Results
) -> None:
    arguments = pair.arguments("cut", "trainer.timeout_minutes=0.1", "recipe.epochs=1000")
    with run_on_hosts(pair.folder / "cut", hosts[1:], arguments) as started:
        wait_for_epoch(started[0], 1)
        hosts[2].cut_off()
        cut_s = time.monotonic()
        try:
            code = started[0].wait(_END_S)
        finally:
            hosts[2].plug_in()
        took_s = time.monotonic() - cut_s

    assert code == 1
    assert "error: another process of this training has ended or cannot be reached" in started[0].log.read_text()
    what = f"with `trainer.timeout_minutes=0.1` the other ended after {took_s:.0f} s with the command to resume"
    results.training.append(("two hosts, the second cut off", "not finished", "not finished", what))
