"""What in a network decided: the modulators, weighed by how the answer changes with them.

Axes: B batch, H W height and width [px], h w [tokens], C channels, K classes, L focal levels.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from focalnets.errors import ShapeError
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalModulation
from focalnets.ops.aggregation import focal_aggregation
from focalnets.visualize.recording import BlockId, Inside, block_ids, capture, modulation_of

__all__ = ["look_inside"]


def look_inside(model: FocalNet, images: Tensor, classes: Sequence[int] | None = None) -> tuple[Inside, Tensor]:
    """Run a classifier and record what happens inside, with the evidence for a class.

    The evidence of a place is ``sum over channels of |M * dy/dM|``, with the modulator M there and the logit y of the
    class: how much the answer rests on what context adds at that place. The evidence of a focal level is the same of
    what the level adds, ``sum over channels of |g c * dy/dG|``, with its gate g, its context c and the gated sum G of
    all levels. Gradients reach no parameter.

    Args:
        model: The network; it runs in evaluation mode, and is left in the mode that it was in.
        images: (B, channels, H, W), prepared for the model; moved to its device.
        classes: For each image the class whose evidence is wanted; None takes the likeliest ones.

    Returns:
        What was recorded, with ``evidence`` in every block and ``level_evidence`` in those of the first stage, and the
        probabilities (B, K) float32 on the CPU. Without classifier (K = 0 classes) the features are returned and the
        evidence is for their length.

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
                inside.classes = tuple(chosen.tolist())
                target = outputs.gather(1, chosen.unsqueeze(1)).sum()
            else:
                target = torch.linalg.vector_norm(outputs, dim=1).sum()
            wanted = [probe.modulator for probe in probes.values()]
            by_level = {block: probe for block, probe in probes.items() if block[0] == 0}
            gradients = torch.autograd.grad(target, [*wanted, *(probe.gated_sum for probe in by_level.values())])
    finally:
        model.train(training)
    for (block, probe), gradient in zip(probes.items(), gradients, strict=False):
        inside[block].evidence = (probe.values * gradient).abs().sum(-1).float().cpu()
    with torch.no_grad():
        for (block, probe), gradient in zip(by_level.items(), gradients[len(wanted) :], strict=True):
            added = _contributions(modulation_of(model, block), probe.projected)
            inside[block].level_evidence = (added * gradient).abs().sum(-1).movedim(0, -1).float().cpu()
    outputs = outputs.detach().cpu()
    return inside, outputs.softmax(1) if model.config.num_classes else outputs


@dataclasses.dataclass
class _Probe:
    """Zeros that were added inside a modulation; their gradient is that of what they were added to.

    Attributes:
        modulator, gated_sum: The zeros (B, h, w, C).
        values: The modulator itself (B, h, w, C).
        projected: What the input projection gave: query, context and gates.
    """

    modulator: Tensor
    gated_sum: Tensor
    values: Tensor
    projected: Tensor


@contextlib.contextmanager
def _probes(model: FocalNet) -> Iterator[dict[BlockId, _Probe]]:
    """Add zeros to every modulator and gated sum, so that gradients are had even where all parameters are frozen."""
    nothing = torch.empty(0)
    probes = {block: _Probe(nothing, nothing, nothing, nothing) for block in block_ids(model)}

    def watch(modulation: FocalModulation, probe: _Probe) -> Iterator[torch.utils.hooks.RemovableHandle]:
        def on_projected(_module: nn.Module, _arguments: object, output: Tensor) -> None:
            probe.projected = output.detach()

        def on_gated_sum(_module: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:
            probe.gated_sum = torch.zeros_like(arguments[0], requires_grad=True)
            return (arguments[0] + probe.gated_sum,)

        def on_modulator(_module: nn.Module, _arguments: object, output: Tensor) -> Tensor:
            probe.modulator, probe.values = torch.zeros_like(output, requires_grad=True), output.detach()
            return output + probe.modulator

        yield modulation.input_projection.register_forward_hook(on_projected)
        yield modulation.modulator_projection.register_forward_pre_hook(on_gated_sum)
        yield modulation.modulator_projection.register_forward_hook(on_modulator)

    with contextlib.ExitStack() as hooks:
        for block, probe in probes.items():
            for handle in watch(modulation_of(model, block), probe):
                hooks.callback(handle.remove)
        yield probes


def _contributions(modulation: FocalModulation, projected: Tensor) -> Tensor:
    """Compute what each level adds to the gated sum: (L + 1, B, h, w, C) of (B, h, w, 2 C + L + 1), the global last."""
    dim, levels = modulation.dim, modulation.focal_levels + 1
    context, gates = projected[..., dim : 2 * dim], projected[..., 2 * dim : 2 * dim + levels]
    alone = gates * torch.eye(levels, dtype=gates.dtype, device=gates.device).view(levels, 1, 1, 1, levels)
    kernels = [kernel.to(context.dtype) for kernel in modulation.kernels]
    repeated, normalize = context.repeat(levels, 1, 1, 1), modulation.normalize_modulator
    added = focal_aggregation(repeated, alone.flatten(0, 1), kernels, normalize=normalize, backend="reference")
    return added.unflatten(0, (levels, len(context)))
