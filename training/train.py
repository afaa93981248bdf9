"""From photos to a run: `python -m training.train data.source=FOLDER experiment=quick`."""

import sys
from pathlib import Path

import hydra
from omegaconf import DictConfig

from training.config import ConfigError, read_config


@hydra.main(version_base="1.3", config_path=str(Path(__file__).parent / "conf"), config_name="train")
def main(node: DictConfig) -> None:
    try:
        config = read_config(node)
    except ConfigError as error:
        sys.exit(f"error: {error}")
    # Torch and Lightning take seconds to import: what is wrong with the configuration is said before.
    from training.training_run import train_and_report

    train_and_report(config)


if __name__ == "__main__":
    main()
