"""The depthwise kernels of a network as arrays and as a figure: what each focal level gathers around a token.

Axes: L focal levels, k kernel size [tokens].
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from focalnets.models.focalnet import FocalNet
from focalnets.report.colours import SIGNED_MAP
from focalnets.visualize.maps import mean_kernels

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["kernels_figure", "stage_kernels"]


def stage_kernels(model: FocalNet) -> dict[int, list[np.ndarray]]:
    """Average the kernels of every focal level over the channels and blocks of each stage.

    Returns:
        For each stage one array (k, k) float32 a level; none for stages without focal levels.
    """
    blocks = mean_kernels(model)
    return {
        stage: [
            np.mean(kernels, axis=0)
            for kernels in zip(*(blocks[block] for block in blocks if block[0] == stage), strict=True)
        ]
        for stage in range(len(model.stages))
    }


def kernels_figure(model: FocalNet, *, title: str = "Mean depthwise kernels") -> Figure:
    """Draw the mean kernel of every level (columns) in every stage (rows), each on its own scale around zero.

    Returns:
        A figure with an axes for each kernel and one for its colour bar.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    kernels = stage_kernels(model)
    columns = max(1, *(len(levels) for levels in kernels.values()))
    figure = Figure((2.5 * columns + 0.6, 2.15 * len(kernels) + 0.6), dpi=160, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(len(kernels), columns, squeeze=False)
    for (stage, levels), row in zip(kernels.items(), grid, strict=True):
        for axes in row[len(levels) :]:
            axes.set_axis_off()
        for number, (kernel, axes) in enumerate(zip(levels, row, strict=False), 1):
            reach = max(float(np.abs(kernel).max()), 1e-12)
            drawn = axes.imshow(kernel, cmap=SIGNED_MAP, vmin=-reach, vmax=reach)
            size = kernel.shape[0]
            axes.set_title(f"Stage {stage}, level {number}: {size} × {size}", fontsize=8.5)
            axes.set_xticks([])
            axes.set_yticks([])
            bar = figure.colorbar(drawn, ax=axes, shrink=0.85)
            bar.set_ticks([-reach, 0.0, reach], labels=[f"{value:.2g}" for value in (-reach, 0.0, reach)])
            bar.ax.tick_params(labelsize=7)
    figure.suptitle(title, fontsize=11)
    return figure
