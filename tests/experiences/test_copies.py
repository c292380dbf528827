"""What is no advice: our own prompts said again, and a task's text copied."""

import pytest

from tests import proposals
from tfgrpo.experiences.admission import refusal
from tfgrpo.experiences.copies import ECHOED, echoes_prompt, restated_task
from tfgrpo.prompts import template
from tfgrpo.records import Experience, Task
from tfgrpo.settings import Settings

TASKS = (
    Task("Which queue, BILL or TECH? My card was charged twice for the same order on Monday.", "BILL"),
    Task("Which queue, BILL or TECH? The program crashes whenever I open the second window.", "TECH"),
    Task("Which queue, BILL or TECH? I was charged for a plan that I had cancelled in spring.", "BILL"),
)


@pytest.mark.parametrize(
    "text",
    [
        "The task is about providing advice for a model based on its failed attempts.",
        "What did the better ones do that the worse ones did not?",
        "Write advice that leads to it for every task like this one.",
        "Labels and formats that many tasks share may be named.",
        "The advice is that the attempts with a higher reward are the better experiences.",
        "Use what applies to the task at hand; ignore the rest.",
    ],
)
def test_an_echo_of_our_prompts_is_refused_as_such(text: str) -> None:
    assert refusal(Experience(text), [], TASKS, Settings()) == "it echoes the prompt"


@pytest.mark.parametrize(
    "text",
    [
        "When asked, my card was charged twice for the same order on Monday.",
        "The program crashes whenever I open the second window.",
        "Which queue, BILL or TECH? The program crashes.",
    ],
)
def test_a_copy_of_a_task_is_refused_as_such(text: str) -> None:
    assert str(refusal(Experience(text), [], TASKS, Settings())).startswith("it restates a task (task_")


def test_advice_that_names_what_tasks_share_is_no_copy() -> None:
    assert restated_task("When a card was charged twice, choose BILL, whatever queue the text names.", TASKS) is None
    labels = tuple(Task(f"One of alpha beta gamma delta epsilon zeta eta theta iota: {number}") for number in "abc")
    text = "When it is a vowel, say one of alpha beta gamma delta epsilon zeta eta theta, in lower case, and stop."
    assert restated_task(text, labels) is None


def test_tasks_about_models_and_their_rewards_may_be_spoken_of() -> None:
    papers = (Task("A paper on reward models and experience replay. Topic?", "rl"),)
    text = "When a paper has a reward model that learns from experience, answer rl."
    assert not echoes_prompt(text, papers)
    assert echoes_prompt(text, TASKS)


def test_chinese_is_compared_by_longer_runs() -> None:
    task = Task(
        "\u5ba2\u6237\u6536\u5230\u4e24\u4efd\u8d26\u5355\u8bf7\u95ee\u5e94\u8be5\u8f6c\u5230\u54ea\u4e2a\u90e8\u95e8\u5904\u7406"
    )
    assert restated_task(f"\u5f53{task.prompt}\u3002", (task,)) == task.id
    assert (
        restated_task(
            "\u5f53\u5ba2\u6237\u6536\u5230\u4e24\u4efd\u8d26\u5355\u65f6\uff0c\u53ea\u56de\u7b54\u4ee3\u7801\u3002",
            (task,),
        )
        is None
    )


def test_no_honest_proposal_is_taken_for_a_copy() -> None:
    copies = [text for text in proposals.HONEST if echoes_prompt(text, ()) or restated_task(text, proposals.TASKS)]
    assert copies == []


def test_every_prompt_of_ours_is_known() -> None:
    assert [template(name).name for name in ECHOED] == list(ECHOED)
