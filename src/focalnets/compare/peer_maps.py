"""Maps of other networks, beside which those of ours are measured: Grad-CAM of networks of timm with weights at hand.

Axes: H W height and width of what our network sees [px], S side of what the peer sees [px].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from focalnets.compare.models import build_module, find_models
from focalnets.data.transforms import to_tensor
from focalnets.errors import CheckpointError, ConfigError, FocalNetsError
from focalnets.files import user_path
from focalnets.models.config import Preprocessing
from focalnets.training.run_folder import RunFolder
from focalnets.visualize.localization.gradcam import Arrangement, grad_cam
from focalnets.visualize.localization.sources import Method, View

__all__ = ["PeerSource", "open_peer"]


class PeerSource:
    """Grad-CAM of the last map of a network of timm, for its likeliest class.

    The network is shown the whole photo, squeezed into the square that it was made for; its map is stretched back over
    the photo. Of networks with a class token the input of the last attention is taken, since only the class token
    counts behind it.

    Args:
        name: Its name in timm.
        network: Takes (B, 3, S, S) and gives logits; on the device to use.
        preprocessing: How images are prepared for it.

    Raises:
        ConfigError: If timm does not say where its last map is.
    """

    def __init__(self, name: str, network: nn.Module, preprocessing: Preprocessing) -> None:
        self.network, self.preprocessing = network.eval(), preprocessing
        last = (getattr(network, "feature_info", None) or [None])[-1]
        if not isinstance(last, dict) or "module" not in last:
            raise ConfigError(f"timm does not say where the last map of {name} is; name another peer.")
        self.layer = network.get_submodule(last["module"])
        self.arrangement: Arrangement = "channels first"
        if hasattr(network, "num_prefix_tokens"):
            self.layer, self.arrangement = self.layer.get_submodule("norm1"), "row"
        elif getattr(network, "output_fmt", "NCHW") == "NHWC":
            self.arrangement = "channels last"
        self.methods = [Method(key=f"gradcam of {name}", label=f"Grad-CAM of {name}", kind="peer")]

    def maps(self, view: View) -> np.ndarray:
        """Draw the map; see :class:`focalnets.visualize.localization.sources.MapSource`."""
        side = self.preprocessing.input_size_px
        inputs = to_tensor(self.preprocessing)(view.photo.resize((side, side), Image.Resampling.BICUBIC)).unsqueeze(0)
        device = next(self.network.parameters()).device
        heat = grad_cam(self.network, self.layer, inputs.to(device), arrangement=self.arrangement)
        stretched = nn.functional.interpolate(heat.unsqueeze(1), size=view.mask.shape, mode="bilinear")
        return stretched.squeeze(1).numpy()


def open_peer(name: str, weights: str | Path, device: torch.device) -> PeerSource:
    """Build a network of timm with weights that lie here.

    Args:
        name: Its name in timm.
        weights: A safetensors file of timm; or the folder of a run of ``focalnets compare --train``, or its file.
        device: Where it runs.

    Raises:
        MissingPackageError: If timm is not installed.
        UnknownNameError: If timm has no such network.
        CheckpointError: If the weights are missing, damaged or of another network.
        ConfigError: If the name is that of one of our own networks.
    """
    model = find_models([name])[0]
    if model.family != "timm":
        raise ConfigError(f"--peer names a network of timm, got {name!r}; give one of ours as MODEL.")
    import timm

    path = user_path(weights)
    file = RunFolder(path).best if path.is_dir() else path
    tensors, ours = _read(file)
    known: Any = timm.get_pretrained_cfg(name)
    head = f"{known.classifier}.weight"
    if head not in tensors:
        raise CheckpointError(f"'{file}' holds no {head}, the classifier of {name}; give weights of that network.")
    size = known.input_size[-1]
    preprocessing = Preprocessing(input_size_px=size, mean=known.mean, std=known.std)
    if ours:
        size = _trained_size(file.parent) or size
        preprocessing = Preprocessing(input_size_px=size)
    network = build_module(model, size_px=size, num_classes=len(tensors[head]))
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        first = str(error).splitlines()[1:2] or [str(error)]
        raise CheckpointError(f"'{file}' does not fit {name}: {first[0].strip()}") from error
    return PeerSource(name, network.to(device), preprocessing)


def _read(file: Path) -> tuple[dict[str, Tensor], bool]:
    """Read the tensors of a file by the names that timm gives them, and whether our trainer wrote them."""
    if not file.is_file():
        raise CheckpointError(f"there are no weights '{file}'; name a safetensors file or the folder of a run.")
    try:
        with safe_open(file, framework="pt") as opened:
            tensors = {key: opened.get_tensor(key) for key in opened.keys()}  # noqa: SIM118
            ours = "network" in (opened.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"'{file}' is no safetensors file or damaged ({error}).") from error
    return {key.removeprefix("network."): value for key, value in tensors.items()}, ours


def _trained_size(run: Path) -> int | None:
    try:
        return RunFolder(run).read_config().image_size
    except (OSError, FocalNetsError):
        return None
