"""A recipe: every setting of one training run, as plain values. One schema for files, Python and the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from foveal.errors import FovealError, unknown

Unit = Literal["epochs", "iterations"]


class Recipe(BaseModel):
    """All that is needed to do a run (again). Values are plain JSON; names are resolved when the run starts.

    Lengths (`length`, `warmup`, `milestones`, `evaluate_every`) are counted in `unit`, epochs or optimiser updates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=())

    name: str = Field(pattern=r"^[^/\\]+$", description="name of the recipe, also the stem of the run's folder")

    task: Literal["classify", "tag", "segment", "detect"] = Field(
        "classify", description="what is learned from the images"
    )
    model: str = Field(description="network of the catalogue, or package.module:function")
    options: dict[str, Any] = Field({}, description="keyword options of the network's function")
    weights: str | None = Field(None, description="file or run to start from; 'imagenet' for published weights")
    partial: bool = Field(False, description="accept weights that fit the network only in part")
    weights_to: str = Field("", description="last layer that takes the weights; later ones begin anew")
    freeze: str = Field("", description="last layer that stays as it is, with all before it, statistics included")
    head_lr: float = Field(1.0, gt=0, description="rate of the last layer, as a multiple of lr")
    layer_decay: float = Field(1.0, gt=0, le=1, description="factor of the rate from each layer to the one before it")
    transfer: Literal["none", "auto", "small", "medium", "large"] = Field(
        "none", description="what learns when weights are given, by the amount of data"
    )

    data: str = Field(min_length=1, description="path of the images, or 'digits'")
    classes: tuple[str, ...] = Field((), description="the data's classes that are learned; all unless given")
    input: tuple[int, int, int] = Field(description="channels, height, width that the network sees")
    mean: tuple[float, ...] = Field((0.5,), description="subtracted from pixels in 0..1, per channel or one for all")
    std: tuple[float, ...] = Field((0.5,), description="then divides, per channel or one for all")
    mean_image: bool = Field(False, description="subtract the training set's mean image, pixel by pixel, in its place")
    whiten: bool = Field(False, description="contrast-normalise and ZCA-whiten, in place of mean and std")
    prepare: tuple[str, ...] = Field((), description="deterministic transforms, for training and test")
    augment: tuple[str, ...] = Field((), description="random transforms after them, for training only")
    test: tuple[str, ...] = Field((), description="deterministic transforms after them, for test only")
    holdout: float = Field(0.0, ge=0, lt=1, description="share of training held out for validation, if there is no val")

    unit: Unit = Field("epochs", description="what lengths are counted in")
    length: int = Field(gt=0, description="training length, in units")
    batch_size: int = Field(gt=0, description="images per update, over all processes")
    accumulate: int = Field(1, gt=0, description="parts that a batch is cut into to save memory")
    optimizer: Literal["sgd", "adamw", "rmsprop"] = Field("sgd", description="update rule")
    lr: float = Field(gt=0, description="peak learning rate")
    momentum: float = Field(0.9, ge=0, lt=1, description="momentum of SGD, first beta of AdamW, memory of RMSprop")
    nesterov: bool = Field(False, description="Nesterov's momentum")
    weight_decay: float = Field(0.0, ge=0, description="L2 penalty of SGD and RMSprop, decoupled decay of AdamW")
    decay_all: bool = Field(True, description="decay biases and normalisation parameters too")
    schedule: Literal["constant", "step", "plateau", "exponential", "cosine", "onecycle"] = Field(
        "constant", description="course of the learning rate"
    )
    milestones: tuple[int, ...] = Field((), description="when 'step' multiplies the rate by gamma, in units")
    gamma: float = Field(0.1, gt=0, le=1, description="factor of 'step' and 'plateau'; per unit for 'exponential'")
    warmup: int = Field(0, ge=0, description="time before the peak rate, in units")
    warmup_lr: float = Field(0.0, ge=0, description="rate at which the warm-up starts")
    warmup_shape: Literal["linear", "constant"] = Field("linear", description="a rise, or warmup_lr throughout")
    plateau: int = Field(5, gt=0, description="evaluations without progress before 'plateau' lowers the rate")
    clip: float = Field(0.0, ge=0, description="largest gradient norm; 0 = no clipping")
    loss: Literal["logistic", "hinge", "ranking"] = Field("logistic", description="what a tagger minimises")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the target spread over all classes")
    class_weights: Literal["none", "median_frequency"] = Field(
        "none", description="weight of each class's pixels in the loss of a segmentation"
    )
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the moving average of the weights; 0 = none")

    patience: int = Field(
        0, ge=0, description="evaluations without progress on the validation split before stopping early; 0 = never"
    )
    time_budget: float = Field(0.0, ge=0, description="minutes after which training ends; 0 = none")
    evaluate_every: int = Field(1, gt=0, description="distance of evaluations, in units")
    save_every: int = Field(0, ge=0, description="updates between checkpoints, besides those at evaluations")
    log_every: int = Field(50, gt=0, description="updates between rows of steps.csv")

    seed: int = Field(0, ge=0, description="fixes initialisation, order, augmentation and dropout")
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N, mps")
    precision: Literal["auto", "float32", "bfloat16", "float16"] = Field("auto", description="of the forward pass")
    workers: Annotated[int, Field(ge=0)] | Literal["auto"] = Field("auto", description="processes that decode images")
    cache: bool | Literal["auto"] = Field("auto", description="keep prepared images in memory")
    strict: bool = Field(False, description="refuse unreadable images instead of skipping them")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in ("mean", "std"):
            if len(getattr(self, name)) not in (1, self.input[0]):
                raise FovealError(
                    f"{name} has {len(getattr(self, name))} values for {self.input[0]} channels",
                    f"give {name} one value for all channels, or one each",
                )
        if min(self.std) <= 0:
            raise FovealError(f"std={min(self.std):g} cannot divide", "give the spread of the pixels, above 0")
        if "num_classes" in self.options:
            raise FovealError("options.num_classes: the data decide how many classes there are", "leave it away")
        self._consistent_transfer()
        self._consistent_task()
        if self.nesterov and not self.momentum:
            raise FovealError("nesterov=true needs a momentum above 0", "set momentum=0.9, for example")
        if self.schedule == "step" and not self.milestones:
            raise FovealError("schedule=step needs milestones", "set them in units, as milestones=30,60")
        if self.warmup_shape == "constant" and self.warmup and not self.warmup_lr:
            raise FovealError("warmup_shape=constant needs a warmup_lr above 0", "set warmup_lr=0.01, for example")
        if self.warmup >= self.length:
            raise FovealError(
                f"warmup={self.warmup} leaves nothing of length={self.length}",
                "set a shorter warmup or a greater length",
            )
        if self.batch_size % self.accumulate:
            raise FovealError(
                f"batch_size={self.batch_size} cannot be cut into accumulate={self.accumulate} equal parts",
                "choose an accumulate that divides batch_size",
            )
        return self

    def _consistent_task(self) -> None:
        """The settings that belong to one task, and those of whitening."""
        if self.class_weights != "none" and self.task != "segment":
            raise FovealError(
                f"class_weights={self.class_weights} is about pixels, and this recipe's task is to {self.task}",
                "leave it away",
            )
        if self.task != "tag" and self.loss != _DEFAULTS["loss"]:
            raise FovealError(f"loss={self.loss} is about tags; this recipe's task is to {self.task}", "add task=tag")
        if self.task == "tag" and self.label_smoothing:
            raise FovealError(f"label_smoothing={self.label_smoothing:g} is about one class an image", "leave it away")
        if self.whiten and (self.mean_image or self.weights == "imagenet"):
            other = "mean_image=true" if self.mean_image else "weights=imagenet"
            raise FovealError(f"whiten=true and {other} want other pixels of the same images", "give one of them")

    def _consistent_transfer(self) -> None:
        """The settings about classes and weights."""
        if self.classes and (self.task != "classify" or len(set(self.classes)) < max(2, len(self.classes))):
            raise FovealError(
                f"classes={','.join(self.classes)} of a recipe to {self.task}",
                "name two classes or more, each once, of a classifier's data",
            )
        own = [key for key in ("freeze", "head_lr", "layer_decay") if getattr(self, key) != _DEFAULTS[key]]
        if self.transfer != "none" and own:
            raise FovealError(f"transfer={self.transfer} decides about {', '.join(own)}", "give one or the other")
        for key in ("transfer", "weights_to"):
            if getattr(self, key) != _DEFAULTS[key] and not self.weights:
                raise FovealError(f"{key}={getattr(self, key)} needs weights to start from", "add weights=RUN")

    def with_settings(self, **settings: Any) -> Recipe:
        """A copy with some settings changed. FovealError for an unknown key («did you mean») or a bad value.

        `options` are added to those that the network has already, unless `model` is changed as well.
        """
        for key in settings:
            if key not in type(self).model_fields:
                raise unknown("setting", key, type(self).model_fields)
        if isinstance(settings.get("options"), Mapping) and settings.get("model", self.model) == self.model:
            settings["options"] = {**self.options, **settings["options"]}
        return _validated({**self.model_dump(), **settings})

    @classmethod
    def from_json(cls, text: str) -> Recipe:
        """The recipe that `model_dump_json` wrote. FovealError for any other text."""
        try:
            values = json.loads(text)
        except ValueError as error:
            raise FovealError(f"the recipe is no JSON: {error}") from error
        if not isinstance(values, dict):
            raise FovealError(f"the recipe is a JSON {type(values).__name__}, not an object")
        return _validated(values)


