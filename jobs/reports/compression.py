"""The compression report: the ladder from the fine-tuned model to the shipped one.

- `compression.json` is the list of rungs for programs; `compression.md` shows them as a table with
  the parity gate's figures and a plot of quality against speed.

Trade-off: quality is measured by texts alone, where the encoder does all the work. Items with
factors of their own would hide almost any difference.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jobs.gate.ladder import Rung
from jobs.gate.quantisation_choice import MeasuredQuantisation
from jobs.reports.markdown import table
from jobs.reports.plots import plot_ladder
from models.evaluation.parity import Parity
from models.processors import usable_cores

JSON_NAME, PAGE_NAME, PLOT_NAME = "compression.json", "compression.md", "compression.png"


def write_compression(
    folder: Path,
    version: str,
    rungs: Sequence[Rung],
    measured: Sequence[MeasuredQuantisation],
    parity: Parity,
) -> Path:
    """Write the report's files into `folder` and return the page's path.

    `measured` are the kinds of quantisation among which the shipped one was chosen.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = [rung.row() for rung in rungs]
    text = json.dumps(rows, indent=2, allow_nan=False)
    (folder / JSON_NAME).write_text(text + "\n", "utf-8")
    plot_ladder(folder / PLOT_NAME, rows)
    page = folder / PAGE_NAME
    page.write_text("\n\n".join(_sections(version, rows, measured, parity)) + "\n", "utf-8")
    return page


def _sections(
    version: str,
    rows: Sequence[dict[str, Any]],
    measured: Sequence[MeasuredQuantisation],
    parity: Parity,
) -> list[str]:
    header = ["stage", "encoder", "texts a second", "speed-up", "NDCG@10", "top-10 overlap"]
    lines = [
        [
            row["name"].replace("_", " "),
            f"{row['bytes'] / 1e6:.1f} MB",
            f"{row['texts_per_second']:.0f}",
            f"{row['speedup']:.1f}",
            f"{row['ndcg@10']:.4f}",
            f"{row['overlap@10']:.1%}",
        ]
        for row in rows
    ]
    how = (
        f"Model version: `{version}`. Speed: one text at a time, {usable_cores()} threads, tokens "
        "included; `fine tuned` is PyTorch in eager mode. NDCG@10 and overlap: a fifth of the "
        "known items, ranked for validation by their texts alone."
    )
    return [
        "# Compression",
        how,
        table(header, lines),
        f"![Quality against speed]({PLOT_NAME})",
        *_quantisation(measured),
        "## Parity gate",
        f"```\n{parity.table()}\n```",
        f"Largest error of a text vector: {parity.largest_vector_error:.3f}.",
    ]


def _quantisation(measured: Sequence[MeasuredQuantisation]) -> list[str]:
    if not measured:
        return []
    header = ["quantisation", "encoder", "texts a second", "cosine to fp32"]
    lines = [
        [one.kind, f"{one.size / 1e6:.1f} MB", f"{one.texts_per_second:.0f}", f"{one.cosine:.4f}"]
        for one in measured
    ]
    return ["## Quantisation, on the device that scores", table(header, lines)]
