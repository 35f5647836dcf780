"""Derivatives of every kind through every operator and through whole networks: the reference's values, or a sentence.

What is compared with is the plain formula in float64.
"""

from __future__ import annotations

import functools
import importlib.util

import pytest
import torch
import torch.nn.functional as F
from torch.autograd import forward_ad

from focalnets.errors import BackendUnavailableError
from focalnets.models.config import FocalNetConfig
from focalnets.models.focalnet import FocalNet
from focalnets.ops import cpu, triton_backend
from focalnets.ops import mlp as mlp_module
from focalnets.ops.aggregation import focal_aggregation
from focalnets.ops.eager import is_transformed
from focalnets.ops.formula import aggregation_gradients_by_formula
from focalnets.ops.linear import linear
from focalnets.ops.mlp import mlp
from focalnets.ops.reference import focal_aggregation_reference

# PyTorch's own: it scripts its decompositions when forward mode is first used, and linearize warns of its own graph.
pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit.script"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]
needs_kernels = pytest.mark.skipif(cpu.why_unavailable() is not None, reason=str(cpu.why_unavailable()))


def aggregate(function, context, gates, *kernels):
    mask = torch.ones(context.shape[:-1], dtype=torch.bool)
    mask[..., -1, :1] = False
    return function(context, gates, list(kernels), normalize=True, mask=mask)


def plain_mlp(tokens, weight1, bias1, weight2, bias2):
    return F.linear(F.gelu(F.linear(tokens, weight1, bias1)), weight2, bias2)


OPERATORS = {
    "focal_aggregation": (
        functools.partial(aggregate, focal_aggregation),
        functools.partial(aggregate, focal_aggregation_reference),
        [(2, 3, 4, 5), (2, 3, 4, 3), (5, 3, 3), (5, 5, 3)],
    ),
    "linear": (linear, F.linear, [(2, 3, 5), (4, 5), (4,)]),
    "mlp": (mlp, plain_mlp, [(2, 3, 5), (7, 5), (7,), (5, 7), (5,)]),
}
"""Ours, the plain formula, and the shapes of the arguments."""


def draw(shapes, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes]


def indices(inputs):
    return tuple(range(len(inputs)))


def loss_of(function, *inputs):
    """A loss that is not linear in the result."""
    return function(*inputs).sin().sum()


def forward_mode(function, inputs, directions):
    with forward_ad.dual_level():
        dual = [forward_ad.make_dual(value, tangent) for value, tangent in zip(inputs, directions, strict=True)]
        result, tangent = forward_ad.unpack_dual(function(*dual))
        assert tangent is not None
        return result, tangent


