"""What a network needs at the very least, to refuse what cannot fit before the machine stands still or ends it.

Estimates are lower bounds: what is refused would surely fail, what is let through may still be too much.
"""

from __future__ import annotations

from torch import nn

from focalnets.errors import ConfigError
from focalnets.machine.memory import available_bytes
from focalnets.models.config import FocalNetConfig

__all__ = ["check_memory", "check_parameters", "least_bytes", "least_parameters"]

_FLOAT_BYTES = 4


def least_parameters(config: FocalNetConfig) -> int:
    """Count the learnt numbers of the blocks of a network; what stands before and behind them is left out."""
    numbers = 0
    for stage, (dim, depth) in enumerate(zip(config.dims, config.depths, strict=True)):
        kernels = sum(size**2 for size in config.kernel_sizes(stage))
        numbers += depth * dim * (4 * dim + 2 * int(dim * config.mlp_ratio) + kernels)
    return numbers


def least_bytes(config: FocalNetConfig, side_px: int, images: int, *, training: bool) -> int:
    """Estimate the memory of one pass on square images.

    In inference the images and two maps of the first stage are in memory, in training also what each block got.

    Args:
        config: The network.
        side_px: Height and width of the images [px].
        images: At once.
        training: Whether gradients will be computed.
    """
    maps = list(zip(config.dims, config.strides, config.depths, strict=True))
    if training:
        numbers = sum(depth * dim * (side_px // stride) ** 2 for dim, stride, depth in maps)
    else:
        numbers = 2 * config.dims[0] * (side_px // config.strides[0]) ** 2
    return _FLOAT_BYTES * images * (config.in_chans * side_px**2 + numbers)


def check_memory(model: nn.Module, side_px: int, images: int, *, training: bool = False) -> None:
    """Refuse batches that cannot fit into the memory that is free; on other devices than a CPU nothing is known.

    Args:
        model: The network, on its device; of one that holds no FocalNet nothing is known.
        side_px: Height and width of the images [px].
        images: At once.
        training: Whether gradients will be computed.

    Raises:
        ConfigError: With what would be needed, and what there is.
    """
    configs = (getattr(module, "config", None) for module in model.modules())
    config = next((each for each in configs if isinstance(each, FocalNetConfig)), None)
    parameter = next(model.parameters(), None)
    if config is None or parameter is None or parameter.device.type != "cpu":
        return
    needed = least_bytes(config, side_px, images, training=training)
    _refuse(needed, f"{images:,} images of {side_px:,} px at once", "use a smaller batch_size or smaller images")


def check_parameters(config: FocalNetConfig) -> None:
    """Refuse a network whose numbers alone cannot fit into the memory that is free.

    Raises:
        ConfigError: With what would be needed, and what there is.
    """
    numbers = least_parameters(config)
    _refuse(_FLOAT_BYTES * numbers, f"a network of {numbers / 1e9:,.1f} billion numbers", "make it smaller")


def _refuse(needed: int, what: str, advice: str) -> None:
    free = available_bytes()
    if free is not None and needed > free:
        raise ConfigError(
            f"{what} would take at least {needed / 1e9:,.1f} GB, more than the {free / 1e9:,.1f} GB of memory that are "
            f"free; {advice}."
        )
