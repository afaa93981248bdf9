"""A run's network, from its weights and spec. Axes as in handler/engine.py; O the classifier's outputs, P places."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from handler.engine import Outputs, Photos
from handler.spec import WEIGHTS_FILE, Spec
from model_archive.build_error import BuildError


def load_network(run: Path, spec: Spec) -> "ServedNetwork":
    """Return the network of the folder *run* in evaluation mode; raise `BuildError`."""
    try:
        network = timm.create_model(spec.architecture, pretrained=False, num_classes=spec.num_outputs)
        tensors = safetensors.torch.load_file(run / WEIGHTS_FILE)
        if spec.pruned:
            _resize_layers(network.eval(), tensors, spec.preprocessing.size)
        network.load_state_dict(tensors)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise BuildError(f"{run / WEIGHTS_FILE} does not fit the network {spec.architecture}: {error}") from error
    return ServedNetwork(network, spec).eval()


def _resize_layers(network: nn.Module, tensors: Mapping[str, Tensor], size: int) -> None:
    """Give the layers of the convolutional *network* the widths of *tensors*, as pruning left them."""
    for name, layer in network.named_modules():
        shape = tensors[f"{name}.weight"].shape if f"{name}.weight" in tensors else None
        if isinstance(layer, nn.Conv2d) and shape:
            if layer.groups == layer.in_channels:
                layer.groups = shape[0]
            layer.out_channels, layer.in_channels = shape[0], shape[1] * layer.groups
        elif isinstance(layer, nn.Linear) and shape:
            layer.out_features, layer.in_features = shape
        elif isinstance(layer, nn.BatchNorm2d) and shape:
            layer.num_features = shape[0]
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        tensor.data = torch.empty_like(tensors.get(name, tensor))
    with torch.inference_mode():
        network.num_features = network.forward_features(torch.zeros(1, 3, size, size)).shape[1]  # type: ignore[operator]


class ServedNetwork(nn.Module):
    """The network that is exported: uint8 photos in; logits, embeddings and class activation maps out."""

    network: Any  # timm has no type that declares what its networks share
    mean_C: Tensor
    std_C: Tensor

    def __init__(self, network: nn.Module, spec: Spec) -> None:
        super().__init__()
        self.network = network
        self.label_outputs = spec.label_outputs
        self.register_buffer("mean_C", torch.tensor(spec.preprocessing.mean) * 255.0, persistent=False)
        self.register_buffer("std_C", torch.tensor(spec.preprocessing.std) * 255.0, persistent=False)

    @torch.no_grad()
    def infer(self, photos_BHWC: Photos) -> Outputs:
        """Return the outputs as an engine does."""
        logits_BK, embeddings_BD, _ = self(torch.from_numpy(photos_BHWC))
        return Outputs(logits_BK.numpy(), embeddings_BD.numpy())

    def forward(self, photos_BHWC: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits_BK, embeddings_BD and activations_BKhw for photos in [0, 255]."""
        inputs_BHWC = (photos_BHWC.float() - self.mean_C) / self.std_C
        features = self.network.forward_features(inputs_BHWC.permute(0, 3, 1, 2))
        embeddings_BD = self.network.forward_head(features, pre_logits=True)
        logits_BK = self._sum_outputs(self.network.get_classifier()(embeddings_BD))
        places, h, w = _split_into_places(features, self.network)
        places_PK = self._sum_outputs(self.network.forward_head(places))
        return logits_BK, embeddings_BD, places_PK.reshape(-1, h, w, places_PK.shape[1]).permute(0, 3, 1, 2)

    def _sum_outputs(self, outputs_BO: Tensor) -> Tensor:
        if self.label_outputs is None:
            return outputs_BO
        sums_KB = [
            outputs_BO[:, outputs[0]] if len(outputs) == 1 else outputs_BO[:, outputs].logsumexp(dim=1)
            for outputs in self.label_outputs
        ]
        return torch.stack(sums_KB, dim=1)


def _split_into_places(features: Tensor, network: nn.Module) -> tuple[Tensor, int, int]:
    """Return the places of the feature map (BChw, BhwC or tokens), each as such a map of one place, and h, w."""
    if features.ndim == 4 and features.shape[1] == network.num_features:
        h, w = features.shape[2:]
        return features.permute(0, 2, 3, 1).flatten(0, 2)[:, :, None, None], h, w
    if features.ndim == 4:
        h, w = features.shape[1:3]
        return features.flatten(0, 2)[:, None, None, :], h, w
    num_prefix = getattr(network, "num_prefix_tokens", 0)
    tokens = features[:, num_prefix:]
    side = math.isqrt(tokens.shape[1])
    # Heads read the first token or the mean of those after the prefix; here both are the place.
    return tokens.flatten(0, 1)[:, None, :].repeat(1, num_prefix + 1, 1), side, side
