"""All that is needed to do the run again and to trust its files: settings, environment, checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from foveal.report.html import Html, escape, folded, pairs, paragraph, section, table, tag
from foveal.training import checkpoint
from foveal.training.recipe import Recipe
from foveal.training.run import Run


def record(run: Run) -> Html:
    """Settings, environment and the SHA-256 of the weights."""
    return section(
        "record",
        "Record",
        folded("Every setting of the recipe", _settings(run.recipe)),
        folded("Environment", pairs(_flat(run.environment))),
        folded("Weights", _weights(run)),
    )


def _settings(recipe: Recipe) -> Html:
    values = recipe.model_dump(mode="json")
    fields = type(recipe).model_fields
    rows = [
        [
            tag("code", escape(key)),
            tag("code", escape(json.dumps(value, ensure_ascii=False))),
            escape(fields[key].description or ""),
        ]
        for key, value in values.items()
    ]
    return table(("setting", "value", "meaning"), rows)


def _flat(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in values.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _weights(run: Run) -> Html:
    which = "best" if checkpoint.exists(run.path, "best") else "last"
    said = "SHA-256, as `sha256sum` prints it. The report is of these weights."
    rows = [(f"{which}/{file.name}", _sha256(file)) for file in sorted((run.path / which).glob("*.safetensors"))]
    return Html(paragraph(said) + pairs(rows))


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