def forward_mode_within_backward(function, inputs, directions):
    """The backward pass of a graph made before, for an upstream gradient that carries a tangent."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    result = function(*leaves)
    upstream, tangent = draw([result.shape] * 2, result.dtype, seed=3)
    with forward_ad.dual_level():
        gradients = torch.autograd.grad(result, leaves, forward_ad.make_dual(upstream, tangent))
        return [forward_ad.unpack_dual(gradient).tangent for gradient in gradients]


def second_order(function, inputs, directions, weigh):
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    gradients = torch.autograd.grad(weigh(function(*leaves)), leaves, create_graph=True)
    along = sum((gradient * direction).sum() for gradient, direction in zip(gradients, directions, strict=True))
    return torch.autograd.grad(along, leaves, materialize_grads=True)


def third_order(function, inputs, directions):
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    gradients = torch.autograd.grad(loss_of(function, *leaves), leaves, create_graph=True)
    again = torch.autograd.grad(sum(gradient.square().sum() for gradient in gradients), leaves, create_graph=True)
    return torch.autograd.grad(sum(gradient.square().sum() for gradient in again), leaves)


def hessian_by_batched_backward(function, inputs, _):
    found = torch.autograd.functional.hessian(
        functools.partial(loss_of, function), tuple(inputs), create_graph=False, vectorize=True
    )
    return [block for row in found for block in row]


def flattened(found):
    """The tensors of nested lists and tuples, in order."""
    return [found] if isinstance(found, torch.Tensor) else [leaf for part in found for leaf in flattened(part)]


TRANSFORMS = {
    "jvp": lambda f, inputs, directions: torch.func.jvp(f, tuple(inputs), tuple(directions)),
    "forward mode": forward_mode,
    "forward mode without grad": lambda *arguments: torch.no_grad()(forward_mode)(*arguments),
    "forward mode within backward": forward_mode_within_backward,
    "jacfwd": lambda f, inputs, _: torch.func.jacfwd(f, indices(inputs))(*inputs),
    "jacrev": lambda f, inputs, _: torch.func.jacrev(f, indices(inputs))(*inputs),
    "grad": lambda f, inputs, _: torch.func.grad(functools.partial(loss_of, f), indices(inputs))(*inputs),
    "hessian": lambda f, inputs, _: torch.func.hessian(functools.partial(loss_of, f), indices(inputs))(*inputs),
    "vmap": lambda f, inputs, others: torch.func.vmap(f)(
        *(torch.stack(pair) for pair in zip(inputs, others, strict=True))
    ),
    "vmap without grad": lambda f, inputs, others: torch.no_grad()(torch.func.vmap(f))(
        *(torch.stack(pair) for pair in zip(inputs, others, strict=True))
    ),
    "gradient of each sample": lambda f, inputs, others: torch.func.vmap(
        torch.func.grad(functools.partial(loss_of, f), indices(inputs))
    )(*(torch.stack(pair) for pair in zip(inputs, others, strict=True))),
    "linearize": lambda f, inputs, directions: torch.func.linearize(f, *inputs)[1](*directions),
    "second order, linear loss": lambda *arguments: second_order(*arguments, torch.sum),
    "second order": lambda *arguments: second_order(*arguments, lambda result: result.sin().sum()),
    "third order": third_order,
    "hessian by a batched backward": hessian_by_batched_backward,
    "jacobian of autograd": lambda f, inputs, _: torch.autograd.functional.jacobian(f, tuple(inputs), vectorize=True),
}
"""Take a function, its arguments and as many tensors of the same shapes; give tensors."""


def assert_same(got, exact, tolerance=2e-5):
    got, exact = flattened(got), flattened(exact)
    assert len(got) == len(exact) > 0
    for value, expected in zip(got, exact, strict=True):
        assert value.shape == expected.shape
        assert (value - expected).abs().max() <= tolerance * max(1, expected.abs().max())


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_agree_with_the_formula(operator, transform):
    ours, plain, shapes = OPERATORS[operator]
    exact = TRANSFORMS[transform](plain, draw(shapes, torch.float64), draw(shapes, torch.float64, seed=1))
    got = TRANSFORMS[transform](ours, draw(shapes), draw(shapes, seed=1))
    assert any(tensor.abs().max() > 1e-3 for tensor in flattened(exact)), "nothing is tested"
    assert_same(got, exact, 2e-4 if transform == "third order" else 2e-5)
    assert not is_transformed()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("transform", ["jvp", "forward mode", "second order", "gradient of each sample"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_of_half_precision(operator, transform, dtype):
    ours, plain, shapes = OPERATORS[operator]
    inputs, others = draw(shapes, dtype), draw(shapes, dtype, seed=1)
    exact = TRANSFORMS[transform](plain, [t.double() for t in inputs], [t.double() for t in others])
    assert_same(TRANSFORMS[transform](ours, inputs, others), exact, 20 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("transform", [name for name in TRANSFORMS if name not in ("third order",)])
@pytest.mark.parametrize("backend", [pytest.param("cpu", marks=needs_kernels), "triton"])
def test_backends_asked_for_by_name_are_right_or_refuse(monkeypatch, backend, transform):
    if backend == "triton":
        if importlib.util.find_spec("triton") is None:
            pytest.skip("Triton is not installed")
        monkeypatch.setenv("TRITON_INTERPRET", "1")
    _, plain, shapes = OPERATORS["focal_aggregation"]
    ours = functools.partial(aggregate, functools.partial(focal_aggregation, backend=backend))
    backward_only = ("second", "autograd", "batched", "within backward", "linearize")
    if any(word in transform for word in backward_only):
        if backend == "triton":
            pytest.skip("The forward pass before it needs a GPU or the interpreter")
        if transform != "linearize":
            exact = TRANSFORMS[transform](plain, draw(shapes, torch.float64), draw(shapes, torch.float64, seed=1))
            assert_same(TRANSFORMS[transform](ours, draw(shapes), draw(shapes, seed=1)), exact)
            return
    with pytest.raises(BackendUnavailableError, match=r"no transforms of torch\.func and no forward-mode"):
        TRANSFORMS[transform](ours, draw(shapes), draw(shapes, seed=1))


@needs_kernels
def test_the_operators_themselves_refuse_forward_mode():
    context, gates, *kernels = draw(OPERATORS["focal_aggregation"][2])
    with forward_ad.dual_level():
        dual = forward_ad.make_dual(context, torch.ones_like(context))
        with pytest.raises(BackendUnavailableError, match="forward-mode"):
            cpu.focal_aggregation_cpu(dual, gates, kernels)
        with pytest.raises(BackendUnavailableError, match="forward-mode"):
            triton_backend.focal_aggregation_triton(dual, gates, kernels)


@pytest.mark.parametrize("transform", ["jvp", "jacfwd", "jacrev", "grad", "vmap", "gradient of each sample"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_compiled_transforms(operator, transform):
    ours, plain, shapes = OPERATORS[operator]
    exact = TRANSFORMS[transform](plain, draw(shapes, torch.float64), draw(shapes, torch.float64, seed=1))
    torch.compiler.reset()
    transformed = torch.compile(functools.partial(TRANSFORMS[transform], ours), backend="aot_eager")
    assert_same(transformed(draw(shapes), draw(shapes, seed=1)), exact)


@pytest.mark.parametrize("transform", ["jvp", "forward mode", "forward mode without grad", "vmap", "grad"])
@pytest.mark.parametrize("operator", OPERATORS)
def test_transforms_of_what_was_compiled_before(operator, transform):
    ours, plain, shapes = OPERATORS[operator]
    torch.compiler.reset()
    compiled = torch.compile(ours, backend="aot_eager")
    compiled(*draw(shapes))
    exact = TRANSFORMS[transform](plain, draw(shapes, torch.float64), draw(shapes, torch.float64, seed=1))
    assert_same(TRANSFORMS[transform](compiled, draw(shapes), draw(shapes, seed=1)), exact)


@pytest.mark.parametrize("operator", OPERATORS)
def test_second_order_through_what_was_compiled_is_an_error(operator):
    ours, _, shapes = OPERATORS[operator]
    torch.compiler.reset()
    with pytest.raises(RuntimeError, match="double backward"):
        TRANSFORMS["second order"](torch.compile(ours, backend="aot_eager"), draw(shapes), draw(shapes, seed=1))


def test_arguments_that_depend_on_each_other_have_their_own_gradients():
    """Weights used twice, in a row or side by side, are counted once each time."""

    def twice(function, tokens, weight, bias):
        return function(function(tokens, weight, bias, weight, bias), weight, bias, weight, bias)

    shapes = [(3, 4), (4, 4), (4,)]
    exact = second_order(
        functools.partial(twice, plain_mlp), draw(shapes, torch.float64), draw(shapes, torch.float64, 1), torch.sum
    )
    assert_same(second_order(functools.partial(twice, mlp), draw(shapes), draw(shapes, seed=1), torch.sum), exact)

    def shared(function, context, kernel):
        gates = context[..., :3] + kernel.sum()
        once = function(context, gates, [kernel, kernel])
        return function(once, gates, [kernel, kernel])

    shapes = [(1, 4, 4, 5), (5, 3, 3)]
    exact = second_order(
        functools.partial(shared, focal_aggregation_reference),
        draw(shapes, torch.float64),
        draw(shapes, torch.float64, 1),
        torch.sum,
    )
    got = second_order(functools.partial(shared, focal_aggregation), draw(shapes), draw(shapes, seed=1), torch.sum)
    assert_same(got, exact)


def test_only_wanted_gradients_of_second_order():
    ours, plain, shapes = OPERATORS["focal_aggregation"]
    for frozen in range(len(shapes)):

        def some(function, *wanted, frozen=frozen, dtype=torch.float32):
            inputs = list(wanted)
            inputs.insert(frozen, draw(shapes, dtype)[frozen])
            return function(*inputs)

        left = [shape for index, shape in enumerate(shapes) if index != frozen]
        exact = second_order(
            functools.partial(some, plain, dtype=torch.float64),
            draw(left, torch.float64),
            draw(left, torch.float64, 1),
            torch.sum,
        )
        assert_same(second_order(functools.partial(some, ours), draw(left), draw(left, seed=1), torch.sum), exact)


@needs_kernels
def test_the_formula_gives_the_gradients_of_the_kernels():
    context, gates, *kernels = [tensor.requires_grad_() for tensor in draw(OPERATORS["focal_aggregation"][2])]
    result = focal_aggregation(context, gates, kernels, backend="cpu")
    upstream = draw([result.shape], seed=2)[0]
    expected = torch.autograd.grad(result, [context, gates, *kernels], upstream)
    got = aggregation_gradients_by_formula(context, gates, kernels, None, False, [True] * 4, upstream)
    assert_same(got, expected)
    some = aggregation_gradients_by_formula(context, gates, kernels, None, False, [False, True, False, True], upstream)
    assert some[0] is some[2] is None
    assert_same([some[1], some[3]], [expected[1], expected[3]])


NETWORKS = {
    "plain": {},
    "every option": {
        "stem": "overlapped",
        "layer_scale": 0.5,
        "post_norm": True,
        "modulation_norm": True,
        "normalize_modulator": True,
    },
}


@pytest.fixture(params=NETWORKS)
def network(request, monkeypatch):
    """A small network whose MLPs go by several groups of rows, and the same in float64."""
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_AT_ONCE", 4)
    monkeypatch.setattr(mlp_module, "_HIDDEN_BYTES_KEPT", 0)
    config = FocalNetConfig(
        embed_dim=4, depths=(1, 1), focal_levels=(2, 1), focal_windows=(3, 3), num_classes=3, **NETWORKS[request.param]
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FocalNet(config).eval()
        for parameter in network.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    exact = FocalNet(config).double().eval()
    exact.load_state_dict(network.state_dict())
    return network, exact


IMAGES = [(2, 3, 36, 37)]


def of_images_and_weights(network, transform, dtype):
    """Transform what the network computes as a function of its images and of two of its weights."""
    names = ["stages.0.blocks.0.modulation.kernels.1", "stages.0.blocks.0.mlp.fc1.weight"]
    weights = {name: parameter.detach() for name, parameter in network.named_parameters()}

    def compute(images, *chosen):
        changed = {**weights, **dict(zip(names, chosen, strict=True))}
        return torch.func.functional_call(network, changed, (images,))

    values = [*draw(IMAGES, dtype), *(weights[name] for name in names)]
    return TRANSFORMS[transform](compute, values, draw([tensor.shape for tensor in values], dtype, seed=1))


@pytest.mark.parametrize(
    "transform",
    [
        "jvp",
        "forward mode",
        "forward mode without grad",
        "forward mode within backward",
        "jacrev",
        "grad",
        "vmap",
        "vmap without grad",
        "gradient of each sample",
        "second order, linear loss",
        "second order",
        "jacobian of autograd",
    ],
)
def test_networks_agree_with_float64(network, transform):
    ours, exact = network
    expected = of_images_and_weights(exact, transform, torch.float64)
    assert_same(of_images_and_weights(ours, transform, torch.float32), expected, 2e-4)


def test_jvp_of_a_network_equals_finite_differences(network):
    ours, exact = network
    (images,), (direction,) = draw(IMAGES), draw(IMAGES, seed=1)
    _, tangent = torch.func.jvp(ours, (images,), (direction,))
    step = 1e-5
    with torch.no_grad():
        before, after = (exact(images.double() + sign * step * direction.double()) for sign in (-1, 1))
    differences = (after - before) / (2 * step)
    largest = differences.abs().max()
    assert largest > 1e-3
    assert (tangent - differences).abs().max() <= 1e-3 * largest


@pytest.mark.parametrize("recompute", ["none", "aggregation", "mlp", "block"])
@pytest.mark.parametrize("transform", ["jvp", "forward mode", "grad", "second order", "gradient of each sample"])
def test_recomputing_while_training(network, recompute, transform):
    ours, exact = (one.train() for one in network)
    ours.set_recompute(recompute)
    expected = of_images_and_weights(exact, transform, torch.float64)
    assert_same(of_images_and_weights(ours, transform, torch.float32), expected, 2e-4)


@pytest.mark.parametrize("recompute", ["aggregation", "mlp", "block"])
def test_second_order_of_what_is_computed_again(network, recompute):
    ours, exact = (one.train() for one in network)
    ours.set_recompute(recompute)

    def gradients(network, dtype):
        images = draw(IMAGES, dtype)[0].requires_grad_()
        leaves = [images, *network.parameters()]
        first = torch.autograd.grad(network(images).sin().sum(), leaves, create_graph=True)
        return torch.autograd.grad(sum(gradient.square().sum() for gradient in first), leaves)

    assert_same(gradients(ours, torch.float32), gradients(exact, torch.float64), 5e-4)


@pytest.mark.parametrize("recompute", ["aggregation", "mlp", "block"])
def test_weights_that_are_lent_are_those_of_the_backward_pass(network, recompute):
    """``functional_call`` takes its weights back before the backward pass computes anything again."""
    ours, exact = (one.train() for one in network)
    ours.set_recompute(recompute)
    found = []
    for model, dtype in ((ours, torch.float32), (exact, torch.float64)):
        lent = {name: (1.5 * weight.detach()).requires_grad_() for name, weight in model.named_parameters()}
        result = torch.func.functional_call(model, lent, (draw(IMAGES, dtype)[0],))
        found.append(torch.autograd.grad(result.sin().sum(), list(lent.values())))
    assert_same(*found, 5e-4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("mode", ["inference", "training", "masked"])
def test_networks_of_half_precision(network, dtype, mode):
    ours, exact = network
    ours = ours.to(dtype)
    exact.load_state_dict(ours.state_dict())
    images = draw(IMAGES, dtype)[0]
    mask = torch.ones(2, 36, 37, dtype=torch.bool)
    mask[0, 20:] = False
    given = {"mask": mask} if mode == "masked" else {}
    tolerance = 30 * torch.finfo(dtype).eps
    if mode == "training":
        ours.train()
        gradients = torch.autograd.grad(ours(images).float().sin().sum(), list(ours.parameters()))
        expected = torch.autograd.grad(exact(images.double()).sin().sum(), list(exact.parameters()))
        assert {gradient.dtype for gradient in gradients} == {dtype}
        for gradient, right in zip(gradients, expected, strict=True):
            assert torch.nn.functional.cosine_similarity(gradient.double().flatten(), right.flatten(), 0) > (
                0.999 if dtype == torch.float16 else 0.97
            )
        return
    with torch.inference_mode():
        got = ours(images, **given)
    assert got.dtype == dtype
    assert_same(got, exact(images.double(), **given).detach(), tolerance)
