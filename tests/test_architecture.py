"""The shape of the package: imports flow one way, and importing it costs nothing."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "foveal"

# From the ground up. A file may import from its own floor and from those below it.
FLOORS = [
    {"errors", "types", "catalog", "memory"},
    {"layers", "boxes", "proposals"},
    {"graph", "notation"},
    {"models", "inference"},
    {"weights"},
    {"data", "metrics", "results", "classical"},
    {"tasks"},
    {"protocols", "explanations"},
    {"training"},
    {"recipes"},
    {"evaluation", "prediction"},
    {"exporting"},
    {"report"},
    {"experiment"},
    {"studies"},
    {"contracts"},
    {"cli"},
]


def floor(module: str) -> int:
    for height, names in enumerate(FLOORS):
        if module in names:
            return height
    raise AssertionError(f"{module} stands on no floor; place it in FLOORS")


def imported_rooms(file: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []  # names for the type checker are no dependency at run time
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("foveal"):
            parts = (node.module or "").split(".")
            rooms |= {parts[1]} if len(parts) > 1 else {a.name for a in node.names if (SOURCE / a.name).exists()}
            rooms |= {a.name for a in node.names if parts == ["foveal"] and (SOURCE / f"{a.name}.py").exists()}
    return rooms


FILES = [
    file for file in sorted(SOURCE.rglob("*.py")) if file.parent != SOURCE or file.stem not in ("__init__", "__main__")
]


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_flow_one_way(file: Path) -> None:
    own = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    above = {room for room in imported_rooms(file) if floor(room) > floor(own)}
    assert not above, f"{file.relative_to(SOURCE)} ({own}) imports from above: {above}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(SOURCE)))
def test_no_file_is_longer_than_a_sitting(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 420


def test_importing_foveal_does_not_load_torch() -> None:
    code = "import sys, foveal, foveal.cli.app; sys.exit('torch' in sys.modules or 'pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_large_tensors_lie_on_huge_pages_unless_somebody_objects() -> None:
    code = "import os, foveal; print(os.environ.get('THP_MEM_ALLOC_ENABLE'))"
    for before, after in ((None, "1" if sys.platform == "linux" else "None"), ("0", "0")):
        given = {key: value for key, value in os.environ.items() if key != "THP_MEM_ALLOC_ENABLE"}
        given |= {} if before is None else {"THP_MEM_ALLOC_ENABLE": before}
        done = subprocess.run([sys.executable, "-c", code], env=given, check=True, capture_output=True, text=True)
        assert done.stdout.strip() == after


def test_every_public_verb_is_there() -> None:
    import foveal

    for verb in foveal._VERBS:
        assert callable(getattr(foveal, verb)), verb
