"""Records what every modulation computes during a forward pass, through hooks that are gone afterwards.

Axes: B batch, H W height and width [px], h w [tokens], C channels, L focal levels.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from focalnets.errors import ConfigError, FocalNetsError
from focalnets.models.focalnet import FocalNet
from focalnets.models.layers import FocalModulation

__all__ = ["BlockId", "Inside", "Modulation", "TokenGrid", "block_ids", "capture", "modulation_of", "token_grids"]

BlockId = tuple[int, int]
"""Stage and block within the stage, both counted from 0."""


@dataclasses.dataclass(frozen=True)
class TokenGrid:
    """Where the tokens of a stage lie in the image: token i is centred on pixel ``offset_px + i * stride_px``."""

    stride_px: int
    offset_px: float


@dataclasses.dataclass
class Modulation:
    """What one block's modulation computed in the last forward pass; float32 on the CPU, detached.

    Attributes:
        grid: Where the tokens lie in the image.
        context_widths_px: Width of what each focal level sees, without the global one [px of the input].
        modulator_norm: L2 norm of the modulator over its channels (B, h, w).
        modulator_contrast: L2 norm over channels of the modulator minus its mean over all positions (B, h, w).
        gates: Gate of every level (B, h, w, L + 1), the global level last; signed, as the projection gives them.
        evidence: How much the answer rests on the modulator of each place (B, h, w), from 0 up; only after
            :func:`focalnets.visualize.look_inside`.
        level_evidence: The same for what every level adds (B, h, w, L + 1), the global level last; only in the first
            stage.
        modulator: The modulator itself (B, h, w, C), or None where it was not asked for.
        query: What the modulator multiplies (B, h, w, C), or None where it was not asked for.
    """

    grid: TokenGrid
    context_widths_px: tuple[int, ...]
    modulator_norm: Tensor | None = None
    modulator_contrast: Tensor | None = None
    gates: Tensor | None = None
    evidence: Tensor | None = None
    level_evidence: Tensor | None = None
    modulator: Tensor | None = None
    query: Tensor | None = None


class Inside(Mapping[BlockId, Modulation]):
    """Modulations by (stage, block), in the order in which they run; filled by each forward pass inside ``capture``.

    Attributes:
        image_size_px: Height and width of the last input [px]; None before the first forward pass.
        classes: For each image the class that evidence is for; None where there is none.
    """

    def __init__(self, modulations: Mapping[BlockId, Modulation]) -> None:
        self._modulations = dict(modulations)
        self.image_size_px: tuple[int, int] | None = None
        self.classes: tuple[int, ...] | None = None

    def __getitem__(self, block: BlockId) -> Modulation:
        return self._modulations[block]

    def __iter__(self) -> Iterator[BlockId]:
        return iter(self._modulations)

    def __len__(self) -> int:
        return len(self._modulations)

    def last_blocks(self) -> list[BlockId]:
        """Find the last recorded block of every stage."""
        return [max(block for block in self if block[0] == stage) for stage in sorted({stage for stage, _ in self})]


@contextlib.contextmanager
def capture(
    model: nn.Module,
    *,
    blocks: Collection[BlockId] | None = None,
    modulator: bool = False,
    query: bool = False,
) -> Iterator[Inside]:
    """Look inside while a network runs.

    ``with capture(model) as inside: model(images)`` leaves the results of the last forward pass in ``inside``. Nothing
    is left on the modules: hooks are removed at the end, also after an exception, so that copying, exporting and
    compiling the model work as before.

    Args:
        model: A FocalNet, or a module that contains exactly one, such as a detector.
        blocks: Which blocks to record; None records all.
        modulator: Keep whole modulators, C numbers a token, instead of one norm a token.
        query: Keep queries, C numbers a token.

    Yields:
        What the blocks computed, by (stage, block).

    Raises:
        ConfigError: If the model contains no FocalNet, several, or not the blocks asked for.
    """
    network = _only_focalnet(model)
    grids = token_grids(network)
    wanted = block_ids(network) if blocks is None else sorted(set(blocks))
    unknown = sorted(set(wanted) - set(block_ids(network)))
    if unknown:
        raise ConfigError(
            f"there is no block {'.'.join(map(str, unknown[0]))}; stages 0 to {len(network.stages) - 1} have "
            f"{', '.join(map(str, network.config.depths))} blocks, both counted from 0."
        )
    modulations = {block: modulation_of(network, block) for block in wanted}
    inside = Inside(
        {block: Modulation(grids[block[0]], _context_widths(grids[block[0]], modulations[block])) for block in wanted}
    )

    def remember_size(_: nn.Module, arguments: tuple[Any, ...]) -> None:
        inside.image_size_px = (arguments[0].shape[-2], arguments[0].shape[-1])

    with contextlib.ExitStack() as hooks:
        hooks.callback(network.stem.register_forward_pre_hook(remember_size).remove)
        for block, record in inside.items():
            modulation = modulations[block]
            on_projection = _projection_hook(record, modulation.dim, query)
            hooks.callback(modulation.input_projection.register_forward_hook(on_projection).remove)
            on_modulator = _modulator_hook(record, modulator)
            hooks.callback(modulation.modulator_projection.register_forward_hook(on_modulator).remove)
        yield inside


def block_ids(network: FocalNet) -> list[BlockId]:
    """List all blocks of a network in the order in which they run."""
    return [(stage, block) for stage, depth in enumerate(network.config.depths) for block in range(depth)]


def modulation_of(network: FocalNet, block: BlockId) -> FocalModulation:
    """Find the modulation of a block."""
    modulation = network.stages[block[0]].blocks[block[1]].modulation  # type: ignore[index, union-attr]
    assert isinstance(modulation, FocalModulation)
    return modulation


def token_grids(network: FocalNet) -> list[TokenGrid]:
    """Find where the tokens of each stage lie in the image.

    A convolution with kernel k, stride s and padding p centres its output i on its input ``i s + (k - 1) / 2 - p``.
    Patches that do not overlap sit in the middle of the pixels they cover; overlapped embeddings do not, by up to half
    a stride in the last stage, so that stretching a map over the image would draw it beside what it belongs to.
    """
    stride, offset = 1, 0.0
    grids = []
    for stage in network.stages:
        embedding: Any = network.stem if stage.downsample is None else stage.downsample
        for convolution in (module for module in embedding.modules() if isinstance(module, nn.Conv2d)):
            kernel, step, padding = convolution.kernel_size[0], convolution.stride[0], int(convolution.padding[0])
            offset += stride * ((kernel - 1) / 2 - padding)
            stride *= step
        grids.append(TokenGrid(stride, offset))
    return grids


def _only_focalnet(model: nn.Module) -> FocalNet:
    networks = [module for module in model.modules() if isinstance(module, FocalNet)]
    if len(networks) != 1:
        raise ConfigError(
            f"expected a model with one FocalNet inside, got {type(model).__name__} with {len(networks)}."
        )
    return networks[0]


def _context_widths(grid: TokenGrid, modulation: FocalModulation) -> tuple[int, ...]:
    grown = itertools.accumulate(kernel.shape[-1] - 1 for kernel in modulation.kernels)
    return tuple(grid.stride_px * (1 + tokens) for tokens in grown)


def _projection_hook(record: Modulation, dim: int, keep_query: bool) -> Callable[..., None]:
    def hook(_: nn.Module, __: Any, output: Tensor) -> None:
        record.gates = _to_float_on_cpu(output[..., 2 * dim :])
        if keep_query:
            record.query = _to_float_on_cpu(output[..., :dim])

    return hook


def _modulator_hook(record: Modulation, keep_modulator: bool) -> Callable[..., None]:
    def hook(_: nn.Module, __: Any, output: Tensor) -> None:
        modulator = output.detach().float()
        record.modulator_norm = torch.linalg.vector_norm(modulator, dim=-1).cpu()
        centred = modulator - modulator.mean((1, 2), keepdim=True)
        record.modulator_contrast = torch.linalg.vector_norm(centred, dim=-1).cpu()
        if keep_modulator:
            record.modulator = _to_float_on_cpu(output)

    return hook


def _to_float_on_cpu(values: Tensor) -> Tensor:
    # A view would keep the whole projection alive.
    return values.detach().to("cpu", torch.float32, copy=True)


def require(values: Tensor | None) -> Tensor:
    """Return what a forward pass recorded.

    Raises:
        FocalNetsError: If the model did not run inside ``capture``, or this was not asked for.
    """
    if values is None:
        raise FocalNetsError("nothing was recorded; run the model inside `with capture(model)`, asking for this value.")
    return values
