"""`foveal evaluate --wordnet` tells mistakes by ancestor."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

CLASSES = ("n00000004", "n00000005", "n00000006")  # two of one kind, and another
EDGES = ("1 2", "1 6", "2 4", "2 5")


def test_mistakes_by_ancestor(foveal: Callable[..., Any], pictures: Callable[..., Path], tmp_path: Path) -> None:
    data, run = pictures(tmp_path / "pictures", CLASSES), tmp_path / "run"
    words = (f"data={data}", "prepare=resize_exact(28,28)", "input=1,28,28", "mean=0.5", "std=0.5", "workers=0")
    trained = foveal("train", "mlp", *words, "--quick", "--out", run)
    assert trained.status == 0, trained.err
    edges = (tuple(f"n{int(number):08d}" for number in edge.split()) for edge in EDGES)
    (tmp_path / "wordnet.is_a.txt").write_text("".join(f"{a} {b}\n" for a, b in edges))
    shown = foveal("evaluate", run, "--split", "train", "--wordnet", tmp_path)
    assert shown.status == 0 and "mistakes by ancestor" in shown.out, shown.err
    figures = json.loads(foveal("evaluate", run, "--split", "train", "--wordnet", tmp_path, "--json").out)
    kinds = {kind["synset"]: kind for kind in figures["kinds"]}
    assert set(kinds) == {"n00000001", "n00000002"}
    wrong = [[0 if i == j else n for j, n in enumerate(row)] for i, row in enumerate(figures["confusion"])]
    assert kinds["n00000001"]["within"] == sum(map(sum, wrong)) > 0
    assert kinds["n00000002"]["within"] == kinds["n00000002"]["nearest"] == wrong[0][1] + wrong[1][0]
    plain = foveal("evaluate", run, "--split", "train", "--json")
    assert "kinds" not in json.loads(plain.out)
    refused = foveal("evaluate", run, "--wordnet", tmp_path / "nowhere")
    assert refused.status == 2 and "there is no such file" in refused.err
