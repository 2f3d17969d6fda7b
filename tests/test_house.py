"""The house rules of the source tree, read off its syntax: who may import whom, and what only one place may do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ALLOWED = {
    "data": {"data"},
    "agents": {"data", "agents"},
    "learner": {"data", "agents", "learner"},
    "actor": {"data", "agents", "actor"},
    "configs": {"data", "agents", "learner", "actor", "configs"},
    "launch": {"data", "agents", "learner", "actor", "configs", "launch"},
}
OTHER_FOLDERS = {"tests", "docs"}
BUILT_FOLDERS = {"__pycache__", "build", "dist", "runs", "warmloop.egg-info"}
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib"}
UNPICKLER = "data/formats/safe_pickle.py"


def imported_names(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[str]:
    """Absolute dotted name of everything that `module` imports, anywhere in it; `from a import b` yields `a.b`."""
    package = module.split(".") if is_package else module.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            origin = [*base, *([node.module] if node.module else [])]
            yield from (".".join([*origin, alias.name]) for alias in node.names)


def forbidden_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports of a house module that point against the house's direction."""
    folder = module.split(".")[1]
    names = imported_names(ast.parse(source), module, is_package=is_package)
    forbidden = tuple(f"warmloop.{other}." for other in ALLOWED.keys() - ALLOWED[folder])
    return [name for name in names if f"{name}.".startswith(forbidden)]


def bare_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports that name a house folder without its package: they work only where the repository is the working directory."""
    names = imported_names(ast.parse(source), module, is_package=is_package)
    return [name for name in names if name.split(".")[0] in ALLOWED]


def needless_linen(source: str) -> bool:
    """Whether a file imports flax.linen and yet defines no module of its own."""
    tree = ast.parse(source)
    imports = any(name.startswith("flax.linen") for name in imported_names(tree, "warmloop.x", is_package=False))
    bases = [base for node in ast.walk(tree) if isinstance(node, ast.ClassDef) for base in node.bases]
    return imports and not any(ast.unparse(base).endswith("Module") for base in bases)


def runs_what_a_file_says(node: ast.AST) -> bool:
    """Whether a piece of syntax reads files that can name code to run: pickles, and numpy arrays of objects."""
    match node:
        case ast.Attribute(value=ast.Name(id=module), attr="load" | "loads" | "Unpickler"):
            return module in PICKLERS
        case ast.ImportFrom(module=module):
            return module in PICKLERS
        case ast.Import(names=names):
            return any(alias.name in PICKLERS and alias.asname for alias in names)
        case ast.keyword(arg="allow_pickle", value=value):
            return ast.unparse(value) != "False"
    return False


def unsafe_loads(source: str) -> list[str]:
    """The lines of a file that read what could run code."""
    nodes = (node for node in ast.walk(ast.parse(source)) if runs_what_a_file_says(node))
    return [f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}" for node in nodes]


def sources() -> list[Path]:
    """Every hand-written source file of the package below its root."""
    return sorted(path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py") if "_pb2" not in path.name)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["warmloop", *(parts[:-1] if path.name == "__init__.py" else parts)])


@pytest.fixture(params=sources(), ids=lambda path: str(path.relative_to(ROOT)))
def source_file(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_imports_point_one_way(source_file: Path):
    is_package = source_file.name == "__init__.py"
    assert forbidden_imports(source_file.read_text(), module_name(source_file), is_package=is_package) == []


def test_the_house_is_never_imported_by_bare_folder_names(source_file: Path):
    is_package = source_file.name == "__init__.py"
    assert bare_imports(source_file.read_text(), module_name(source_file), is_package=is_package) == []


def test_only_files_that_define_modules_import_linen(source_file: Path):
    assert not needless_linen(source_file.read_text())


def test_only_the_restricted_unpickler_unpickles(source_file: Path):
    if source_file != ROOT / UNPICKLER:
        assert unsafe_loads(source_file.read_text()) == []


def test_the_top_level_folders_are_the_agreed_ones():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders - BUILT_FOLDERS <= ALLOWED.keys() | OTHER_FOLDERS
    assert ALLOWED.keys() <= folders


def test_every_code_folder_is_a_package():
    holders = {path.parent for path in sources()}
    assert [str(folder) for folder in sorted(holders) if not (folder / "__init__.py").is_file()] == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("warmloop.data.replay", "from ..agents import sac"),
        ("warmloop.data.formats.npz", "from ...launch.demo import main"),
        ("warmloop.agents.sac", "def f():\n    from .. import learner"),
        ("warmloop.actor.loop", "from warmloop.learner.step import step"),
        ("warmloop.learner.step", "import warmloop.actor.loop"),
        ("warmloop.actor.loop", "from ..configs.schema import Config"),
        ("warmloop.configs.schema", "from ..launch import local"),
    ],
)
def test_an_import_against_the_direction_is_found(module: str, source: str):
    assert len(forbidden_imports(source, module)) == 1


def test_an_import_along_the_direction_is_allowed():
    assert forbidden_imports("from ..data.replay import draw\nfrom .networks import MLP\nimport jax", "warmloop.agents.sac") == []
    assert forbidden_imports("from .base import Agent\nfrom ..data import replay", "warmloop.agents", is_package=True) == []
    assert forbidden_imports("from .. import __version__", "warmloop.launch.demo") == []


def test_a_bare_import_of_a_folder_is_found():
    assert bare_imports("from agents.sac import SAC", "warmloop.learner.step") == ["agents.sac.SAC"]


def test_linen_without_a_module_is_found():
    assert needless_linen("import flax.linen as nn\n\ndef f():\n    return nn.relu")
    assert needless_linen("from flax import linen as nn")
    assert not needless_linen("import flax.linen as nn\n\nclass MLP(nn.Module):\n    width: int")


@pytest.mark.parametrize(
    "source",
    [
        "import pickle\npickle.load(f)",
        "import pickle as p\np.load(f)",
        "from pickle import loads",
        "np.load(f, allow_pickle=True)",
        "class Reader(pickle.Unpickler): ...",
    ],
)
def test_unsafe_loading_is_found(source: str):
    assert len(unsafe_loads(source)) == 1


def test_safe_loading_and_pickling_are_allowed():
    assert unsafe_loads("import pickle\npickle.dump(x, f)\nnp.load(f, allow_pickle=False)\njson.loads(s)") == []
