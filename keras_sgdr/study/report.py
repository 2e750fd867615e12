"""A study's report: one HTML file with its figures inside, which needs nothing else and runs no script."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_sgdr.environment import environment
from keras_sgdr.study.figures import CAPTIONS
from keras_sgdr.study.tables import Summary, Table

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["write_report"]

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222; }}
figure {{ margin: 2rem 0; }}
img {{ max-width: 100%; }}
figcaption, caption {{ text-align: left; color: #555; padding: 0.3rem 0; }}
table {{ border-collapse: collapse; margin: 1.5rem 0; display: block; overflow-x: auto; }}
th, td {{ text-align: right; padding: 0.2rem 0.8rem; border-bottom: 1px solid #ddd; white-space: nowrap; }}
th:first-child, td:first-child {{ text-align: left; padding-left: 0; }}
pre {{ overflow-x: auto; background: #f5f5f5; padding: 0.5rem; }}
</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""


def write_report(
    path: str | os.PathLike[str],
    title: str,
    summary: Summary,
    figures: Iterable[str | os.PathLike[str]],
    *,
    options: Mapping[str, Any],
    failures: DataFrame | None = None,
    introduction: str = "",
) -> Path:
    """Write what a study found, and what it was made with, into one HTML file.

    Args:
        path: The file to write; its folder is made if it is not there.
        title: Of the page.
        summary: What `statistics.summarize` returned.
        figures: PNG files, as `figures.draw` returned them.
        options: What the study was asked for, by name.
        failures: The table of `Study.failures`.
        introduction: What a reader has to know first, such as what the data is.

    Returns:
        The file.
    """
    found = environment()
    hardware = found["hardware"]
    made_with = {
        **found["versions"],
        "backend": found["backend"],
        "processor": f"{hardware['cpu']}, {hardware['cores']} cores",
        "GPU": ", ".join(hardware["gpus"]) or "none",
    }
    parts = [
        f"<p>{escape(introduction)}</p>" if introduction else "",
        summary.html(),
        *(_figure(number, Path(file)) for number, file in enumerate(figures, 1)),
        _failures(failures),
        _pairs("Options", options),
        _pairs("Versions and hardware", made_with),
    ]
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(PAGE.format(title=escape(title), body="\n".join(filter(None, parts))), encoding="utf-8")
    return path


def _figure(number: int, file: Path) -> str:
    picture = base64.b64encode(file.read_bytes()).decode()
    caption = escape(CAPTIONS.get(file.stem, file.stem))
    image = f'<img alt="{caption}" src="data:image/png;base64,{picture}">'
    return f"<figure>\n{image}\n<figcaption>Figure {number}. {caption}</figcaption>\n</figure>"


def _failures(failures: DataFrame | None) -> str:
    if failures is None or failures.empty:
        return ""
    runs = "\n".join(
        f"<details><summary>{escape(f'{schedule}, seed {seed}')}</summary><pre>{escape(traceback)}</pre></details>"
        for schedule, seed, traceback in failures[["schedule", "seed", "traceback"]].itertuples(index=False, name=None)
    )
    return f"<h2>Runs that failed: {len(failures)}</h2>\n{runs}"


def _pairs(title: str, values: Mapping[str, Any]) -> str:
    return Table(title, ("name", "value"), [(name, str(value)) for name, value in values.items()]).html()
