"""Fracast-0: the next 48 values of a time series, and how sure they are (ztxtech, 2026; Apache-2.0).

One block of 64 channels, used at ten scales: 85,001 weights in the Python package ``fracast``, whose PyTorch modules
are exported as they are. It sees the last 2,048 values, scaled to 0..1, and gives nine quantiles of the next 48.

Series are those of data sets in ``statsmodels`` (BSD-3-Clause; the data are public domain): carbon dioxide, sunspots,
the Nile, sea temperatures, the economy of the United States, sales of electrical equipment. The authors trained on
public collections; that none of them holds these series is not known.
A sample has at least 64 values that are seen. It is judged on the next 12, by the mean absolute error of the median
over that of repeating the last season, one season ahead, in what is seen (MASE; Hyndman and Koehler, IJF 22, 2006).
The digital network has 1.39, repeating the last season 2.08. The authors state no figure for these series.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
import numpy.typing as npt

from lhc.models.export import export_onnx
from lhc.models.installed_files import InstalledFile, PackageEntry
from lhc.models.weights import kept_export
from lhc.models.zoo_entry import require
from lhc.samples.metrics import Array, Metric, Scores
from lhc.samples.task import Task

if TYPE_CHECKING:
    import onnx

CONTEXT, HORIZON, MEDIAN = 2048, 12, 4
"""Values seen, values judged, and the place of the median among the quantiles."""
WINDOWS, LEAST_SEEN = 6, 64
"""Samples of a series, at most; what is to be foretold of them does not overlap. Values that are seen, at least."""
Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Table:
    """A data set: its file, the columns that are series, their season.

    Attributes:
        columns: None: all but the first, row by row, are one series.
    """

    file: InstalledFile
    columns: tuple[str, ...] | None
    season: int


def _table(name: str, digest: str, columns: tuple[str, ...] | None, season: int) -> _Table:
    return _Table(InstalledFile("statsmodels==0.15.0", "statsmodels", f"datasets/{name}.csv", digest), columns, season)


_TABLES = (
    _table("co2/co2", "16695fa2786e53414e5a6b54767a3fdf5de99cfbc68617f69d1362d92776a92f", ("co2",), 52),
    _table("sunspots/sunspots", "f67889b1d9002cd5227f0e0ef54e35b419cdd85a31279adef6f73fb41e5c0a9b",
           ("SUNACTIVITY",), 11),
    _table("nile/nile", "88e97bea7249e5832a85e41aec6ce4b8f7b1b14aae930c8363da7f193286b598", ("volume",), 1),
    _table("elnino/elnino", "b647be00e0fd264be9764e317e6b963f35030014ecca2b21b204521716e463ad", None, 12),
    _table("elec_equip/elec_equip", "fb0e86774484d2c9179374377041600ffd25ea0236aeaf7d293bf2df5ae86369",
           ("STS.M.I7.W.TOVT.NS0016.4.000",), 12),
    _table("macrodata/macrodata", "d93c0d3a7a77ef83c3af14e46032bb1d02ae3a512b22ab94159a8ca226fcf708",
           ("realgdp", "realcons", "realinv", "realgovt", "realdpi", "cpi", "m1", "tbilrate", "unemp"), 4),
)  # fmt: skip


class Fracast(PackageEntry):
    """Forecasts: 74 products, most of them one block at ten scales, so that its weights are on the same tiles."""

    name: ClassVar[str] = "fracast"
    description: ClassVar[str] = "Fracast-0, forecasts of economic and natural series, MASE; needs lhc[zoo] and PyTorch"
    max_drop: ClassVar[float] = 0.05
    weights: ClassVar[InstalledFile] = InstalledFile(
        "fracast==0.1.0",
        "fracast",
        "weights/model.safetensors",
        "0d678f123f3d1f91c5065cca2b5d40eccc469360afc2381b27290486011ded2c",
    )

    def built(self, path: Path) -> "onnx.ModelProto":
        """The network from ``values`` and ``observed``, ``(batch, 2048)``, to ``quantiles``, ``(batch, 48, 9)``."""
        return kept_export(self.name, path, _exported)

    def task(self) -> Task:
        """The next 12 values of 14 series, judged by MASE; samples of a series are one document."""
        values, observed, targets, documents = [], [], [], []
        for number, (series, season) in enumerate(_series(self.name)):
            for seen, next_ in _windows(series):
                known = np.isfinite(seen)
                low = np.nanmin(seen)
                span = max(float(np.nanmax(seen)) - low, 1e-5)
                scaled = (seen - low) / span
                naive = np.nanmean(np.abs(scaled[season:] - scaled[:-season]))
                values.append(_filled(np.where(known, scaled, 0)))
                observed.append(_filled(known))
                targets.append([*((next_ - low) / span), max(naive, 1e-3)])
                documents.append(number)
        order = np.random.default_rng(0).permutation(len(values))
        inputs = {"values": np.stack(values)[order], "observed": np.stack(observed)[order]}
        return Task(inputs, np.array(targets)[order], MASE, documents=np.array(documents)[order])


def mase(outputs: Array, targets: Values) -> Scores:
    """Mean absolute error of the median over that of the seasonal naive forecast.

    Args:
        outputs: quantiles, ``(n, 48, 9)``.
        targets: the next 12 values, then the error of the naive forecast, ``(n, 13)``.
    """
    error = np.abs(outputs[:, :HORIZON, MEDIAN].astype(np.float64) - targets[:, :HORIZON])
    result: Scores = error.mean(-1) / targets[:, HORIZON]
    return result


MASE = Metric("mase", False, True, mase, classes=False, best=0.0)


def _exported(path: Path) -> "onnx.ModelProto":
    require("building fracast", "fracast", "torch", "safetensors", extra="zoo")
    import torch
    from fracast.inference import load_fracast

    class Forecaster(torch.nn.Module):
        """Encoder and head as one module, all values that are not observed masked."""

        def __init__(self) -> None:
            super().__init__()
            self.core, self.head = load_fracast(path.parent, weights="fp32")

        def forward(self, values: torch.Tensor, observed: torch.Tensor) -> torch.Tensor:
            valid = observed > 0.5
            hidden = self.core(values[:, None], valid[:, None], observed[:, None])
            quantiles: torch.Tensor = self.head.forward_horizon(
                hidden, last_obs=values[:, -1:], ctx=values, ctx_mask=valid
            )
            return quantiles

    examples = {"values": torch.rand(2, CONTEXT), "observed": torch.ones(2, CONTEXT)}
    return export_onnx(Forecaster().eval(), examples, ("quantiles",))


def _series(what: str) -> Iterator[tuple[Values, int]]:
    """Series with their seasons."""
    for table in _TABLES:
        with table.file.find(what).open(encoding="utf-8-sig", newline="") as file:
            names, *rows = csv.reader(file)
        if table.columns is None:
            yield _numbers([text for row in rows for text in row[1:]]), table.season
        else:
            places = [names.index(column) for column in table.columns]
            yield from ((_numbers([row[place] for row in rows]), table.season) for place in places)


def _numbers(texts: list[str]) -> Values:
    return np.array([float(text) if text.strip() else np.nan for text in texts])


def _windows(series: Values) -> Iterator[tuple[Values, Values]]:
    """What is seen and the values behind it, from the end of a series on; none with gaps is foretold."""
    last = int(np.flatnonzero(np.isfinite(series))[-1]) + 1
    for end in range(last - HORIZON, max(LEAST_SEEN - 1, last - HORIZON * (WINDOWS + 1)), -HORIZON):
        next_ = series[end : end + HORIZON]
        if np.isfinite(next_).all():
            yield series[max(0, end - CONTEXT) : end], next_


def _filled(values: npt.NDArray[np.generic]) -> npt.NDArray[np.float32]:
    """As long as the context, zeros before."""
    return np.pad(values.astype(np.float32), (CONTEXT - len(values), 0))
