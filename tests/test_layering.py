"""The rooms of the package, and who may import whom: each imports only rooms before it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "tvhelpers"
ROOMS = """flats data models lora train sample score show study experiments cli""".split()
PLOTS = {"show", "study", "experiments"}  # the rooms that import matplotlib and ipywidgets
COMMON = set(
    """config errors files hub runtime progress manifest icc image output text records paths
words record_kinds tensors presets""".split()
)
ALONE = {  # and what of ours they import: each is read alone
    "config.py": {"tvhelpers.errors", "tvhelpers.presets"},
    "presets.py": set(),
    "errors.py": set(),
    "train/diffusion.py": set(),
    "score/statistics.py": set(),
    "score/metrics.py": {"tvhelpers.score.statistics", "tvhelpers.words"},
    "score/distances.py": {"tvhelpers.score.statistics", "tvhelpers.score.metrics"},
}
MODULES = sorted(PACKAGE.rglob("*.py"))
RECIPES = sorted((PACKAGE.parent / "recipes").rglob("*.py"))


def imports(path: Path) -> set[str]:
    """Every dotted name that a module imports, at its top or inside a function."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by the full name"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def heads(path: Path) -> set[str]:
    """Return the packages that a module imports from."""
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_rooms_before_it(path):
    place = path.relative_to(PACKAGE)
    names = {name for name in imports(path) if name.startswith("tvhelpers.")}
    ours = {name.split(".")[1] for name in names}
    if place.as_posix() in ALONE:
        assert {name.rpartition(".")[0] for name in names} <= ALONE[place.as_posix()]
    elif place.parts[0] in ROOMS:
        allowed = {*ROOMS[: ROOMS.index(place.parts[0]) + 1], *COMMON}
        assert ours <= allowed, f"{place} imports {sorted(ours - allowed)}"
    else:
        assert place.stem in {*COMMON, "__init__", "__main__"}, f"{place} is in no room"
        assert ours <= COMMON or place.stem == "__main__"


def test_no_import_goes_in_a_circle():
    """Imports at the top of modules; one inside a function waits until all are loaded."""
    below, known = {}, {_dotted(path) for path in MODULES}
    for path in MODULES:
        tops = ast.parse(path.read_text()).body
        nodes = [node for node in tops if isinstance(node, ast.ImportFrom)]
        pairs = {(node.module, alias.name) for node in nodes for alias in node.names}
        below[_dotted(path)] = {
            f"{module}.{name}" if f"{module}.{name}" in known else module for module, name in pairs
        }
    below = {name: found & known - {name} for name, found in below.items()}
    while free := [name for name, found in below.items() if not found]:
        below = {name: found - {*free} for name, found in below.items() if name not in free}
    assert not below


def _dotted(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(
        ".__init__"
    )


def test_each_module_begins_with_a_question():
    for path in MODULES:
        text = ast.get_docstring(ast.parse(path.read_text()))
        if (path.name != "__main__.py" and path.parent != PACKAGE) or path.stem in COMMON:
            assert "?" in text.split("\n\n")[0], f"{path}: {text}"


def test_public_classes_and_functions_have_docstrings():
    kinds, without = (ast.ClassDef, ast.FunctionDef), []
    for path in MODULES:
        tree = ast.parse(path.read_text())
        members = [x.body for x in ast.walk(tree) if isinstance(x, ast.ClassDef)]
        for node in (x for body in (tree.body, *members) for x in body if isinstance(x, kinds)):
            if not node.name.startswith("_") and not ast.get_docstring(node):
                without.append(f"{path.relative_to(PACKAGE)}:{node.lineno} {node.name}")
    assert not without


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_only_rooms_that_show_import_plots_and_widgets(path):
    seen = heads(path)
    if path.relative_to(PACKAGE).parts[0] not in PLOTS:
        assert not seen & {"matplotlib", "ipywidgets", "IPython"}


def test_recipes_import_the_package_and_never_the_reverse():
    assert RECIPES and not [path for path in MODULES if "recipes" in heads(path)]
    for path in RECIPES:
        assert not heads(path) & {"tests", "benchmarks", "notebooks"}


def test_config_needs_the_standard_library_alone():
    assert heads(PACKAGE / "config.py") <= {*sys.stdlib_module_names, "tvhelpers"}  # errors.py
    assert heads(PACKAGE / "errors.py") <= sys.stdlib_module_names


def test_importing_the_package_and_its_command_line_loads_no_torch():
    modules = "tvhelpers.cli, tvhelpers.sample.request"  # a bad argument is refused at once
    code = f"import sys, {modules}; print([m for m in ('torch', 'numpy') if m in sys.modules])"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        == "[]\n"
    )
