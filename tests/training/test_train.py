"""train() and resume(): folders, records, stopping for a reason, and what is said about bad input."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from rich.console import Console as Rich
from small_networks import recipe

from foveal.errors import FovealError
from foveal.training import checkpoint, device, loop, records
from foveal.training.console import Console
from foveal.training.device import Placement, Probe, choose, probe
from foveal.training.inputs import view
from foveal.training.recogniser import Recogniser
from foveal.training.records import Table
from foveal.training.run import Run
from foveal.training.train import resume, train
from foveal.weights import save_weights

QUICK: dict[str, Any] = {"length": 2}


def quiet() -> Console:
    """Says nothing."""
    return Console(silent=True)


def short(out: Path, **settings: Any) -> Run:
    """Two epochs, 34 updates."""
    return train(recipe(**{**QUICK, **settings}), out=out, console=quiet())


def test_a_run_is_a_folder(tmp_path: Path) -> None:
    run = short(tmp_path / "run")
    assert run.finished and run.step == 34 and not run.interrupted
    assert run.recipe == recipe(**QUICK)
    assert run.classes == tuple("0123456789")
    assert run.data["counts"] == {"train": 1151, "val": 287, "test": 359}
    assert list(run.metrics()[0]) == [
        "step", "epoch", "lr", "train_loss", "val_top1_error", "val_top5_error", "val_cross_entropy", "best"
    ]  # fmt: skip
    assert [row["step"] for row in run.metrics()] == [17, 34]
    assert [row["step"] for row in run.steps()] == [5, 10, 15, 20, 25, 30, 34]
    assert (run.path / "log.txt").read_text().startswith("0|small_digits: digits, 10 classes; images: 1151 train")
    assert run.environment["torch"] == torch.__version__


def test_the_model_is_the_average_in_evaluation_mode(tmp_path: Path) -> None:
    run = short(tmp_path / "run")
    stored = checkpoint.read(run.path / "best")
    assert stored.average is not None
    model = run.model()
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored.average[name]), name
    probabilities = run.predictor()(torch.zeros(3, 1, 8, 8, dtype=torch.uint8))
    assert probabilities.shape == (3, 10) and probabilities.dtype == torch.float32
    torch.testing.assert_close(probabilities.sum(1), torch.ones(3))


def test_the_best_is_chosen_on_validation(tmp_path: Path) -> None:
    run = short(tmp_path / "run", length=6)
    errors = [(row["val_top1_error"], row["val_cross_entropy"]) for row in run.metrics()]
    best = checkpoint.read(run.path / "best").position["step"]
    assert best == run.metrics()[errors.index(min(errors))]["step"]
    with pytest.raises(FovealError, match="checkpoint 'worst' is not known"):
        run.model("worst")


def test_a_file_of_weights_takes_the_place_of_a_checkpoint(tmp_path: Path) -> None:
    run = short(tmp_path / "run")
    save_weights(run.model("last"), tmp_path / "other.safetensors")
    for name, value in run.model(str(tmp_path / "other.safetensors")).state_dict().items():
        assert torch.equal(value, run.model("last").state_dict()[name]), name


def test_a_run_starts_from_anothers_weights(tmp_path: Path) -> None:
    first = short(tmp_path / "first")
    second = short(tmp_path / "second", weights=str(first.path), lr=1e-12, length=1)
    for name, value in first.model().named_parameters():
        torch.testing.assert_close(second.model("last").get_parameter(name), value, rtol=1e-4, atol=1e-5)
    assert "matched" in (second.path / "log.txt").read_text()


def test_without_validation_the_last_is_the_best_and_test_chooses_nothing(tmp_path: Path) -> None:
    run = short(tmp_path / "run", holdout=0.0, ema=0.0, plateau=1, length=3)
    assert run.data["watched"] == "test" and not (run.path / "best").exists()
    assert all(row["best"] is None and row["test_top1_error"] is not None for row in run.metrics())
    last = checkpoint.read(run.path / "last").weights
    assert all(torch.equal(value, last[name]) for name, value in run.model("best").state_dict().items())
    with pytest.raises(FovealError, match="patience=3 needs a validation split"):
        short(tmp_path / "other", holdout=0.0, patience=3)


def test_patience_stops(tmp_path: Path) -> None:
    run = short(tmp_path / "run", lr=1e-6, patience=2, length=50, evaluate_every=1, unit="iterations", ema=0.0)
    assert run.finished and run.step < 50
    assert run.position["finished"] == "patience"
    assert resume(run, console=quiet()).step == run.step  # finished: nothing happens


def test_the_time_budget_stops_and_a_resumed_run_is_the_whole_one(tmp_path: Path) -> None:
    whole = short(tmp_path / "whole", length=3)
    run = train(recipe(length=3, time_budget=1e-5), out=tmp_path / "run", console=quiet())
    assert not run.finished and run.step < 51
    for _ in range(60):
        if run.finished:
            break
        run = resume(run, console=quiet(), time_budget=0.01)
    same(whole, run)


def same(one: Run, other: Run) -> None:
    """Weights and records are equal."""
    for name in ("metrics.csv", "steps.csv", "log.txt"):
        assert (one.path / name).read_bytes() == (other.path / name).read_bytes(), name
    for key, value in one.model("last").state_dict().items():
        assert torch.equal(value, other.model("last").state_dict()[key])


class Interrupter(Console):
    """Sends the process a signal at some update."""

    wants_update = True  # type: ignore[assignment]

    def __init__(self, at: int, number: int) -> None:
        super().__init__(silent=True)
        self.at, self.number = at, number
        self.lines: list[str] = []

    def line(self, text: str) -> None:
        """Keep it."""
        self.lines.append(text)

    def update(self, step: int, loss: float | None, speed: float, best: str) -> None:
        """As Ctrl-C would."""
        if step == self.at:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_and_the_resumed_run_is_the_whole_one(tmp_path: Path, number: int) -> None:
    whole = short(tmp_path / "whole")
    console = Interrupter(12, number)
    run = train(recipe(**QUICK), out=tmp_path / "run", console=console)
    assert run.interrupted and run.step == 12 and not run.finished
    assert console.lines[-1] == f"interrupted at update 12; resume with: foveal train {run.path}"
    again = train(run.path, console=quiet())
    assert again.finished and not again.interrupted
    same(whole, again)


def test_a_damaged_checkpoint_is_said_and_the_run_still_ends_the_same(tmp_path: Path) -> None:
    whole = short(tmp_path / "whole")
    run = train(recipe(**QUICK), out=tmp_path / "run", console=Interrupter(12, signal.SIGINT))
    weights = run.path / "last" / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-5])
    console = Interrupter(-1, signal.SIGINT)
    again = resume(run.path, console=console)
    assert any("weights.safetensors has" in line and "update 7, is used" in line for line in console.lines)
    same(whole, again)


def test_rows_beyond_the_checkpoint_and_half_rows_are_cut(tmp_path: Path) -> None:
    whole = short(tmp_path / "whole")
    run = train(recipe(**QUICK), out=tmp_path / "run", console=Interrupter(20, signal.SIGINT))
    with (run.path / "steps.csv").open("a") as stream:
        stream.write("25,1.4,0.2,9.9\n30,1.7")
    with (run.path / "log.txt").open("a") as stream:
        stream.write("34|upd")
    same(whole, resume(run.path, console=quiet()))


def test_the_same_recipe_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    run = train(recipe(**QUICK), out=tmp_path / "run", console=Interrupter(12, signal.SIGINT))
    with pytest.raises(FovealError, match=r"holds a run of another recipe: lr=0\.2 there, 0\.1 here; seed=3 there, 4"):
        short(run.path, lr=0.1, seed=4)
    with pytest.raises(FovealError, match=r"lr was 0\.2 when .* began and cannot change"):
        resume(run, console=quiet(), lr=0.5)
    assert short(run.path, workers=0).finished


def test_another_device_than_at_the_beginning_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/__main__.py", "train", "x"])
    run = train(recipe(**QUICK), out=tmp_path / "run", console=Interrupter(12, signal.SIGINT))
    assert run.environment["command"] == "foveal train x"
    (run.path / "environment.json").write_text(json.dumps({"placement": "cuda:0, bfloat16: because"}))
    console = Interrupter(14, signal.SIGINT)
    resume(run.path, console=console)
    assert console.lines[1].startswith("on cpu, float32")
    assert console.lines[2].startswith("warning: the run began on cuda:0, bfloat16: because")


def test_options_are_added_to_those_of_the_recipe() -> None:
    first = recipe(options={"dropout": 0.5})
    assert first.with_settings(options={"norm": "B"}).options == {"dropout": 0.5, "norm": "B"}
    assert first.with_settings(options={"dropout": 0.1}).options == {"dropout": 0.1}
    assert first.with_settings(model="lenet5", options={"output": "linear"}).options == {"output": "linear"}
    assert first.options == {"dropout": 0.5}


def test_other_data_is_refused(tmp_path: Path) -> None:
    run = train(recipe(**QUICK), out=tmp_path / "run", console=Interrupter(12, signal.SIGINT))
    data = json.loads((run.path / "data.json").read_text())
    (run.path / "data.json").write_text(json.dumps({**data, "fingerprint": "0"}))
    with pytest.raises(FovealError, match="the data at digits is not what this run began with"):
        resume(run.path, console=quiet())


def test_folders_that_are_no_runs(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match="does not exist"):
        Run(tmp_path / "none")
    with pytest.raises(FovealError, match=r"is not a run's folder: it has no recipe\.json"):
        Run(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(FovealError, match="is not empty and not a run"):
        short(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]
    (tmp_path / "recipe.json").write_text("{")
    with pytest.raises(FovealError):
        Run(tmp_path)


def test_a_full_disk_is_said_and_the_checkpoint_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real, count = checkpoint.write_file, [0]

    def full(file: Path, data: bytes) -> None:
        count[0] += 1
        if count[0] > 20:
            raise OSError(28, "No space left on device")
        real(file, data)

    whole = short(tmp_path / "whole")
    monkeypatch.setattr(checkpoint, "write_file", full)
    with pytest.raises(FovealError, match="cannot be written: No space left on device"):
        short(tmp_path / "run")
    monkeypatch.undo()
    same(whole, resume(tmp_path / "run", console=quiet()))


def test_a_full_disk_while_recording(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("needs /dev/full")
    with pytest.raises(FovealError, match="/dev/full cannot be written: No space left on device"):
        records.append(Path("/dev/full"), "1,2\n")


def test_inputs_that_the_network_cannot_take(tmp_path: Path) -> None:
    settings = {"model": "small_networks:plain", "augment": ("random_crop(6)",), "input": (1, 6, 6)}
    with pytest.raises(FovealError) as caught:
        short(tmp_path / "run", **settings)
    assert "36" in str(caught.value) and "64" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_a_network_with_another_head(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import small_networks

    monkeypatch.setattr(small_networks, "wide", lambda num_classes: small_networks.plain(1000), raising=False)
    with pytest.raises(FovealError, match=r"gives scores of shape \[1, 1000\] for 10 classes"):
        short(tmp_path / "run", model="small_networks:wide")


def test_accumulation_gives_the_same_course_without_batch_normalisation(tmp_path: Path) -> None:
    settings = {"model": "small_networks:plain", "length": 1}
    one, parts = short(tmp_path / "one", **settings), short(tmp_path / "parts", accumulate=4, **settings)
    left, right = one.metrics()[0]["train_loss"], parts.metrics()[0]["train_loss"]
    assert right == pytest.approx(left, rel=1e-4)


def test_out_of_memory_names_the_mend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(loop, "_update", exhausted)
    with pytest.raises(FovealError, match="ran out of memory on batches of 64") as caught:
        short(tmp_path / "run")
    assert caught.value.mend.startswith("set accumulate=2")
    with pytest.raises(FovealError) as caught:
        short(tmp_path / "other", batch_size=63, accumulate=3)
    assert caught.value.mend.startswith("set accumulate=7")  # not 6, which does not divide 63
    with pytest.raises(FovealError) as caught:
        short(tmp_path / "third", batch_size=7, accumulate=7)
    assert caught.value.mend == "choose a smaller batch_size, network or input"


def test_large_images_are_tested_in_parts_no_larger_than_in_training() -> None:
    sizes: list[int] = []

    class Watched(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            if len(images) == 7:
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes")
            return images.mean((2, 3)).expand(-1, 10)

    for side, parts in ((65, [4, 4, 2]), (64, [10])):
        large = recipe(input=(1, side, side), batch_size=8, accumulate=2)
        predict = Recogniser(Watched(), large, tuple("0123456789"), Placement(torch.device("cpu")), view(large))
        sizes.clear()
        assert predict(torch.zeros(10, 1, side, side, dtype=torch.uint8)).shape == (10, 10) and sizes == parts
    with pytest.raises(FovealError, match="cpu ran out of memory on 7 images of 64 x 64"):
        predict(torch.zeros(7, 1, 64, 64, dtype=torch.uint8))


def test_loss_that_explodes_stops_the_run(tmp_path: Path) -> None:
    with pytest.raises(FovealError, match=r"loss term 'cross_entropy' is (nan|inf) at update"):
        short(tmp_path / "run", model="small_networks:plain", lr=1e30, clip=0.0, schedule="constant")


def test_plain_lines_where_there_is_no_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train(recipe(**QUICK), out=tmp_path / "run", console=Console(rich=Rich(file=sys.stdout, soft_wrap=True)))
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("update ") for line in lines) == 2
    assert "\x1b" not in "".join(lines)
    assert any("val top1 error" in line and line.startswith("update 34/34  epoch 2.0") for line in lines)


def test_a_bar_on_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rich = Rich(file=sys.stdout, force_terminal=True, width=120)
    train(recipe(**QUICK), out=tmp_path / "run", console=Console(rich=rich))
    text = capsys.readouterr().out
    assert "img/s" in text and "loss" in text


def test_records_append_whole_rows_and_give_numbers_back(tmp_path: Path) -> None:
    table = Table(tmp_path / "t.csv")
    table.add({"step": 1, "x": 0.1 + 0.2, "y": None})
    table.add({"step": 2, "x": 1e-300, "y": "word"})
    again = Table(tmp_path / "t.csv")
    assert again.rows() == [{"step": 1, "x": 0.1 + 0.2, "y": None}, {"step": 2, "x": 1e-300, "y": "word"}]
    again.cut(1)
    assert again.rows() == [{"step": 1, "x": 0.1 + 0.2, "y": None}]
    (tmp_path / "t.csv").write_text("step,x\nfoo,1\n")
    with pytest.raises(FovealError, match=r"t\.csv has a line that does not begin with an update's number"):
        Table(tmp_path / "t.csv").cut(1)


BIG = Probe((1, 10), 41_000_000, True)


def test_the_rule_for_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    def capable(value: bool) -> None:
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": value})

    capable(True)
    placement = choose(recipe(), BIG)
    assert placement.dtype == torch.bfloat16 and placement.channels_last and "avx512_bf16" in placement.reason
    assert choose(recipe(), Probe((1, 10), 400_000, True)).dtype == torch.float32
    assert choose(recipe(), Probe((1, 10), 10**9, False)).dtype == torch.float32
    assert choose(recipe(precision="float32"), BIG).dtype == torch.float32
    capable(False)
    assert choose(recipe(), BIG).dtype == torch.float32 and "no bfloat16" in choose(recipe(), BIG).reason


def test_devices_and_formats_that_cannot_be_had() -> None:
    with pytest.raises(FovealError, match="device=tpu is not known"):
        choose(recipe(device="tpu"), BIG)
    with pytest.raises(FovealError, match="precision=float16 on cpu"):
        choose(recipe(precision="float16"), BIG)
    if not torch.cuda.is_available():
        with pytest.raises(FovealError, match="device=cuda: this machine, or this torch, has none"):
            choose(recipe(device="cuda"), BIG)


def test_probe_counts_and_leaves_the_network_alone() -> None:
    from small_networks import small

    model = small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = probe(model, (1, 8, 8))
    assert found == Probe((1, 10), 8 * 64 * 9 + 16 * 16 * 8 * 9 + 64 * 10, True)
    assert model.training and all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_networks_that_ask_for_values_are_probed_for_real() -> None:
    class Asking(torch.nn.Linear):
        def forward(self, input: torch.Tensor) -> torch.Tensor:
            return super().forward(input.flatten(1)) * (2.0 if float(input.sum()) > 0 else 1.0)

    assert probe(Asking(64, 10), (1, 8, 8)).output == (1, 10)
    assert device.Placement(torch.device("cpu"), reason="r").describe() == "cpu, float32: r"
