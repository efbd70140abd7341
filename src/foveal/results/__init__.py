"""Published result tables, each a JSON file of this folder, and what the runs at hand have measured beside them.

A table says where its figures were published, on which data and by which protocol; `notes` say where a lecture that
quotes it is wrong, and the figures are the corrected ones. A new file is listed by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from foveal.errors import FovealError, unknown

_FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class Published:
    """One table. `columns` are the keys of a row's figures with their meaning; a row has `name`, perhaps `model` (the
    catalogue's name of the network), `note`, and `unverified` where no publication with the figure was found."""

    table: str
    id: str
    title: str
    source: str
    data: str
    protocol: str
    columns: Mapping[str, str]
    rows: tuple[Mapping[str, Any], ...]
    notes: tuple[str, ...]

    def of(self, model: str) -> Published:
        """The table with the rows of the networks whose name starts with `model` alone."""
        return replace(self, rows=tuple(row for row in self.rows if row.get("model", "").startswith(model)))


@dataclass(frozen=True)
class Measured:
    """What a run's folder says of its held-out split: errors in % by the first protocol it was evaluated with."""

    run: str
    model: str
    data: str
    split: str
    images: int
    top1: float | None
    top5: float | None


def names() -> tuple[str, ...]:
    """The tables, sorted."""
    return tuple(sorted(file.stem for file in _FOLDER.glob("*.json")))


def load(table: str) -> Published:
    """The table called so. FovealError («did you mean») when there is none."""
    if table not in names():
        raise unknown("result table", table, names())
    content = json.loads((_FOLDER / f"{table}.json").read_text(encoding="utf-8"))
    return Published(table=table, **{**content, "rows": tuple(content["rows"]), "notes": tuple(content["notes"])})


def find(word: str) -> list[Published]:
    """The tables that `word` means: one by its name; else those whose name begins with it, and of the others the rows
    of networks whose name begins with it. FovealError («did you mean») when there is nothing of the kind."""
    if word in names():
        return [load(word)]
    whole = [load(name) for name in names() if name.startswith(word)]
    parts = [load(name).of(word) for name in names() if not name.startswith(word)]
    found = [*whole, *(part for part in parts if part.rows)]
    if not found:
        models = {row["model"] for table in map(load, names()) for row in table.rows if "model" in row}
        raise unknown("result table or network", word, {*names(), *models}, "`foveal results` lists the tables")
    return found


def measured(runs: str | Path = "runs") -> list[Measured]:
    """The evaluated runs in a folder of runs, sorted by path; none where the folder is missing.

    Raises FovealError naming a file that is damaged.
    """
    return [
        _measured(file.parent)
        for file in sorted(Path(runs).glob("*/evaluation.json"))
        if (file.parent / "recipe.json").is_file()
    ]


def beside(table: Published, runs: list[Measured]) -> list[tuple[Mapping[str, Any], Measured | None]]:
    """The rows, each as often as there are runs of its network; with None where there is none.

    Rows of one network that differ in their settings have the same runs beside them: which settings a run matches
    is for the reader, who sees its data.
    """
    pairs: list[tuple[Mapping[str, Any], Measured | None]] = []
    for row in table.rows:
        own = [run for run in runs if run.model == row.get("model")]
        pairs += [(row, run) for run in own] or [(row, None)]
    return pairs


def as_json(table: Published, runs: list[Measured]) -> dict[str, Any]:
    """Plain values: the table, with a list `measured` in each row."""
    rows = [{**row, "measured": [asdict(run) for run in runs if run.model == row.get("model")]} for row in table.rows]
    return {**asdict(table), "rows": rows, "notes": list(table.notes)}


def _measured(run: Path) -> Measured:
    file = run / "evaluation.json"
    try:
        figures = json.loads(file.read_text(encoding="utf-8"))
        metrics = figures["metrics"]
        return Measured(
            run=str(run),
            model=figures["model"],
            data=figures["data"],
            split=figures["split"],
            images=figures["images"],
            top1=metrics.get("top1_error"),
            top5=metrics.get("top5_error"),
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise FovealError(f"{file} is damaged", f"measure again: foveal evaluate {run}") from error
