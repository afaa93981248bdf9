"""What both sides of the training benchmark do: equal network, batch, precision and cost of augmentation."""

from collections.abc import Iterator
from dataclasses import dataclass

NUM_WARM_UP, NUM_TIMED = 2, 8
"""Batches; as many as training.profile takes."""


@dataclass(frozen=True)
class Recipe:
    """fruity's defaults, in bfloat16; timm takes them by field, fruity as overrides."""

    architecture: str = "tf_efficientnet_lite0"
    batch: int = 32
    precision: str = "bf16-mixed"
    threads: int = 2
    workers: int = 2
    epochs: int = 10
    warmup_epochs: int = 1
    lr: float = 1e-3
    layer_decay: float = 0.9
    weight_decay: float = 0.05
    label_smoothing: float = 0.1
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    dropout: float = 0.2
    min_area: float = 0.4
    flip: float = 0.5

    def overrides(self) -> Iterator[str]:
        """Yield the same as overrides of training.train."""
        yield from ("network=lite0", "recipe=finetune", "augment=light", "trainer=cpu", "tracker=none")
        yield f"network.architecture={self.architecture}"
        # The speed does not depend on them, and nothing is fetched.
        yield "network.weights=random"
        # As in timm's loop.
        yield "recipe.freeze_norms=false"
        yield f"network.dropout={self.dropout}"
        for name in ("precision", "threads", "workers"):
            yield f"trainer.{name}={getattr(self, name)}"
        for name in ("min_area", "flip"):
            yield f"augment.{name}={getattr(self, name)}"
        recipe = ("batch", "epochs", "warmup_epochs", "lr", "layer_decay", "weight_decay")
        for name in (*recipe, "label_smoothing", "clip_norm", "ema_decay"):
            yield f"recipe.{name}={getattr(self, name)}"
