"""Verbs that use a run: evaluate, dense, report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foveal.catalog import names
from foveal.cli.networks import Checkpoint, Weights, chosen
from foveal.cli.settings import parse_settings
from foveal.cli.tables import table
from foveal.errors import FovealError

if TYPE_CHECKING:
    from foveal.data.wordnet import Kind

RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="The run's folder.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
_KINDS = 30  # ancestors that the terminal shows


def register(app: typer.Typer) -> None:
    """Add this file's verbs to the application."""
    for verb in (evaluate, dense, report):
        app.command(no_args_is_help=True)(verb)


def evaluate(
    runs: Annotated[
        list[str], typer.Argument(metavar="RUN [RUN …]", help="Folders of runs, data=PATH for other data.")
    ],
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    protocol: Annotated[
        list[str] | None, typer.Option(help=f"May be repeated: {', '.join(names('protocol'))}.")
    ] = None,
    checkpoint: Checkpoint = "best",
    weights: Weights = None,
    wordnet: Annotated[
        Path | None, typer.Option(help="Tell mistakes by ancestor: wordnet.is_a.txt, its folder, or meta.mat.")
    ] = None,
    json_: Json = False,
) -> None:
    """Measure a run, or the mean of several, on the test split or on other data.

    \b
      foveal evaluate runs/lenet5_digits-1 data=digits --split train --json
      foveal evaluate runs/resnet18-1 --protocol center_crop --protocol ten_crop

    Of several runs the mean of their probabilities is measured, then each alone. A protocol's options stand in
    brackets, as "dense(scales=(256, 384), flip=False)".
    """
    from foveal.data.wordnet import kinds, read_wordnet
    from foveal.errors import unknown
    from foveal.evaluation import Evaluation
    from foveal.evaluation import evaluate as evaluate_run
    from foveal.evaluation.base import Measurement
    from foveal.evaluation.ensemble import ensemble

    folders = [word for word in runs if "=" not in word or Path(word).exists()]
    given = parse_settings([word for word in runs if word not in folders])
    for key in given:
        if key != "data":
            raise unknown("setting of evaluate", key, ["data"])
    if not folders:
        raise FovealError("no run was named", "give the folder that `foveal train` printed, e.g. runs/lenet5_digits")
    checkpoint = chosen(checkpoint, weights)
    data, protocols = given.get("data"), tuple(protocol or ())
    tree = read_wordnet(wordnet) if wordnet else None
    result: Measurement
    if len(folders) == 1:
        result = evaluate_run(folders[0], data, split=split, protocols=protocols, checkpoint=checkpoint)
    else:
        averaged = protocols or ("center_crop",)
        result = ensemble(folders, data, split=split, protocols=averaged, checkpoint=checkpoint)
    if tree and not isinstance(result, Evaluation):
        raise FovealError("--wordnet tells mistakes of classifiers by ancestor", f"leave it away for {folders[0]}")
    found = kinds(result.confusion, result.classes, tree) if tree and isinstance(result, Evaluation) else []
    if json_:
        more = {"kinds": [{**asdict(kind), "share": kind.share} for kind in found]} if tree else {}
        typer.echo(json.dumps(result.as_json() | more, indent=2, ensure_ascii=False))
        return
    typer.echo(result.text() + (f"\n\n{_by_ancestor(found)}" if tree else ""))


def _by_ancestor(found: Sequence[Kind]) -> str:
    """The widest kinds first: how many of the mistakes on each stay within it."""
    rows = [
        (kind.name[:48], kind.classes, kind.images, kind.mistakes, round(kind.share, 1), kind.nearest)
        for kind in found
        if kind.share is not None
    ]
    header = ("mistakes by ancestor", "classes", "images", "mistakes", "% within it", "none nearer")
    more = f"\nand {len(rows) - _KINDS} more, all in --json" if len(rows) > _KINDS else ""
    return table(header, rows[:_KINDS]) + more if rows else "no mistake has an ancestor in common with the truth"


def dense(
    run: RunFolder,
    image: Annotated[str, typer.Argument(help="A picture, in its own pixels.")],
    out: Annotated[Path | None, typer.Option(help="A .png overlay or .npy.", show_default="IMAGE.dense.png")] = None,
    stride: Annotated[int, typer.Option(min=1, help="Pixels from one position to the next.")] = 1,
    borders: Annotated[str, typer.Option(help="Padding around each patch, or around the image.")] = "patch",
    memory: Annotated[int, typer.Option(min=1, help="MiB of activations; larger images go in tiles.")] = 1024,
    checkpoint: Checkpoint = "best",
    weights: Weights = None,
    json_: Json = False,
) -> None:
    """Classify the patch around every pixel of a picture.

    \b
      foveal dense runs/lenet5_digits-1 page.png
      foveal dense runs/resnet18-1 street.jpg --stride 4 --out street.npy
    """
    from typing import cast

    from foveal.cli.progress import counting
    from foveal.graph.dense import Borders
    from foveal.report.dense_map import dense_map

    with counting("tiles") as progress:
        found = dense_map(
            run, image, stride=stride, borders=cast(Borders, borders), checkpoint=chosen(checkpoint, weights),
            memory=memory * 2**20, progress=progress,
        )  # fmt: skip
    file = found.save(out or Path(f"{Path(image).stem}.dense.png"))
    shares = found.shares()
    if json_:
        size = list(found.labels.shape)
        typer.echo(json.dumps({"file": str(file), "size": size, "stride": stride, "shares": dict(shares)}, indent=2))
        return
    typer.echo(f"{file}: " + ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares[:5]))


def report(run: RunFolder) -> None:
    """Write the HTML report of a run again.

    \b
      foveal report runs/lenet5_digits-1
      foveal report runs/resnet18-1
    """
    from foveal.report import write_report
    from foveal.training.run import Run

    typer.echo(f"report: {write_report(Run(run))}")
