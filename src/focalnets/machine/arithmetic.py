"""Which arithmetic is fast on this machine."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from focalnets.machine.timing import Timing, interleave, ratios

__all__ = ["bfloat16_pays"]

_ROWS, _CHANNELS_IN, _CHANNELS_OUT = 2048, 256, 1024
_LEAST_GAIN = 1.2


def bfloat16_pays(device: torch.device) -> bool:
    """Tell whether products in bfloat16 are faster than in float32; on a CPU that is tried for a moment.

    On CPUs without instructions for it bfloat16 is computed in float32 and converted, which is slower.
    """
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type != "cpu":
        return False
    samples = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        tokens = torch.ones(_ROWS, _CHANNELS_IN, dtype=dtype)
        weight = torch.ones(_CHANNELS_OUT, _CHANNELS_IN, dtype=dtype)
        samples[name] = (tokens, weight)
    with torch.no_grad():
        times = interleave(
            {name: lambda pair=pair: F.linear(*pair) for name, pair in samples.items()},  # type: ignore[misc]
            Timing(budget_s=0.3, fewest=5, most=9, turn_s=0.01),
        )
    return ratios(times["float32"], times["bfloat16"])["median"] >= _LEAST_GAIN
