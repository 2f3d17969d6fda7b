"""The house rules of the source tree, read off its syntax: its rooms, who may import whom, and what only one place may do."""

import ast
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import cache
from graphlib import CycleError, TopologicalSorter
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
MOST_FILES = 14
# Each file there stands by itself.
CROWDED = {
    "launch", "agents", "tests/agents", "tests/helpers",
    "tests/benchmarks", "tests/benchmarks/warm",
}  # fmt: skip
MOST_PARAMETERS = 6  # beside self
# Whose parameters others write by name, in a configuration, a notebook or a call of Gymnasium's.
NAMED_BY_OTHERS = {
    ("actor/robots/franka_env.py", "__init__"), ("actor/robots/lerobot_leader.py", "__init__"),
    ("actor/simulators/gym_hil_tasks.py", "make_gym_hil"), ("launch/notebooks/collector.py", "collect_from_policy"),
    ("launch/notebooks/trainer.py", "__init__"), ("data/inspection/inspector.py", "inspect"), ("data/episode.py", "make_steps"),
}  # fmt: skip
# Of the commands that judge, and of a reader: to be shortened. No other joins them.
STILL_LONG = {
    ("actor/films/video.py", "record_video"), ("learner/judging/fqe.py", "estimates"), ("learner/judging/fqe.py", "fit"),
    ("learner/judging/fqe.py", "_run"), ("launch/judging/select.py", "_candidates"),
    ("launch/parts/demo_parts.py", "summarise"), ("data/formats/minari/episodes.py", "to_part"),
}  # fmt: skip
SHARED_NAMES = {"__init__.py", "conftest.py", "config.py"}  # users import the actor's and the learner's settings by that name
PICKLERS = {"pickle", "cloudpickle", "dill", "joblib"}
ABSL_LOGGING = "launch/flags/common.py"  # which formats absl's own messages
UNPICKLER = "data/formats/pickles/safe_pickle.py"
NEAR_NAMES = "data/settings/near_names.py"  # which alone compares names


@cache
def parsed(source: str) -> ast.Module:
    """A file's syntax; every rule below reads it."""
    return ast.parse(source)


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
    names = imported_names(parsed(source), module, is_package=is_package)
    forbidden = tuple(f"warmloop.{other}." for other in ALLOWED.keys() - ALLOWED[folder])
    return [name for name in names if f"{name}.".startswith(forbidden)]


def bare_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """The imports that name a house folder without its package: they work only where the repository is the working directory."""
    names = imported_names(parsed(source), module, is_package=is_package)
    return [name for name in names if name.split(".")[0] in ALLOWED]


def needless_linen(source: str) -> bool:
    """Whether a file imports flax.linen and yet defines no module of its own."""
    tree = parsed(source)
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
    nodes = (node for node in ast.walk(parsed(source)) if runs_what_a_file_says(node))
    return [f"line {getattr(node, 'lineno', 0)}: {ast.unparse(node)}" for node in nodes]


def imports(source: str, module: str) -> bool:
    """Whether a file imports a module of another package, or something of it, anywhere."""
    if module.partition(".")[0] not in source:
        return False
    return any(f"{name}.".startswith(f"{module}.") for name in imported_names(parsed(source), "warmloop.x", is_package=False))


def arrows(files: Mapping[str, tuple[str, bool]]) -> dict[str, set[str]]:
    """Who imports whom among modules, each given by its name as its source and whether it is a package."""
    found: dict[str, set[str]] = {}
    for module, (source, is_package) in files.items():
        found[module] = set()
        for name in imported_names(parsed(source), module, is_package=is_package):
            while name and name not in files:
                name = name.rpartition(".")[0]
            found[module] |= {name} - {"", module}
    return found


def circle(files: Mapping[str, tuple[str, bool]]) -> list[str]:
    """Modules that import each other in a circle, from one to itself again; none where there is no circle."""
    try:
        TopologicalSorter(arrows(files)).prepare()
    except CycleError as error:
        return error.args[1]
    return []


def crowded(paths: Iterable[Path]) -> dict[str, int]:
    """The folders that hold more files than a person looks over at once, and how many."""
    counts = Counter(path.parent.as_posix() for path in paths)
    return {folder: count for folder, count in counts.items() if count > MOST_FILES and folder not in CROWDED}


def shared_names(paths: Iterable[Path]) -> list[Path]:
    """Files that have a name of another file, but for a benchmark, which is named after what it measures."""
    named = [path for path in paths if path.name not in SHARED_NAMES and path.parts[:2] != ("tests", "benchmarks")]
    counts = Counter(path.name for path in named)
    return sorted(path for path in named if counts[path.name] > 1)


