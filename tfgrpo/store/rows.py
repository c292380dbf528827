"""Records as rows, and rows as records. Pure; a row that cannot be read back raises what `file` knows as damage."""

import json
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from ..records import (
    JSON,
    CallKey,
    Decision,
    Effect,
    Experience,
    Frame,
    Group,
    OptionOffset,
    Origin,
    Prior,
    QuestionOffsets,
    Rollout,
    Run,
    Task,
    TokenBias,
    Usage,
)
from .database import Row, Value

SHOWN = 2_000
"""Characters of an answer that stand in its row for people; a longer one is kept whole, compressed, beside them."""
_JSON = json.JSONEncoder(separators=(",", ":"))
_LEVEL = 3
"""zlib's own default takes three times as long for a tenth less."""


def dumps(value: JSON) -> str:
    """JSON text in the order given, ASCII, so that any text of a model's survives, half a surrogate pair too."""
    return _JSON.encode(value)


def pack(text: str) -> bytes:
    """A large text, compressed."""
    return zlib.compress(text.encode("utf-8", "surrogatepass"), _LEVEL)


def unpack(blob: bytes) -> str:
    """The text that was packed."""
    return zlib.decompress(blob).decode("utf-8", "surrogatepass")


def column_text(text: str) -> str:
    """Text for a column that people read: half a surrogate pair, which no file can hold, becomes a question mark."""
    return text.encode("utf-8", "replace").decode("utf-8")


def usage_row(usage: Usage) -> dict[str, Value]:
    return {
        "calls": usage.calls,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }


def usage_of(row: Mapping[str, Any]) -> Usage:
    return Usage(row["calls"], row["prompt_tokens"], row["completion_tokens"])


def key_row(key: CallKey) -> dict[str, Value]:
    return {
        "run": key.run,
        "stage": key.stage,
        "step": key.step,
        "task": key.task,
        "sample": key.sample,
        "retry": key.retry,
    }


def call_row(key: CallKey, request: str, response: str, usage: Usage) -> Row:
    return {**key_row(key), "request": request, "response": pack(response), **usage_row(usage)}


def task_row(task: Task) -> Row:
    return {
        "id": task.id,
        "input": dumps(task.input),
        "answer": dumps(task.answer),
        "metadata": dumps(dict(task.metadata)),
        "count": task.count,
    }


def same_id(stored: str, computed: str) -> None:
    """Raises ValueError for content that is not what its id was made from."""
    if stored != computed:
        raise ValueError(f"its content was changed, {stored} would now be {computed}")


def task_of(row: Mapping[str, Any]) -> Task:
    given = json.loads(row["input"])
    task = Task(
        input=given if isinstance(given, str) else tuple(given),
        answer=json.loads(row["answer"]),
        metadata=json.loads(row["metadata"]),
        count=row["count"],
    )
    same_id(row["id"], task.id)
    return task


def frame_text(frame: Frame) -> str:
    return dumps(
        {
            "model": frame.model,
            "system": frame.system,
            "request": dict(frame.request),
            "temperature": frame.temperature,
            "top_p": frame.top_p,
            **({"labels": list(frame.labels)} if frame.labels else {}),
        }
    )


def frame_of(text: str) -> Frame:
    return Frame(**json.loads(text))


def run_row(run: Run, identity: str) -> Row:
    return {
        "id": run.id,
        "identity": identity,
        "attempt": run.attempt,
        "kind": run.kind,
        "namespace": run.namespace,
        "frame": frame_text(run.frame),
        "settings": dumps(dict(run.settings)),
        "reward": run.reward,
        "parent": run.parent,
        "status": run.status,
        "result": dumps(dict(run.result)),
        **usage_row(run.usage),
    }


def run_of(row: Mapping[str, Any], tasks: Iterable[str]) -> Run:
    run = Run(
        kind=row["kind"],
        namespace=row["namespace"],
        frame=frame_of(row["frame"]),
        settings=json.loads(row["settings"]),
        tasks=tuple(tasks),
        reward=row["reward"],
        parent=row["parent"],
        attempt=row["attempt"],
        status=row["status"],
        usage=usage_of(row),
        result=json.loads(row["result"]),
    )
    same_id(row["id"], run.id)
    same_id(row["identity"], replace(run, attempt=0).id)
    return run


