"""Image loading: file to uint8 [3, 224, 224] by resize(256) and center_crop(224), against Pillow and torchvision.

    python benchmarks/image_loading.py --images FOLDER

FOLDER holds real photographs (JPEG or PNG); small (500x375) and 12-megapixel (4000x3000) JPEGs of quality 90 are made
from them. The routes take turns, list of images by list of images; the figures are medians over the turns, and the
ratios are of these medians. Everything is read from the page cache. Prints Markdown.
"""

from __future__ import annotations

import argparse
import io
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import PIL
import torch
import torchvision
from PIL import Image
from torch import Tensor
from torchvision.transforms import v2

from foveal.data.image import load_image
from foveal.data.pipeline import Pipeline

SIDE, CROP = 256, 224
KINDS = {"500x375": (500, 375), "4000x3000": (4000, 3000)}
Route = Callable[[str], Tensor]


def foveal_route() -> Route:
    """load_image with draft decoding, then the pipeline's own steps."""
    pipeline = Pipeline((f"resize({SIDE})", f"center_crop({CROP})"), (), (3, CROP, CROP))
    return lambda path: pipeline.prepare(load_image(path, mode="RGB", min_side=pipeline.min_side(train=False)))


def pillow(path: str) -> Tensor:
    """Decode, resize, crop as torchvision's reference training script does it with PIL images."""
    with Image.open(path) as image:
        colour = image.convert("RGB")
    width, height = colour.size
    scale = SIDE / min(width, height)
    width, height = max(SIDE, int(width * scale)), max(SIDE, int(height * scale))
    resized = colour.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (width - CROP) // 2, (height - CROP) // 2
    return torch.from_numpy(np.array(resized.crop((left, top, left + CROP, top + CROP)))).permute(2, 0, 1).contiguous()


def torchvision_route() -> tuple[str, Route]:
    """torchvision's own JPEG decoder where this build has it, otherwise PIL, and v2 transforms on tensors."""
    steps = v2.Compose([v2.Resize(SIDE, antialias=True), v2.CenterCrop(CROP)])
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "JPEG")
    data = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
    try:
        torchvision.io.decode_jpeg(data)
    except (RuntimeError, AttributeError):

        def from_pil(path: str) -> Tensor:
            with Image.open(path) as image:
                result: Tensor = steps(v2.functional.pil_to_tensor(image.convert("RGB")))
            return result

        return "torchvision (PIL decode + v2)", from_pil

    def from_io(path: str) -> Tensor:
        mode = torchvision.io.ImageReadMode.RGB
        result: Tensor = steps(torchvision.io.decode_jpeg(torchvision.io.read_file(path), mode=mode))
        return result

    return "torchvision (io.decode_jpeg + v2)", from_io


def make_files(sources: Sequence[Path], size: tuple[int, int], folder: Path) -> list[str]:
    """JPEGs of one size from photographs of any."""
    folder.mkdir()
    files = []
    for number, source in enumerate(sources):
        with Image.open(source) as image:
            picture = image.convert("RGB").resize(size, Image.Resampling.LANCZOS)
        files.append(str(folder / f"{number}.jpg"))
        picture.save(files[-1], quality=90)
    return files


def rate(route: Route, files: Sequence[str], threads: int) -> float:
    """Images per second of one turn through the list."""
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(route, files[:threads]))  # starts the threads
        begin = time.perf_counter()
        for image in pool.map(route, files):
            assert image.shape == (3, CROP, CROP)
        return len(files) / (time.perf_counter() - begin)


def difference(route: Route, files: Sequence[str]) -> float:
    """Mean absolute difference to Pillow's result, of 255."""
    return statistics.mean(float((route(f).float() - pillow(f).float()).abs().mean()) for f in files)


def main() -> None:
    """Make the files, let the routes take turns, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=Path, required=True, help="folder of photographs, searched in full")
    parser.add_argument("--small", type=int, default=96, help="number of small images (default 96)")
    parser.add_argument("--large", type=int, default=12, help="number of 12-megapixel images (default 12)")
    parser.add_argument("--turns", type=int, default=9, help="turns of each route (default 9)")
    options = parser.parse_args()
    sources = sorted(p for p in options.images.rglob("*") if p.suffix.lower() in {".jpg", ".jpeg", ".png"})
    if not sources:
        sys.exit(f"{options.images} holds no JPEG or PNG files: give a folder of photographs")
    torch.set_num_threads(1)  # threads are those of the pool
    theirs, torchvision_loader = torchvision_route()
    routes: dict[str, Route] = {"foveal": foveal_route(), "Pillow": pillow, theirs: torchvision_loader}
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, torch {torch.__version__}, ", end="")
    print(f"torchvision {torchvision.__version__}, Pillow {PIL.__version__}; {options.turns} turns, medians\n")
    print("| images | threads | route | images/s | foveal is faster by | mean difference to Pillow (of 255) |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for kind, size in KINDS.items():
            count = options.small if kind == "500x375" else options.large
            chosen = sources[:: max(1, len(sources) // count)][:count]
            files = make_files(chosen, size, Path(folder) / kind)
            apart = {name: difference(route, files) for name, route in routes.items()}
            for threads in (1, 2):
                rates: dict[str, list[float]] = {name: [] for name in routes}
                for _ in range(options.turns):
                    for name, route in routes.items():
                        rates[name].append(rate(route, files, threads))
                ours = statistics.median(rates["foveal"])
                for name, values in rates.items():
                    middle = statistics.median(values)
                    print(
                        f"| {kind} | {threads} | {name} | {middle:.1f} ({min(values):.1f} to {max(values):.1f}) "
                        f"| {ours / middle:.2f}x | {apart[name]:.2f} |",
                        flush=True,
                    )


if __name__ == "__main__":
    main()
