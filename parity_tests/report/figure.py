"""docs/figures/parity.png: float32 loss curves of Keras among those of PyTorch's own variants."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np

from parity_tests.training.bands import REGIMES, STOCK, VARIANTS, Band

mpl.use("agg")
import matplotlib.pyplot as plt

__all__ = ["figure"]


def figure(bands: dict[str, Band], path: Path) -> None:
    """Loss curves above, their errors below; PyTorch's variants broad and grey, Keras narrow, black and dashed."""
    fig, axes = plt.subplots(2, len(bands), figsize=(10, 6), sharex=True, layout="constrained")
    for column, (name, band) in zip(axes.T, bands.items(), strict=True):
        exact = band.torch["float64"]["losses"]
        for i, variant in enumerate(VARIANTS):
            losses = band.torch[variant]["losses"]
            label = "PyTorch, float32: six variants" if i == 0 else None
            column[0].plot(losses, color="0.75", linewidth=5, label=label)
            column[1].semilogy(np.abs(losses - exact), color="0.75", linewidth=1.5, label=label)
        ours = band.keras["Keras"]["losses"]
        column[0].plot(ours, color="black", linewidth=1, linestyle="--", label="Keras, float32")
        column[1].semilogy(np.abs(ours - exact), color="black", linewidth=1, linestyle="--", label="Keras, float32")
        stock = np.abs(band.torch[STOCK]["losses"] - exact)
        column[1].semilogy(stock, color="0.35", linewidth=1, linestyle=":", label="control: momentum unreconciled")
        for restart in (1, 3):
            for ax in column:
                ax.axvline(restart * band.regime.run["steps"], color="0.9", zorder=0)
        column[0].set_title(REGIMES[name].title)
        column[1].set_xlabel("update (restarts: vertical lines)")
    axes[0, 0].set_ylabel("training loss")
    axes[1, 0].set_ylabel("|loss - float64 loss|")
    axes[0, 0].legend()
    axes[1, 1].legend(loc="lower right")
    path.parent.mkdir(parents=True, exist_ok=True)
    fig.savefig(path, dpi=110)
    plt.close(fig)
