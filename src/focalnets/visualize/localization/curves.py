"""Deletion and insertion: how fast the answer goes, or comes, with the pixels that a map calls most relevant.

Axes: M maps, S steps, H W height and width of what the network sees [px].

Source: Petsiuk et al., RISE: Randomized Input Sampling for Explanation of Black-box Models, BMVC 2018, and the authors'
code: deleted pixels become the mean of the training images; insertion begins with the image blurred by a Gaussian of
5 px in a window of 11 px. Theirs are images of 224 px; here the blur grows with larger ones, so that it hides as much.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import gaussian_blur

from focalnets.engine.forms import InferenceForm

__all__ = ["CurveMeter", "blurred", "pixel_order"]

_SIGMA_PX, _WINDOW_PX, _SIDE_PX = 5.0, 11, 224
_BATCH_PIXELS = 2**20
"""So many pixels go through the network at once."""


class CurveMeter:
    """Measures the areas under the deletion and insertion curves of maps.

    Args:
        form: A classifier as it is run for inference.
        device: Where it runs.
        steps: In how many equal steps pixels go; areas are by trapezoids.
        seed: Of the order of pixels that a map has equally high.
    """

    def __init__(self, form: InferenceForm, device: torch.device, steps: int, seed: int = 0) -> None:
        assert steps >= 1, "a curve needs a step"
        self.form, self.device, self.steps, self.seed = form, device, steps, seed

    def areas(self, inputs: Tensor, maps: np.ndarray, number: int = 0) -> np.ndarray:
        """Measure both areas of each map.

        The curve is the probability of the class that the network gives the whole image, right or wrong, over the
        fraction of pixels that were removed, or brought in, most relevant first.

        Args:
            inputs: One image (1, channels, H, W), prepared for the network.
            maps: (M, H, W), finite.
            number: Of the image; pixels of equal height come in another random order in each.

        Returns:
            (M, 2) float64, each from 0 to 1: deletion, which is better when smaller, and insertion, better when larger.
        """
        inputs = inputs.to(self.device)
        canvases = torch.zeros_like(inputs), blurred(inputs)
        whole = self._probabilities([inputs])[0]
        answer = int(whole.argmax())
        ends = torch.stack([whole, *self._probabilities(list(canvases))])[:, answer]
        ranks = [torch.from_numpy(pixel_order(heat, [self.seed, number])).to(self.device) for heat in maps]
        between = self._probabilities(self._steps(inputs, canvases, ranks))[:, answer] if self.steps > 1 else ends[:0]
        inner = between.view(len(maps), 2, self.steps - 1)
        first = ends[[0, 2]].expand(len(maps), 2).unsqueeze(-1)  # Deletion begins whole, insertion blurred.
        last = ends[[1, 0]].expand(len(maps), 2).unsqueeze(-1)
        curves = torch.cat((first, inner, last), dim=-1)
        return (torch.trapezoid(curves, dim=-1) / self.steps).double().numpy()

    def _steps(self, inputs: Tensor, canvases: tuple[Tensor, Tensor], ranks: list[Tensor]) -> Iterator[Tensor]:
        """Make the images between the ends: all of a map's deletion, all of its insertion, then the next map's."""
        cuts = np.linspace(0, inputs[0, 0].numel(), self.steps + 1).round().astype(int)[1:-1]
        for rank in ranks:
            taken = [rank < int(cut) for cut in cuts]
            yield from (torch.where(each, canvases[0], inputs) for each in taken)
            yield from (torch.where(each, inputs, canvases[1]) for each in taken)

    def _probabilities(self, images: Iterator[Tensor] | list[Tensor]) -> Tensor:
        """Run images (1, channels, H, W) in batches: (images, classes) float32 on the CPU."""
        network: nn.Module = self.form.network
        found: list[Tensor] = []
        waiting: list[Tensor] = []

        def run() -> None:
            with torch.inference_mode(), self.form.context(self.device):
                found.append(network(torch.cat(waiting)).float().softmax(1).cpu())
            waiting.clear()

        for image in images:
            waiting.append(image)
            if len(waiting) * image[0, 0].numel() >= _BATCH_PIXELS:
                run()
        if waiting:
            run()
        return torch.cat(found)


def blurred(inputs: Tensor) -> Tensor:
    """Blur images (B, channels, H, W) until little of them is left."""
    scale = max(1.0, min(inputs.shape[-2:]) / _SIDE_PX)
    window = [min(2 * round(scale * (_WINDOW_PX // 2)) + 1, 2 * side - 1) for side in reversed(inputs.shape[-2:])]
    return gaussian_blur(inputs, window, [scale * _SIGMA_PX] * 2)


def pixel_order(heat: np.ndarray, seed: list[int]) -> np.ndarray:
    """Rank the pixels of a map (H, W), 0 the highest; equal ones come in random order."""
    random = np.random.default_rng(seed).permutation(heat.size)
    order = random[np.argsort(-heat.ravel()[random], kind="stable")]
    ranks = np.empty(heat.size, dtype=np.int64)
    ranks[order] = np.arange(heat.size)
    return ranks.reshape(heat.shape)
