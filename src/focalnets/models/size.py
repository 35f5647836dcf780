"""How large a network becomes, told before any of it is built."""

from __future__ import annotations

import torch

from focalnets.errors import ConfigError
from focalnets.machine.description import memory_bytes
from focalnets.models.config import FocalNetConfig
from focalnets.models.fields import shortened

__all__ = ["count_block_weights", "refuse_absurd_size"]

_MOST_BLOCKS, _MOST_LEVELS = 10_000, 1_000
_MOST_WEIGHTS = 10**13
_BYTES_A_WEIGHT = 4


def count_block_weights(config: FocalNetConfig) -> int:
    """Count the weights of all blocks without biases and norms: a little less than the network has."""
    weights = 0
    for stage, (depth, dim) in enumerate(zip(config.depths, config.dims, strict=True)):
        hidden = round(min(dim * config.mlp_ratio, 1e30))
        weights += depth * dim * (4 * dim + 2 * hidden + sum(size**2 for size in config.kernel_sizes(stage)))
    return weights


def refuse_absurd_size(config: FocalNetConfig) -> None:
    """Refuse a network that would take days to build, or whose weights alone are more than the memory of this machine.

    Raises:
        ConfigError: With what is too large.
    """
    if sum(config.depths) > _MOST_BLOCKS or max(config.focal_levels) > _MOST_LEVELS:
        raise ConfigError(
            f"a network of depths {shortened(config.depths)} and focal_levels {shortened(config.focal_levels)} is too "
            f"large to be built; expected at most {_MOST_BLOCKS:,} blocks and {_MOST_LEVELS:,} levels."
        )
    weights, memory = count_block_weights(config), memory_bytes()
    on_meta = torch.get_default_device().type == "meta"
    if weights > _MOST_WEIGHTS or (memory is not None and not on_meta and weights * _BYTES_A_WEIGHT > memory):
        has = "" if memory is None else f", and this machine has {memory / 1e9:,.1f} GB"
        raise ConfigError(
            f"a network of {shortened(config.embed_dim)} channels and depths {shortened(config.depths)} needs at least "
            f"{weights * _BYTES_A_WEIGHT / 1e9:.3g} GB for its weights{has}; make embed_dim, depths, mlp_ratio or "
            "focal_windows smaller."
        )