_DEFAULTS: Mapping[str, Any] = {key: field.default for key, field in Recipe.model_fields.items()}


def _validated(values: Mapping[str, Any]) -> Recipe:
    try:
        return Recipe.model_validate(values)
    except ValidationError as error:
        raise _readable(str(error.errors()[0]["loc"][0]), values) from error


def _readable(key: str, values: Mapping[str, Any]) -> FovealError:
    """What is wrong with the setting `key`, in one line: its value, and what is expected."""
    field = Recipe.model_fields.get(key)
    if field is None:
        return unknown("setting", key, Recipe.model_fields)
    if key not in values:
        return FovealError(f"setting {key} is missing", f"{key}: {field.description}")
    value = values[key]
    if get_origin(field.annotation) is Literal and isinstance(value, str):
        return unknown(key, value, get_args(field.annotation))
    shown = ",".join(map(str, value)) if isinstance(value, list | tuple) else value
    bounds = " and ".join(
        text.format(getattr(bound, name)) for bound in field.metadata for name, text in _BOUNDS if hasattr(bound, name)
    )
    wanted = f"{_KINDS[key] if key in _KINDS else _kind(field.annotation)} {bounds}".rstrip()
    return FovealError(f"setting {key}={shown} is not {wanted}", f"{key}: {field.description}")


_BOUNDS = (("gt", "above {}"), ("ge", "of at least {}"), ("lt", "below {}"), ("le", "of at most {}"))
_KINDS = {
    "name": "a name without slashes",
    "data": "a path",
    "input": "three whole numbers, such as 3,224,224",
    "workers": "a whole number of at least 0, or auto",
    "cache": "true, false or auto",
    "options": "options.NAME=VALUE",
}


def _kind(annotation: Any) -> str:
    """What values of a type are called."""
    if get_origin(annotation) is tuple:
        return {int: "whole numbers", float: "numbers", str: "transforms"}[
            get_args(annotation)[0]
        ] + " with commas between"
    return {int: "a whole number", float: "a number", bool: "true or false"}.get(annotation, "a text")