def rollout_row(rollout: Rollout) -> Row:
    said = column_text(rollout.text)
    long = len(said) > SHOWN
    return {
        "sample": rollout.sample,
        "included": dumps(rollout.included),
        "messages": pack(dumps([dict(message) for message in rollout.messages])),
        "text": f"{said[:SHOWN]}…" if long else said,
        "whole": pack(said) if long else None,
        "reward": None if rollout.reward is None else float(rollout.reward),
        "error": None if rollout.error is None else column_text(rollout.error),
        "finish_reason": column_text(rollout.finish_reason),
        "variant": rollout.variant,
        "feedback": column_text(rollout.feedback),
        **usage_row(rollout.usage),
    }


def rollout_of(row: Mapping[str, Any], task: Task) -> Rollout:
    return Rollout(
        task=task,
        step=row["step"],
        sample=row["sample"],
        prior=row["prior"],
        included=tuple(json.loads(row["included"])),
        messages=tuple(json.loads(unpack(row["messages"]))),
        text=row["text"] if row["whole"] is None else unpack(row["whole"]),
        reward=row["reward"],
        error=row["error"],
        finish_reason=row["finish_reason"],
        usage=usage_of(row),
        variant=row["variant"],
        feedback=row["feedback"],
    )


def group_of(rows: Sequence[Mapping[str, Any]], task: Task) -> Group:
    return Group(task, rows[0]["step"], tuple(rollout_of(row, task) for row in rows))


def experience_row(experience: Experience) -> Row:
    return {"id": experience.id, "kind": experience.kind, "text": experience.text}


def origin_row(namespace: str, experience: Experience) -> Row:
    origin = experience.origin
    return {
        "namespace": namespace,
        "experience": experience.id,
        "run": origin.run,
        "step": origin.step,
        "tasks": dumps(origin.tasks),
        "parent": origin.parent,
    }


def experience_of(row: Mapping[str, Any]) -> Experience:
    """From columns kind and text, with those of an origin where it is known."""
    if row["run"] is None:
        return Experience(row["text"], row["kind"])
    origin = Origin(row["run"], row["step"], tuple(json.loads(row["tasks"])), row["parent"])
    return Experience(row["text"], row["kind"], origin)


def effect_row(namespace: str, effect: Effect) -> Row:
    return {
        "namespace": namespace,
        "experience": effect.experience,
        "run": effect.run,
        "step": effect.step,
        "mean": float(effect.mean),
        "sd": float(effect.sd),
        "evidence": int(effect.evidence),
    }


def effect_of(row: Mapping[str, Any]) -> Effect:
    return Effect(row["experience"], row["run"], row["step"], row["mean"], row["sd"], row["evidence"])


def decision_row(namespace: str, decision: Decision) -> Row:
    return {
        "namespace": namespace,
        "experience": decision.experience,
        "verdict": decision.verdict,
        "why": column_text(decision.why),
        "by": decision.by,
        "run": decision.run,
        "step": decision.step,
    }


def decision_of(row: Mapping[str, Any]) -> Decision:
    return Decision(row["experience"], row["verdict"], row["why"], row["by"], row["run"], row["step"])


def prior_row(prior: Prior) -> Row:
    return {
        "id": prior.id,
        "tokenizer": prior.tokenizer,
        "template": prior.template,
        "parent": prior.parent,
        "instruction": prior.instruction,
        "nearest": prior.nearest,
        "embedding": prior.embedding,
    }


def bias_row(prior: str, entry: TokenBias) -> Row:
    return {
        "prior": prior,
        "token": int(entry.token),
        "piece": entry.piece,
        "bias": entry.bias,
        "z": float(entry.z),
        "evidence": int(entry.evidence),
    }


def bias_of(row: Mapping[str, Any]) -> TokenBias:
    return TokenBias(row["token"], row["piece"], row["bias"], row["z"], row["evidence"])


def question_row(prior: str, entry: QuestionOffsets) -> Row:
    return {"prior": prior, "question": entry.id, "kind": entry.kind, "instructions": entry.instructions}


def offset_row(prior: str, question: str, entry: OptionOffset) -> Row:
    return {
        "prior": prior,
        "question": question,
        "option": dumps(entry.option),
        "offset": entry.offset,
        "z": float(entry.z),
        "evidence": int(entry.evidence),
    }


def question_of(row: Mapping[str, Any], offsets: Iterable[Mapping[str, Any]]) -> QuestionOffsets:
    entries = (OptionOffset(json.loads(one["option"]), one["offset"], one["z"], one["evidence"]) for one in offsets)
    return QuestionOffsets(row["kind"], row["instructions"], tuple(entries))
