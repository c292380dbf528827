"""The calls of an agent in one rollout: what is sent, and what is learned from."""

import pytest

from tests.inprocess import upstream
from tests.rollouts.agents.made import BACKEND, FRAME, PRINTS, PRIOR, TASK, Cut, Program, always, rolled, said
from tests.routing import WORDS, talkative
from tests.tables import each
from tfgrpo.model.pace import asked_once, is_asked_once
from tfgrpo.records import (
    CallKey,
    Demonstration,
    Experience,
    Prior,
)
from tfgrpo.rollouts.agents.session import Session, Terms, read_request
from tfgrpo.rollouts.agents.trajectory import trajectory
from tfgrpo.testing import ScriptedModel, SimulatedPolicy


async def test_another_model_of_an_agents_gets_no_token_prior(program: Program) -> None:
    model = always()
    rollout = await rolled(program(PRINTS.replace('os.environ["TFGRPO_MODEL"]', '"other"')), model)
    assert rollout.error is None
    (body,) = model.requests
    assert body["model"] == "other"
    assert "logit_bias" not in body
    assert "logprobs" not in body
    assert PRIOR.experiences[0].text in str(body["messages"])


async def test_an_agents_task_is_never_shown_its_own_example(program: Program) -> None:
    pool = Demonstration(str(TASK.input), "billing", TASK.id), Demonstration("My card was charged twice.", "refund")
    model = always()
    rollout = await rolled(program(PRINTS), model, prior=Prior(demonstrations=pool))
    sent = [message["content"] for message in model.requests[0]["messages"]]
    assert sent == ["My card was charged twice.", "refund", TASK.input]
    assert [message["content"] for message in rollout.messages][:3] == sent


async def test_the_same_question_asked_twice_is_sampled_twice(program: Program) -> None:
    model = ScriptedModel(lambda body: str(body["seed"]))
    journal = Cut()
    twice = program(PRINTS.replace("print(said)", "print(said, ask([{'role': 'user', 'content': sys.argv[1]}]))"))
    await rolled(twice, model, journal=journal)
    assert len({body["seed"] for body in model.requests}) == 2
    await rolled(twice, model, journal=journal)
    assert len(model.requests) == 2


@each("content", [b"", b"[]", b'{"messages": []}', b'{"messages": ["a"]}', b"\xff", b'{"a": NaN}'])
def test_a_body_that_is_no_chat_request_is_no_request(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_request(content)


def test_half_a_surrogate_pair_in_a_request_becomes_a_question_mark() -> None:
    body = read_request(b'{"messages": [{"role": "user", "content": "a\\ud800b"}]}')
    assert body["messages"][0]["content"] == "a?b"


async def test_a_call_under_biases_of_the_agents_own_teaches_no_token() -> None:
    policy = SimulatedPolicy(WORDS, talkative)
    async with upstream(ScriptedModel(policy).app) as calls:
        session = Session(Terms(calls, FRAME, BACKEND, 0, 5), Prior(), CallKey("run_1", "rollout"))
        asked = {"model": "fake", "messages": [said("user", "invoice")]}
        plain, own = await session.complete(asked), await session.complete({**asked, "logit_bias": {"2": 1}})
        session.close()
    assert "logprobs" not in plain["choices"][0]
    assert "logprobs" not in own["choices"][0]
    assert [one.reply.trace is None for one in session.calls] == [False, True]


async def test_an_agent_that_asks_for_log_probabilities_gets_them() -> None:
    async with upstream(ScriptedModel(SimulatedPolicy(WORDS, talkative)).app) as calls:
        session = Session(Terms(calls, FRAME, BACKEND, 0, 2), Prior(), CallKey("run_1", "rollout"))
        asked = {"messages": [said("user", "invoice")], "logprobs": True, "top_logprobs": 4}
        whole = await session.complete(asked)
        session.close()
    assert len(whole["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 4


async def test_what_an_agent_asks_is_asked_once_where_its_rollout_is_compared() -> None:
    async with upstream(ScriptedModel(lambda _: "once" if is_asked_once() else "as ever").app) as calls:
        for compared, said_of_it in ((True, "once"), (False, "as ever")):
            with asked_once(compared):
                session = Session(Terms(calls, FRAME, BACKEND, 0), Prior(), CallKey("run_1", "rollout"))
            await session.complete({"messages": [said("user", "invoice")]})  # from the task of a connection
            session.close()
            assert [one.reply.text for one in session.calls] == [said_of_it]


async def test_a_trigger_heeds_how_sure_the_answer_before_was() -> None:
    """Log-probabilities are asked for, though no token prior is learned, and the agent sees none of them."""
    prior = Prior((Experience("[on margin below .99] Look again."),))
    policy = SimulatedPolicy(WORDS, talkative)
    model = ScriptedModel(policy)
    async with upstream(model.app) as calls:
        session = Session(Terms(calls, FRAME, BACKEND, 0), prior, CallKey("run_1", "rollout"))
        asked = [said("user", "invoice")]
        first = (await session.complete({"messages": asked}))["choices"][0]
        asked += [{**first["message"], "refusal": None}, said("user", "Is it?")]
        await session.complete({"messages": asked})
        session.close()
    assert "logprobs" not in first
    assert [body["top_logprobs"] for body in model.requests] == [5, 5]
    assert [body["messages"][-1]["content"] for body in model.requests] == ["invoice", "Is it?\n\nLook again."]
    shown = trajectory(session.calls, prior, None)
    assert [one["content"] for one in shown[:1] + shown[2:3]] == ["invoice", "Is it?\n\nLook again."]
