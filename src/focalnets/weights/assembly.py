"""Networks from tensors: everything fits and is finite, or nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from focalnets.errors import CheckpointError
from focalnets.models.config import FocalNetConfig, Preprocessing
from focalnets.models.focalnet import FocalNet
from focalnets.weights.key_maps import blank_network

__all__ = ["assemble", "check_fit"]

_SHOWN = 8


def check_fit(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], file: str) -> None:
    """Compare names and shapes of a file's tensors with those that its network needs.

    Raises:
        CheckpointError: With the lists of missing, unexpected and mis-shaped names.
    """
    missing = [name for name in expected if name not in tensors]
    unexpected = [name for name in tensors if name not in expected]
    mis_shaped = [
        f"{name} {tuple(tensors[name].shape)} instead of {shape}"
        for name, shape in expected.items()
        if name in tensors and tuple(tensors[name].shape) != shape
    ]
    found = [
        f"{len(names)} {kind}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}"
        for kind, names in (("missing", missing), ("unexpected", unexpected), ("mis-shaped", mis_shaped))
        if names
    ]
    if found:
        raise CheckpointError(
            f"{file} does not fit the network that it is made for, so nothing was loaded: {'; '.join(found)}."
        )


def assemble(
    config: FocalNetConfig,
    tensors: Mapping[str, Tensor],
    file: str,
    *,
    preprocessing: Preprocessing | None = None,
    class_names: Sequence[str] | None = None,
) -> FocalNet:
    """Build the network of a config around tensors under our names, as float32 on the CPU, ready for inference.

    Raises:
        CheckpointError: If a tensor is missing, unexpected, mis-shaped, of a dtype without weights, or not finite.
    """
    model = blank_network(config)
    model.preprocessing = preprocessing or Preprocessing()
    model.class_names = None if class_names is None else tuple(class_names)
    blank = model.state_dict()
    check_fit({name: tuple(tensor.shape) for name, tensor in blank.items()}, tensors, file)
    state = {name: _copy(tensors[name], template.dtype, name, file) for name, template in blank.items()}
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{file} holds NaN or infinite numbers in {len(broken)} of {len(state)} tensors ({', '.join(broken[:3])}); "
            "its training diverged or the file is damaged."
        )
    model.load_state_dict(state, strict=True, assign=True)
    return model.eval()


def _copy(tensor: Tensor, dtype: torch.dtype, name: str, file: str) -> Tensor:
    dense = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    if not dense or tensor.is_floating_point() != dtype.is_floating_point or tensor.is_complex():
        raise CheckpointError(
            f"{file} keeps {name} as {tensor.dtype} ({tensor.layout}); dense floating-point numbers are expected."
        )
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(
            f"{file} claims more numbers for {name} than it holds; it is damaged or made to exhaust memory."
        )
    return tensor.to(device="cpu", dtype=dtype, copy=True).contiguous()
