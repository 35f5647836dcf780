"""A bag of short convolutions with a ridge classifier, beside which a network of series must stand.

Axes: N series, T positions, C channels, W kernels, D dilations, Q thresholds of a kernel.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from focalnets.errors import MissingPackageError

__all__ = ["BAG_OF_CONVOLUTIONS", "ShortConvolutions", "fit_and_predict"]

BAG_OF_CONVOLUTIONS = "a bag of short convolutions"
"""What the method is called."""

_TAPS, _HIGH_TAPS = 9, 3
"""Taps of a kernel, and those of them that weigh 2; the others weigh -1, so that a constant gives 0."""

_FEATURES = 5000
"""Numbers that a series becomes, about."""

_DRAWN_SERIES = 32
"""Series of the training that thresholds are taken from."""

_MOST_CHANNELS = 9
"""Channels that one kernel sees, at most."""

_MOST_NUMBERS = 2**24
"""Results of convolutions that are held at once."""


class ShortConvolutions:
    """Turn a series into the shares of positions at which each of many convolutions passes each of its thresholds.

    The kernels are all that have nine taps of which three weigh 2 and six -1 (W = 84), with 1, 2, 4 and so on positions
    from tap to tap; of several channels each sees some that are drawn. Thresholds are quantiles of what a kernel gives
    on series of the training. Nothing is learnt by gradients, and the same series give the same features.

    Args:
        series: Of the training, (T, C) each, normalised.

    Source: Dempster et al., MiniRocket, KDD 2021. Ours takes the thresholds from several series at once, always fills
    up with zeros at the ends, and makes half as many features.
    """

    def __init__(self, series: Sequence[Tensor]) -> None:
        generator = torch.Generator().manual_seed(0)
        longest, channels = max(map(len, series)), series[0].shape[1]
        self.dilations = [1]
        while 2 * self.dilations[-1] * (_TAPS - 1) < longest:
            self.dilations.append(2 * self.dilations[-1])
        patterns = torch.tensor(
            [
                [2.0 if tap in high else -1.0 for tap in range(_TAPS)]
                for high in itertools.combinations(range(_TAPS), _HIGH_TAPS)
            ]
        )
        count = max(1, round(_FEATURES / (len(patterns) * len(self.dilations))))
        quantiles = (np.arange(count) + 0.5) / count
        drawn = [series[index] for index in torch.randperm(len(series), generator=generator)[:_DRAWN_SERIES].tolist()]
        self.weights, self.thresholds = [], []
        for dilation in self.dilations:
            seen = _draw_channels(len(patterns), channels, generator)
            self.weights.append(patterns.unsqueeze(1) * seen.unsqueeze(2))
            given = [
                result[number, :, valid[number]].numpy()
                for result, valid, _ in _convolve(drawn, self.weights[-1], dilation)
                for number in range(len(result))
            ]
            found = np.quantile(np.concatenate(given, 1), quantiles, axis=1).T
            self.thresholds.append(torch.from_numpy(found.astype(np.float32)))

    def __call__(self, series: Sequence[Tensor]) -> np.ndarray:
        """Compute the features of series (T, C) each: (N, W x D x Q), float32, from 0 to 1."""
        parts = []
        for dilation, weights, thresholds in zip(self.dilations, self.weights, self.thresholds, strict=True):
            shares = torch.empty(len(series), *thresholds.shape)
            for result, valid, members in _convolve(series, weights, dilation):
                lengths = valid.sum(1, keepdim=True)
                for number, threshold in enumerate(thresholds.unbind(1)):
                    passed = (result > threshold.unsqueeze(1)) & valid.unsqueeze(1)
                    shares[members, :, number] = passed.sum(2) / lengths
            parts.append(shares.flatten(1))
        return torch.cat(parts, 1).numpy()


def _draw_channels(kernels: int, channels: int, generator: torch.Generator) -> Tensor:
    """Choose channels for each kernel: (W, C), 1 for those that it sees; few more often than many."""
    most = min(channels, _MOST_CHANNELS)
    counts = torch.pow(most + 1, torch.rand(kernels, 1, generator=generator)).long().clamp(1, most)
    ranks = torch.rand(kernels, channels, generator=generator).argsort(1).argsort(1)
    return (ranks < counts).float()


def _convolve(series: Sequence[Tensor], weights: Tensor, dilation: int) -> Iterator[tuple[Tensor, Tensor, slice]]:
    """Convolve series by parts: results (B, W, T), which positions count (B, T), and which series they are."""
    longest = max(map(len, series))
    together = max(1, _MOST_NUMBERS // (len(weights) * longest))
    for first in range(0, len(series), together):
        part = series[first : first + together]
        inputs = torch.nn.utils.rnn.pad_sequence(list(part), batch_first=True).mT
        valid = torch.arange(inputs.shape[2]) < torch.tensor([[len(each)] for each in part])
        padding = dilation * (_TAPS // 2)
        yield F.conv1d(inputs, weights, padding=padding, dilation=dilation), valid, slice(first, first + len(part))


@torch.inference_mode()
def fit_and_predict(series: Sequence[Tensor], labels: Sequence[int], others: Sequence[Tensor]) -> np.ndarray:
    """Learn labels from series (T, C), and name those of others: (N,) whole numbers.

    Raises:
        MissingPackageError: If scikit-learn is not installed.
    """
    try:
        from sklearn.linear_model import RidgeClassifierCV
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler
    except ImportError as error:
        raise MissingPackageError(
            f"{BAG_OF_CONVOLUTIONS} beside the network needs scikit-learn: pip install 'focalnets[series]'."
        ) from error
    convolutions = ShortConvolutions(series)
    model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=np.logspace(-3, 3, 10)))
    model.fit(convolutions(series), np.asarray(labels))
    return np.asarray(model.predict(convolutions(others)))
