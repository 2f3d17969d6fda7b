"""Every command that the documents name is there, and every flag in them is one of that command's."""

import re
from pathlib import Path

import flags_reference
import pytest
import settings_reference
from documents import DOCS, ROOT, pages, shell_lines, words

from warmloop.configs import load
from warmloop.launch.starting.commands import COMMANDS, VERBS

MODULES = {module: name for name, module in COMMANDS.items()}
COMMAND = re.compile(r"(?<![\w/.-])(warmloop-[a-z-]+|inspect_data|merge_data|train_offline_warmup|train_rlpd)(?![\w.-])")
ABSL = {"help", "helpfull"}
THEIRS = DOCS / "coming_from"  # pages that also show other projects' commands


@pytest.fixture(scope="module")
def commands() -> dict:
    return flags_reference.commands()


@pytest.fixture(scope="module")
def settings() -> set[str]:
    return settings_reference.all_names()


def command_of(typed: list[str]) -> tuple[str, list[str]] | None:
    """The installed name of the command that a line runs, and its arguments; None where it runs none of ours."""
    if any(re.search(r"\b(VERB|MODULE)\b", word) for word in typed[:3]):  # a name that the sentence leaves open
        return None
    match typed:
        case ["warmloop", verb, *rest] if verb != "…":
            return VERBS.get(verb, f"warmloop {verb}"), rest
        case ["python" | "python3", "-m", module, *rest] if module.startswith("warmloop.launch."):
            return MODULES.get(module.removeprefix("warmloop.launch."), module), rest
        case ["python" | "python3", path, *rest] if path.startswith("launch/"):
            return MODULES.get(Path(path).stem, path), rest
        case [name, *rest] if COMMAND.fullmatch(name):
            return name, rest
    return None


def mistakes(text: str, commands: dict, settings: set[str]) -> list[str]:
    """What a page says that no command knows."""
    found = []
    for line in shell_lines(text):
        found += [f"no command {name}: {line}" for name in COMMAND.findall(line) if name not in commands]
        called = command_of(words(line))
        if called is None:
            continue
        name, arguments = called
        if name not in commands:
            found += [] if COMMAND.fullmatch(name) else [f"no command: {line}"]
            continue
        flags = {flag.name: flag.boolean for flag in commands[name][1]}
        for flag in [argument[2:].partition("=")[0] for argument in arguments if re.match(r"--\w", argument)]:
            bare = flag.removeprefix("no") if flags.get(flag.removeprefix("no")) else flag
            known = flag[len("config.") :] in settings if flag.startswith("config.") and "config" in flags else bare in flags
            if not (known or flag in ABSL or flag.startswith("config.environment.kwargs.")):
                found.append(f"{name} has no --{flag}: {line}")
    return found


def loose_mistakes(text: str, commands: dict, settings: set[str]) -> list[str]:
    """Flags that stand in a sentence by themselves and that no command has."""
    flags = {flag.name for _, known in commands.values() for flag in known} | ABSL
    flags |= {f"no{flag.name}" for _, known in commands.values() for flag in known if flag.boolean}
    lines = [line for line in shell_lines(text) if re.match(r"--\w", line)]
    named = [word[2:].partition("=")[0] for line in lines for word in words(line) if re.match(r"--\w", word)]
    return [name for name in named if name not in flags and name.partition(".")[2] not in settings and not unsaid(name)]


def unsaid(name: str) -> bool:
    """Whether a flag's name is left open, as in `--config.SECTION.NAME`, or is one of the environment's own."""
    return name.startswith("config.environment.kwargs") or name.rstrip(".…").endswith(("config", "config.SECTION.NAME", ".vision"))


def test_every_command_and_every_flag_is_on_the_reference_page_with_a_meaning(commands):
    assert commands.keys() == COMMANDS.keys()
    page = flags_reference.page()
    for name, (docstring, flags) in commands.items():
        section = page.partition(f"## {name}\n")[2].partition("\n## ")[0]
        assert docstring in section and len(flags) >= 2
        for flag in flags:
            assert re.search(rf"^\| `--(\[no\])?{flag.name}` \| .* \| \S.+ \|$", section, re.MULTILINE), (name, flag)
    local = {flag.name for flag in commands["warmloop-local"][1]}
    assert {"seed", "config", "ip", "intervention"} <= local and not local & {"learner", "actor", "actor_id"}


@pytest.mark.parametrize("page", pages(), ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_flags_of_the_documents_are_there(page, commands, settings):
    text = page.read_text()
    assert mistakes(text, commands, settings) == []
    if THEIRS not in page.parents:
        assert [name for name in loose_mistakes(text, commands, settings) if f"--{name}" not in of_benchmarks()] == []


def test_configurations_of_the_package_that_the_documents_name_can_be_loaded():
    lines = [line for page in pages() for line in shell_lines(page.read_text())]
    named = {found for line in lines for found in re.findall(r"--config=(configs/[\w.:,+-]+)(?![\w…])", line)}
    assert len(named) > 15
    for name in [one for one in named if one != "configs/rlpd_config.py" and not re.search("[,:].*:", one)]:  # not RLPD's, nor examples
        assert load(name).learner.log_every, name


def test_scripts_and_targets_of_the_documents_are_there():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in pages():
        for line in shell_lines(page.read_text()):
            match words(line):
                case ["make", *named]:
                    assert {word for word in named if re.fullmatch(r"[a-z-]+", word)} <= targets, (page, line)
                case ["python", path, *_] if path.startswith(("tests/", "docs/", "launch/")):
                    assert (ROOT / path).is_file() or "MODULE" in path, (page, line)


def test_a_mistaken_command_flag_or_setting_is_found(commands, settings):
    right = "    train_rlpd --exp_name=x --config=my.py --config.agent.utd=4 --nolearner  # --wrong\n    warmloop finetune --ip=h\n"
    assert mistakes(right, commands, settings) == []
    wrong = "```bash\nwarmloop finetune \\\n    --epochs=3\n```\n`warmloop-colect --out=x` `merge_data x --config.agent.utd=4`"
    wrong += "\n\n    train_rlpd --config.agent.udt=4\n"
    assert len(mistakes(wrong, commands, settings)) == 4
    assert loose_mistakes("`--warm_up_steps=4`, `--config.learner.prot=1`, `--seed=1`", commands, settings) == [
        "warm_up_steps",
        "config.learner.prot",
    ]


def of_benchmarks() -> str:
    """The sources of the scripts that measure, whose flags the pages of results name."""
    return "\n".join(path.read_text() for path in (ROOT / "tests" / "benchmarks").rglob("*.py"))
