"""Networks from tensors: everything fits and is finite, or nothing is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from focalnets.errors import CheckpointError
from focalnets.models.config import FocalNetConfig, InputSpec, Preprocessing, TextInput
from focalnets.models.fields import printable, shortened
from focalnets.models.focalnet import FocalNet
from focalnets.models.network_configs import NetworkConfig, least_numbers
from focalnets.weights.key_maps import blank_network

__all__ = [
    "assemble",
    "assemble_into",
    "check_dense",
    "check_fit",
    "find_misfits",
    "is_dense",
    "refuse_fewer_numbers",
]

_SHOWN = 8


def find_misfits(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor]) -> dict[str, list[str]]:
    """List names that are ``missing`` or ``unexpected``, and those ``mis-shaped``; only the kinds that there are."""
    found = {
        "missing": [name for name in expected if name not in tensors],
        "unexpected": [name for name in tensors if name not in expected],
        "mis-shaped": [
            name for name, shape in expected.items() if name in tensors and tuple(tensors[name].shape) != shape
        ],
    }
    return {kind: names for kind, names in found.items() if names}


def check_fit(expected: Mapping[str, tuple[int, ...]], tensors: Mapping[str, Tensor], file: str) -> None:
    """Compare names and shapes of a file's tensors with those that its network needs.

    Raises:
        CheckpointError: With the lists of missing, unexpected and mis-shaped names.
    """
    found = []
    for kind, names in find_misfits(expected, tensors).items():
        shown = [printable(name) for name in names[:_SHOWN]]
        if kind == "mis-shaped":
            shown = [f"{name} {tuple(tensors[name].shape)} instead of {expected[name]}" for name in names[:_SHOWN]]
        found.append(f"{len(names)} {kind}: {', '.join(shown)}{' and others' if len(names) > _SHOWN else ''}")
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
    if preprocessing is not None:
        model.preprocessing = preprocessing
    model.class_names = None if class_names is None else tuple(class_names)
    assemble_into(model, tensors, file)
    return model


def assemble_into(module: nn.Module, tensors: Mapping[str, Tensor], place: str) -> None:
    """Load tensors into a module that a task has built, all of them or none, and make it ready for inference.

    A module on the device meta gets the tensors on the CPU; any other keeps its device. The module keeps the dtypes
    that it has. Build on meta where a file of unknown origin says how large the module is: nothing is then allocated
    before everything fits.

    Args:
        module: The network; names, shapes and dtypes of its state dict are what is expected.
        tensors: By the same names.
        place: The file, for messages.

    Raises:
        CheckpointError: If a tensor is missing, unexpected, mis-shaped, sparse, quantised, of another kind of dtype, or
            not finite. The module is then as it was.
    """
    blank = module.state_dict()
    check_fit({name: tuple(tensor.shape) for name, tensor in blank.items()}, tensors, place)
    on_meta = any(tensor.is_meta for tensor in blank.values())
    # Tensors of a file may be views of its bytes on the disk; what the module is to keep is copied.
    state = {
        name: _checked_tensor(tensors[name], template.dtype, name, place, copy=on_meta)
        for name, template in blank.items()
    }
    broken = [name for name, tensor in state.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise CheckpointError(
            f"{place} holds NaN or infinite numbers in {len(broken)} of {len(state)} tensors "
            f"({', '.join(broken[:3])}); its training diverged or the file is damaged."
        )
    if on_meta:
        parameters = [parameter for _, parameter in module.named_parameters(remove_duplicate=False)]
        assert len(parameters) == len(set(parameters)), "tied parameters come apart on meta: build on the CPU"
    module.load_state_dict(state, strict=True, assign=on_meta)
    left = [name for name, tensor in (*module.named_parameters(), *module.named_buffers()) if tensor.is_meta]
    assert not left, f"build {type(module).__name__} with numbers for {left}, which no file holds"
    module.eval()


def refuse_fewer_numbers(config: NetworkConfig, spec: InputSpec, tensors: Mapping[str, Tensor], place: str) -> None:
    """Refuse a config whose blocks alone need more tensors or numbers than there are, without building anything.

    What a file says of itself must not make its reader build a network of a billion layers. The sum is a lower bound:
    what stands before, between and behind the blocks is left out.

    Args:
        config: The network, or its backbone.
        spec: Its input, which tells whether kernels have one axis (texts) or at least two.
        tensors: Those of the whole network.
        place: The file, for messages.

    Raises:
        CheckpointError: If the file holds less than its config needs.
    """
    names = len(tensors)
    numbers = sum(tensor.numel() for tensor in tensors.values())
    if not isinstance(config, FocalNetConfig):
        if config.depth > names or least_numbers(config) > numbers:
            raise CheckpointError(
                f"{place} says that its network has {config.depth:,} blocks of {config.dim:,} channels, more than its "
                f"{names} tensors with {numbers:,} numbers can hold."
            )
        return
    fits = sum(config.depths) <= names and max(config.focal_levels) <= names
    axes = 1 if isinstance(spec, TextInput) else 2
    needed = 0
    for stage, depth in enumerate(config.depths if fits else ()):
        dim = config.embed_dim * 2**stage
        hidden = int(dim * min(config.mlp_ratio, numbers))
        needed += depth * dim * (4 * dim + 2 * hidden + sum(size**axes for size in config.kernel_sizes(stage)))
        if needed > numbers:
            fits = False
            break
    if not fits:
        raise CheckpointError(
            f"{place} says that its network has depths {shortened(config.depths)} and {shortened(config.embed_dim)} "
            f"channels, more than its {names} tensors with {numbers:,} numbers can hold."
        )


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor has a number at every place: not sparse, quantised, nested, or without any memory."""
    odd = tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta or tensor.is_nested
    return not odd


def check_dense(tensors: Mapping[str, Tensor], file: str) -> None:
    """Refuse tensors of a file that cannot be handled as numbers in memory are.

    Raises:
        CheckpointError: With the name of the first.
    """
    for name, tensor in tensors.items():
        if not is_dense(tensor):
            raise _odd_tensor(tensor, name, file)


def _odd_tensor(tensor: Tensor, name: str, file: str) -> CheckpointError:
    kinds = {"quantized": tensor.is_quantized, "nested": tensor.is_nested, "without numbers": tensor.is_meta}
    kind = next((word for word, fits in kinds.items() if fits), str(tensor.layout))
    return CheckpointError(
        f"{file} keeps {printable(name)} as {tensor.dtype} ({kind}); dense floating-point numbers are expected."
    )


def _checked_tensor(tensor: Tensor, dtype: torch.dtype, name: str, file: str, *, copy: bool) -> Tensor:
    fits = is_dense(tensor) and tensor.is_floating_point() == dtype.is_floating_point and not tensor.is_complex()
    if not fits:
        raise _odd_tensor(tensor, name, file)
    if tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        raise CheckpointError(
            f"{file} claims more numbers for {name} than it holds; it is damaged or made to exhaust memory."
        )
    return tensor.to(device="cpu", dtype=dtype, copy=copy).contiguous()