def long_signatures(source: str) -> dict[str, int]:
    """The functions of a file that take more than MOST_PARAMETERS beside self, and how many; `*args` and `**kwargs` count as one each."""
    found = {}
    for node in ast.walk(parsed(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            taken = node.args
            names = [*taken.posonlyargs, *taken.args, *taken.kwonlyargs, *filter(None, (taken.vararg, taken.kwarg))]
            count = len([each for each in names if each.arg not in ("self", "cls")])
            found |= {node.name: count} if count > MOST_PARAMETERS else {}
    return found


def python_files() -> list[Path]:
    """Every Python file of the repository, by its path from the root."""
    return sorted(path.relative_to(ROOT) for folder in ALLOWED.keys() | OTHER_FOLDERS for path in (ROOT / folder).rglob("*.py"))


def sources() -> list[Path]:
    """Every hand-written source file of the package below its root."""
    return sorted(path for folder in ALLOWED for path in (ROOT / folder).rglob("*.py") if "_pb2" not in path.name)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["warmloop", *(parts[:-1] if path.name == "__init__.py" else parts)])


def of_sources(rule: Callable[[Path], object]) -> dict[str, object]:
    """What a rule finds in each source file, by the file's path, where it finds anything."""
    return {path.relative_to(ROOT).as_posix(): found for path in sources() if (found := rule(path))}


def of_modules(rule: Callable[..., list[str]]) -> dict[str, object]:
    """The same for a rule of imports, which must know a file's place."""
    return of_sources(lambda path: rule(path.read_text(), module_name(path), is_package=path.name == "__init__.py"))


def test_imports_point_one_way():
    assert of_modules(forbidden_imports) == {}


def test_the_house_is_never_imported_by_bare_folder_names():
    assert of_modules(bare_imports) == {}


def test_only_files_that_define_modules_import_linen():
    assert of_sources(lambda path: needless_linen(path.read_text())) == {}


def test_only_the_restricted_unpickler_unpickles():
    assert set(of_sources(lambda path: unsafe_loads(path.read_text()))) == {UNPICKLER}


def test_messages_go_through_the_loggers_of_the_house():
    """Those are what a command shows, and what is switched on again when users' code has switched logging off."""
    assert set(of_sources(lambda path: imports(path.read_text(), "absl.logging"))) == {ABSL_LOGGING}


def test_only_one_module_looks_for_near_names():
    top = sorted(path.relative_to(ROOT) for path in ROOT.glob("*.py"))
    assert [path.as_posix() for path in [*top, *python_files()] if imports((ROOT / path).read_text(), "difflib")] == [NEAR_NAMES]


def test_the_top_level_folders_are_the_agreed_ones():
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")}
    assert folders - BUILT_FOLDERS <= ALLOWED.keys() | OTHER_FOLDERS
    assert ALLOWED.keys() <= folders


def test_no_files_import_each_other_in_a_circle():
    assert circle({module_name(path): (path.read_text(), path.name == "__init__.py") for path in sources()}) == []


def test_no_folder_is_crowded():
    assert crowded(python_files()) == {}


def test_no_two_files_share_a_name():
    assert shared_names(python_files()) == []


def test_no_function_takes_more_than_six_parameters():
    found = {(path.relative_to(ROOT).as_posix(), name) for path in sources() for name in long_signatures(path.read_text())}
    assert found - NAMED_BY_OTHERS - STILL_LONG == set()
    assert (NAMED_BY_OTHERS | STILL_LONG) - found == set(), "what is short now is no exception"


def test_a_long_signature_is_found_wherever_its_parameters_stand():
    assert long_signatures("class A:\n    def f(self, a, b, /, c, *d, e, f, **g): ...") == {"f": 7}
    assert long_signatures("async def f(a, b, c, d, e, f, g): ...") == {"f": 7}
    assert long_signatures("def f(self, a, b, c, d, e, f): ...\n\nclass B:\n    @classmethod\n    def g(cls, a, b, c, d, e, f): ...") == {}


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


def test_a_circle_is_found_wherever_its_imports_stand():
    files = {
        "warmloop.data": ("", True),
        "warmloop.data.a": ("from . import b", False),
        "warmloop.data.b": ("def f():\n    from .c import g", False),
        "warmloop.data.c": ("if TYPE_CHECKING:\n    from warmloop.data.a import h", False),
    }
    assert {"warmloop.data.a", "warmloop.data.b", "warmloop.data.c"} == set(circle(files))
    assert circle(files | {"warmloop.data.c": ("from .. import data\nimport numpy.a", False)}) == []


def test_a_crowded_folder_and_a_name_that_occurs_twice_are_found():
    assert crowded([Path("data", f"{number}.py") for number in range(MOST_FILES + 1)]) == {"data": MOST_FILES + 1}
    assert crowded([Path("data", f"{number}.py") for number in range(MOST_FILES)]) == {}
    twice = [Path("actor/loop.py"), Path("learner/loop.py")]
    assert shared_names([*twice, Path("actor/config.py"), Path("learner/config.py"), Path("tests/benchmarks/loop.py")]) == twice


def test_an_import_of_a_module_is_found_in_each_of_its_forms():
    for source in ("import difflib", "import difflib as d", "from difflib import get_close_matches", "def f():\n    import difflib"):
        assert imports(source, "difflib")
    assert not imports("import difflibs\nfrom .difflib import near", "difflib")


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
