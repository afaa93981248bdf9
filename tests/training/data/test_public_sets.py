from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from training.data.public_sets import PUBLIC_SETS

CONF = Path(__file__).parents[3] / "training" / "conf"


@pytest.mark.parametrize("name", sorted(PUBLIC_SETS))
def test_every_public_set_can_be_chosen_by_its_name(name: str) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        data = compose("train", overrides=[f"data={name}"]).data
    assert (data.source, data.cache, data.seed, data.val_share) == (name, "data", 0, 0.1)
