"""The generated reference says everything, and the page of metrics names what the code records."""

import ast
import dataclasses
import importlib
import re
from collections.abc import Iterator

import pytest
import settings_reference
from documents import DOCS, ROOT, blocks, pages
from site_hook import as_on_github, with_generated

from warmloop.actor.environment import EnvironmentConfig
from warmloop.agents import AGENTS
from warmloop.configs.schema import RunConfig, to_dict

RECORDED = [
    "tokens",
    "actor",
    "actors",
    "best",
    "critic",
    "evaluation",
    "grasp",
    "model",
    "heldout",
    "intake",
    "journal",
    "learner",
    "model",
    "normaliser",
    "recent",
    "replay",
    "vae",
    "value",
]
NAME = re.compile(rf"(?:{'|'.join(RECORDED)})/[\w/{{}}]+")


@pytest.fixture(scope="module")
def settings_page() -> str:
    return settings_reference.page()


def test_every_setting_of_a_run_is_on_the_page_with_its_default_and_a_meaning(settings_page):
    rows = {row[0]: row[1:] for row in re.findall(r"^\| `([\w.]+)` \| (.*?) \| (.+?) \| (.+?) \|$", settings_page, re.MULTILINE)}
    for section, values in to_dict(RunConfig(EnvironmentConfig("Pendulum-v1"))).items():
        if section not in ("agent", "warmup_agent"):
            assert {f"{section}.{name}" for name in values} <= rows.keys()
    for _, config in AGENTS.values():
        own = {field.name for field in dataclasses.fields(config)} - {"vision"}
        assert {f"agent.{name}" for name in own} <= rows.keys()
    assert rows["learner.port"] == ("`5488`", "in [0, 65535]", "where the learner listens; port 0 takes any free one.")
    assert rows["reward.signal"][1] == '"environment" or "success"' and rows["agent.vision.features"][0] == "`64`"


def test_a_setting_may_be_explained_by_the_comment_at_the_end_of_its_line():
    assert settings_reference.meanings_of(Commented) == {"rate": "of learning", "steps": "how many."}


def test_a_range_is_what_the_error_for_another_value_says():
    assert settings_reference.range_of(AGENTS["iql"][1](), "expectile", float) == "above 0 and below 1"
    assert settings_reference.range_of(AGENTS["bc"][1](), "deterministic", bool) == "`True`, `False`"


def test_the_page_of_metrics_names_what_the_code_records_and_nothing_else():
    fixed, patterns = recorded_names()
    listed = {name.removesuffix("/TASK") for name in re.findall(r"`([a-z]+/[\w/]+)`", (DOCS / "reference" / "metrics.md").read_text())}
    assert len(fixed) > 60 and fixed <= listed, f"not on the page: {sorted(fixed - listed)}"
    unknown = {name for name in listed - fixed if not any(pattern.fullmatch(name) for pattern in patterns)}
    assert unknown == set(), "on the page, and in no code"


def test_marks_are_replaced_and_lists_are_read_as_on_github():
    assert "| `learner.port` |" in with_generated("# Title\n\n<!-- generated: settings -->\n")
    assert as_on_github("text\n- a\n- b\n  | t |\n\nnext") == "text\n\n- a\n- b\n    | t |\n\nnext"
    assert as_on_github("```text\nx\n- a\n```") == "```text\nx\n- a\n```"


def test_what_the_documents_import_of_warmloop_is_there():
    code = [(page.name, block.text) for page in pages() for block in blocks(page.read_text()) if block.language == "python"]
    found = [(page, node) for page, text in code for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)]
    named = [(page, node.module or "", alias.name) for page, node in found for alias in node.names]
    ours = [(page, module, name) for page, module, name in named if module.split(".")[0] == "warmloop"]
    assert len(ours) > 20
    assert [one for one in ours if not hasattr(importlib.import_module(one[1]), one[2])] == []


def recorded_names() -> tuple[set[str], list[re.Pattern[str]]]:
    """Names of metrics in the code: those that stand there whole, and patterns for those that are put together."""
    fixed, patterns = set(), []
    for path in (path for folder in ("agents", "actor", "learner") for path in (ROOT / folder).rglob("*.py")):
        for key in keys(ast.parse(path.read_text())):
            if isinstance(key, ast.Constant) and NAME.fullmatch(key.value):
                fixed.add(key.value)
            elif isinstance(key, ast.JoinedStr):
                parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in key.values]
                name = "".join(parts).replace("{}/", "(best|recent)/") if parts[0] == "{}" else "".join(parts)
                if re.match(rf"({'|'.join(RECORDED)}|\(best\|recent\))/.*[a-z{{]", name) and name != "(best|recent)/{}":
                    patterns.append(re.compile(name.replace("{}", r"[\w/]+")))
    return fixed, patterns


def keys(tree: ast.Module) -> Iterator[ast.expr]:
    """Texts by which values are put into dicts, and texts that a module gives a name."""
    for node in ast.walk(tree):
        found: list[ast.AST | None] = []
        if isinstance(node, ast.Dict):
            found = [*node.keys]
        elif isinstance(node, ast.DictComp):
            found = [node.key]
        elif isinstance(node, ast.Assign):
            found = [part for target in node.targets if isinstance(target, ast.Subscript) for part in ast.walk(target.slice)]
            found += [node.value] if node in tree.body else []
        for key in found:
            if isinstance(key, ast.JoinedStr) or (isinstance(key, ast.Constant) and isinstance(key.value, str)):
                yield key


@dataclasses.dataclass(frozen=True)
class Commented:
    """Settings.

    Attributes:
        steps: how
            many.
    """

    rate: float = 0.1  # of learning
    steps: int = 3
