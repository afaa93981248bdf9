from pathlib import Path

from msgspec.structs import replace

from handler.spec import Provenance, Spec
from model_archive.candidates import Candidate
from model_archive.card import CardRun, write_card
from tests.specs import make_spec

RUN = CardRun("fruits-7", "cd" * 32)


def read_card(folder: Path, spec: Spec, run: CardRun = RUN) -> str:
    archive = folder / "fruity-1.2.3.mar"
    archive.write_bytes(bytes(1234))
    write_card(folder / "fruity-1.2.3.md", archive, "1.2.3", "ab" * 32, spec, run)
    return (folder / "fruity-1.2.3.md").read_text()


def test_the_card_describes_archive_model_accuracy_and_engines(tmp_path: Path) -> None:
    spec = make_spec(
        metrics={"val": {"top1": 0.87654}, "test": {"top1": 0.8, "top5": 0.9}},
        engines={"openvino": {"top1_agreement": 1.0, "precision": "f32"}},
        provenance=Provenance(
            weights="own", data_digest="sha256:00", data_licence="CC BY 4.0", code_revision="abc", seed=0
        ),
        temperature=1.25,
        threshold=0.75,
    )

    card = read_card(tmp_path, spec)

    assert card.startswith(f"# fruity 1.2.3\n\n`fruity-1.2.3.mar`, 1,234 bytes, SHA-256 `{'ab' * 32}`\n")
    assert "- Architecture: `test_efficientnet` (timm)\n" in card
    assert "- Input: 64x64 pixels, bicubic, central 87.5% of the short side\n" in card
    assert f"- Weights: own\n- Run: fruits-7, SHA-256 `{'cd' * 32}`\n" in card
    assert "- Data: sha256:00; licence: CC BY 4.0\n- Code revision: abc; seed: 0\n" in card
    assert "| split | top1 | top5 |\n| --- | --- | --- |\n| val | 0.8765 |  |\n| test | 0.8 | 0.9 |\n" in card
    assert "| engine | precision | top1_agreement |\n| --- | --- | --- |\n| openvino | f32 | 1 |\n" in card
    assert "temperature of 1.25" in card
    assert "from a probability of 0.75 on" in card
    assert card.endswith("## The 4 labels\n\napple, banana, cherry, not food\n")


def test_the_card_shows_intervals_behind_their_figures(tmp_path: Path) -> None:
    card = read_card(
        tmp_path, make_spec(metrics={"val": {"nll": 0.5, "top1": 0.875}}, intervals={"val": {"top1": (0.83, 0.9125)}})
    )

    assert "| val | 0.5 | 0.875 (0.830 to 0.912) |\n\nIn brackets: 95 % intervals.\n" in card


def test_the_card_says_what_is_not_known(tmp_path: Path) -> None:
    card = read_card(tmp_path, make_spec())

    assert "- Data: not recorded; licence: not recorded\n- Code revision: not recorded; seed: none\n" in card
    assert "## Accuracy\n\nnot measured: this model was trained elsewhere\n" in card
    assert "float32.\n\nnone\n" in card


def test_the_card_of_a_measured_run_shows_it_among_the_others(tmp_path: Path) -> None:
    mine = Candidate(
        run="fruits-7",
        architecture="net",
        size=224,
        precision="float",
        split="val",
        photos=200,
        top1=0.9,
        interval=(0.84, 0.94),
        cpu_ms=5.0,
    )
    candidates = [replace(mine, run="fruits-6", top1=0.7, interval=(0.62, 0.77), cpu_ms=3.5), mine]

    card = read_card(tmp_path, make_spec(), RUN._replace(candidates=candidates))
    other = read_card(tmp_path, make_spec(), CardRun("fruits-8", "cd" * 32, candidates=candidates))

    assert "| fruits-6 | net 224 float | 0.700 | 0.620 to 0.770 | 200 of val | 3.5 |\n" in card
    assert "| fruits-7 | **net 224 float** | 0.900 | 0.840 to 0.940 | 200 of val | 5.0 |\n" in card
    assert "| 3.5 |" not in other


def test_a_licence_that_only_the_release_knows_is_shown(tmp_path: Path) -> None:
    assert "licence: MIT\n" in read_card(tmp_path, make_spec(), RUN._replace(data_licence="MIT"))
