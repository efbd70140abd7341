"""Caffe's blobs as an .npz of name → array: how weights of NIN, CNN-F, CNN-M, CNN-S, ZF net and AlexNet go around.

A convolution's weights are [out, in, height, width], those of a fully connected layer [out, in], biases [out]. Names
are the layer's, then what it is: conv1.weight and conv1.bias, conv1_w and conv1_b, conv1/weights and conv1/biases, or
Caffe's numbers of the blobs, conv1/0 and conv1/1.

Caffe's published networks read their images in the order blue, green, red; networks here read red, green, blue. No
array says which it is, so the file's name must: `cnn_s.npz:bgr` turns the channels of the layer that reads the image
around, `cnn_s.npz:rgb` leaves them. Nothing is unpickled.
"""

from __future__ import annotations

import math
import re
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor

from foveal.errors import FovealError

_SUFFIX = re.compile(r"(?P<layer>.+?)(?:[._/:](?P<name>weights?|w|bias(?:es)?|b)|[./:](?P<number>[01]))", re.IGNORECASE)
_CHANNELS = re.compile(r"(?P<path>.+):(?P<order>bgr|rgb)", re.IGNORECASE)
_LARGEST = 16 * 2**30  # bytes of arrays in one file
_NAMES = "name them LAYER.weight and LAYER.bias, or LAYER_w and LAYER_b"


def split_order(file: str | Path) -> tuple[Path, str]:
    """`cnn_s.npz:bgr` as its path and "bgr" (or "rgb"); another name as it is, with ""."""
    path = Path(file).expanduser()
    found = _CHANNELS.fullmatch(str(path))
    if found is None or path.exists():
        return path, ""
    return Path(found["path"]), found["order"].lower()


def is_npz(path: Path) -> bool:
    """Whether a file is a zip of .npy arrays and of nothing else. A damaged zip is none: PyTorch's reader says so."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, RuntimeError):
        return False
    return bool(names) and all(name.endswith(".npy") for name in names)


def read_blobs(path: Path, order: str) -> tuple[dict[str, Tensor], list[str]]:
    """The arrays as LAYER.weight and LAYER.bias, red first in the layer that reads the image, and what was done.

    Raises FovealError for a damaged file, arrays of objects, names that say neither weight nor bias, and where `order`
    is "" although a layer reads three channels.
    """
    tensors: dict[str, Tensor] = {}
    for name, array in _arrays(path).items():
        tensors[_renamed(path, name, array)] = torch.from_numpy(array)
    first = [name for name, value in tensors.items() if value.ndim == 4 and value.shape[1] == 3]
    if not first:
        if order:
            raise FovealError(
                f"{path}: no layer reads three channels, so :{order} means nothing", f"leave :{order} away"
            )
        return tensors, []
    if len(first) > 1:
        raise FovealError(f"{path}: {', '.join(first)} all read three channels", "which one reads the image is unclear")
    if not order:
        raise FovealError(
            f"{path} does not say in which order {first[0]} reads the colours",
            f"write {path}:bgr (blue first, as Caffe's published networks) or {path}:rgb",
        )
    if order == "rgb":
        return tensors, ["colours as stored: red, green, blue"]
    tensors[first[0]] = tensors[first[0]].flip(1)
    return tensors, [f"colours of {first[0]} turned around, from blue first to red first"]


def _arrays(path: Path) -> dict[str, Any]:
    """The arrays by name, after each header was compared with the room that its member takes."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > _LARGEST:
                raise FovealError(f"{path} holds more than {_LARGEST >> 30} GiB", "this is no file of weights")
            for member in members:
                _check_header(path, archive, member)
        with np.load(path, allow_pickle=False) as stored:
            return {name: np.ascontiguousarray(stored[name]) for name in stored.files}
    except (OSError, ValueError, EOFError, KeyError, RuntimeError, MemoryError, zipfile.BadZipFile) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise FovealError(f"{path} cannot be read as arrays: {reason}", "save it with numpy.savez") from error


def _check_header(path: Path, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> None:
    with archive.open(member) as stream:
        version = npy.read_magic(stream)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(stream)
        size = stream.tell() + math.prod(shape) * dtype.itemsize
    if dtype.kind != "f":
        raise FovealError(
            f"{path}: {member.filename} is of type {dtype}, not floating point", "leave it out of the file"
        )
    if size != member.file_size:
        raise FovealError(f"{path}: {member.filename} has {member.file_size:,} bytes, its header says {size:,}")


def _renamed(path: Path, name: str, array: Any) -> str:
    """`conv1_w` as conv1.weight. FovealError for a name without an end of the kind, or an array it cannot be."""
    found = _SUFFIX.fullmatch(name)
    if found is None:
        raise FovealError(f"{path}: '{name}' says neither weight nor bias", _NAMES)
    leaf = "bias" if found["number"] == "1" or (found["name"] or "").lower().startswith("b") else "weight"
    dims = (1,) if leaf == "bias" else (2, 4)
    if array.ndim not in dims:
        raise FovealError(
            f"{path}: '{name}' has {array.ndim} dimensions", "weights are [out, in, h, w] or [out, in], biases [out]"
        )
    return f"{found['layer']}.{leaf}"
