"""What in a network decided: the modulators, weighed by how the answer changes with them.

Axes: B batch, H W height and width [px], h w [tokens], C channels, K classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from focalnets.errors import ShapeError
from focalnets.models.focalnet import FocalNet
from focalnets.visualize.recording import BlockId, Inside, block_ids, capture, modulation_of

__all__ = ["look_inside"]


def look_inside(model: FocalNet, images: Tensor, classes: Sequence[int] | None = None) -> tuple[Inside, Tensor]:
    """Run a classifier and record what happens inside, with the evidence for a class.

    The evidence of a place is ``sum over channels of |M * dy/dM|``, with the modulator M there and the logit y of the
    class: how much the answer rests on what context adds at that place. Gradients reach no parameter.

    Args:
        model: The network; it runs in evaluation mode, and is left in the mode that it was in.
        images: (B, channels, H, W), prepared for the model; moved to its device.
        classes: For each image the class whose evidence is wanted; None takes the likeliest ones.

    Returns:
        What was recorded, with ``evidence`` in every block, and the probabilities (B, K) float32 on the CPU. Without
        classifier (K = 0 classes) the features are returned and the evidence is for their length.

    Raises:
        ShapeError: If there is not one class for each image.
    """
    if classes is not None and len(classes) != len(images):
        raise ShapeError(f"expected a class for each of the {len(images)} images, got {len(classes)}.")
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    try:
        with torch.enable_grad(), capture(model) as inside, _probes(model) as probes:
            outputs = model(images.to(device)).float()
            if model.config.num_classes:
                chosen = outputs.argmax(1) if classes is None else torch.as_tensor(list(classes), device=device)
                target = outputs.gather(1, chosen.unsqueeze(1)).sum()
            else:
                target = torch.linalg.vector_norm(outputs, dim=1).sum()
            gradients = torch.autograd.grad(target, [probe for _, probe in probes.values()])
    finally:
        model.train(training)
    for block, gradient in zip(probes, gradients, strict=True):
        modulator = probes[block][0]
        inside[block].evidence = (modulator * gradient).abs().sum(-1).float().cpu()
    outputs = outputs.detach().cpu()
    return inside, outputs.softmax(1) if model.config.num_classes else outputs


@contextlib.contextmanager
def _probes(model: FocalNet) -> Iterator[dict[BlockId, tuple[Tensor, Tensor]]]:
    """Add zeros to every modulator; their gradient is the modulator's, even where all parameters are frozen."""
    probes: dict[BlockId, tuple[Tensor, Tensor]] = {}

    def add_to(projection: nn.Module, block: BlockId) -> torch.utils.hooks.RemovableHandle:
        def hook(_module: nn.Module, _arguments: object, output: Tensor) -> Tensor:
            probe = torch.zeros_like(output, requires_grad=True)
            probes[block] = (output.detach(), probe)
            return output + probe

        return projection.register_forward_hook(hook)

    with contextlib.ExitStack() as hooks:
        for block in block_ids(model):
            hooks.callback(add_to(modulation_of(model, block).modulator_projection, block).remove)
        yield probes
