"""The help: options under titles, rare ones on demand, commands listed without being loaded."""

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from tests.cli.shell import tfgrpo
from tests.help import commands
from tfgrpo.cli import main
from tfgrpo.cli.command import LazyGroup, Listed, TextCommand, TitledOption
from tfgrpo.cli.options.gathered import ADVANCED, AGENTS, BUDGET, GATE, LEARN_FROM, MEASURE, MODEL

RARE = "Show every option, the rare ones too, and exit."


def help_of(*arguments: str, columns: int = 100) -> list[str]:
    """What a command tells of itself at so many columns."""
    result = CliRunner().invoke(main, arguments, terminal_width=columns - 2)  # as click leaves a margin
    assert result.exit_code == 0, result.output
    assert max(map(len, result.stdout.splitlines())) <= columns
    return result.stdout.splitlines()


@pytest.mark.parametrize(
    ("name", "titles"),
    [
        ("learn", [LEARN_FROM, MODEL, BUDGET, GATE, AGENTS, ADVANCED, "Options"]),
        ("eval", [MEASURE, MODEL, BUDGET, AGENTS, "Options"]),
    ],
)
def test_the_first_screen_has_the_usual_options_under_titles(name: str, titles: list[str]) -> None:
    lines = help_of(name, "--help", columns=80)
    assert len(lines) < 50
    assert [line.removesuffix(":") for line in lines if line.endswith(":") and line[0] != " "] == titles
    assert any(RARE in line for line in lines)


def test_all_options_are_shown_on_demand() -> None:
    usual, every = ("\n".join(help_of("learn", option)) for option in ("--help", "--help-all"))
    for option in ("--embedding-model", "--test-share", "--overlong"):
        assert option not in usual
        assert option in every
    options = [param for param in dict(commands(main, ""))[" learn"].params if isinstance(param, click.Option)]
    assert [option.opts[0] for option in options if (option.opts[0] in every) == option.hidden] == []


def test_a_command_of_a_few_options_shows_them_all() -> None:
    text = "\n".join(help_of("probe", "--help"))
    assert "--tokenizer" in text, "which is rare elsewhere"
    assert "--help-all" not in text
    assert tfgrpo("chat", "--help-all").exit_code == 2


def test_an_option_that_is_rare_works_like_any_other() -> None:
    @click.command(cls=TextCommand)
    @click.option("--size", cls=TitledOption, title="Measures", rare=True)
    def command(size: str | None) -> None:
        click.echo(size)

    assert CliRunner().invoke(command, ["--size", "7"]).stdout == "7\n"


@pytest.mark.parametrize("columns", [60, 80, 100])
def test_the_commands_are_listed_with_whole_sentences(columns: int) -> None:
    text = "\n".join(help_of("--help", columns=columns))
    assert "..." not in text.partition("\n")[2]  # the first line names ARGS...
    assert all(f"  {name.split()[1]} " in text for name, _ in commands(main, "tfgrpo") if name.count(" ") == 1)


def test_listing_commands_loads_none_and_running_one_loads_no_other() -> None:
    program = "import sys; from tfgrpo.cli import main; main({!r}, standalone_mode=False); print(*sys.modules)"

    def loaded(*arguments: str) -> set[str]:
        ran = subprocess.run(
            [sys.executable, "-c", program.format(arguments)], capture_output=True, text=True, check=True
        )
        modules = ran.stdout.splitlines()[-1].split()
        return {name.removeprefix("tfgrpo.cli.") for name in modules if name.startswith("tfgrpo.cli.")}

    assert loaded("--help") == {"root", "command", "settings_file"}
    assert {"prior", "store"} & loaded("store", "--help") == {"store"}


def test_a_name_that_is_none_is_refused() -> None:
    result = tfgrpo("lern")
    assert result.exit_code == 2
    assert "No such command 'lern'" in result.stderr  # newer versions of click name what is near it, too


def test_a_listed_command_is_loaded_once() -> None:
    group = LazyGroup(listed={"Use": {"chat": Listed("chat:chat", "One call.")}})
    context = click.Context(group)
    assert group.get_command(context, "chat") is group.get_command(context, "chat")
    assert group.get_command(context, "none") is None
