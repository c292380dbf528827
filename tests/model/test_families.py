"""Another name of a model is no other model, and another model is not taken for the same."""

from hypothesis import given
from hypothesis import strategies as st

from tests.tables import each
from tfgrpo.model.families import model_family, same_family

MINI = "gpt-4.1-mini"
QWEN = "qwen2.5-0.5b-instruct"


def test_a_name_is_reduced_to_its_model() -> None:
    named = [
        (MINI, MINI),
        ("gpt-4.1-mini-2025-04-14", MINI),
        ("openai/gpt-4.1-mini", MINI),
        ("openrouter/openai/GPT-4.1-mini-2025-04-14:free", MINI),
        ("gpt-4-0613", "gpt-4"),
        ("gpt-4o-2024-08-06", "gpt-4o"),
        ("gemini-2.5-flash-preview-05-20", "gemini-2.5-flash-preview"),
        ("models/gemini-1.5-pro-002", "gemini-1.5-pro"),
        ("claude-sonnet-4@20250514", "claude-sonnet-4"),
        ("us.anthropic.claude-3-5-sonnet-20241022-v2:0", "claude-3-5-sonnet"),
        ("claude-3-5-sonnet-latest", "claude-3-5-sonnet"),
        ("Qwen3-235B-A22B-Instruct-2507", "qwen3-235b-a22b-instruct"),
        ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1"),
        ("Qwen/Qwen2.5-0.5B-Instruct", QWEN),
        ("Qwen/Qwen2.5-0.5B-Instruct-AWQ", QWEN),
        ("bartowski/Qwen2.5-0.5B-Instruct-GGUF", QWEN),
        ("/models/Qwen2.5-0.5B-Instruct-Q4_K_M.gguf", QWEN),
        ("qwen2.5-0.5b-instruct-q8_0-00001-of-00002.gguf", QWEN),
        ("mlx-community/Qwen2.5-0.5B-Instruct-4bit", QWEN),
        ("RedHatAI/Qwen2.5-0.5B-Instruct-FP8", QWEN),
        ("Qwen2.5-0.5B-Instruct.IQ2_XXS.gguf", QWEN),
        ("SmolLM2-135M-Instruct.Q4_1.gguf", "smollm2-135m-instruct"),
        ("llama3.1:8b-instruct-q4_K_M", "llama3.1:8b-instruct"),
        ("llama3:latest", "llama3"),
        ("ft:gpt-4.1-mini-2025-04-14:acme::abc123", "ft:gpt-4.1-mini-2025-04-14:acme::abc123"),
        ("openai/ft:gpt-4.1-mini:acme::x", "ft:gpt-4.1-mini:acme::x"),
        ("", ""),
        ("m", "m"),
        ("q4_0.gguf", "q4_0"),
        ("-latest", "-latest"),
    ]
    for name, family in named:
        assert model_family(name) == family


@each(
    ("one", "other"),
    [
        (MINI, "gpt-4.1"),
        (MINI, "gpt-4.1-nano"),
        (MINI, "gpt-4o-mini"),
        ("gpt-4", "gpt-4-1106-preview"),
        ("deepseek-v2", "deepseek-v3"),
        ("llama3.1:8b", "llama3.1:70b"),
        ("llama3-8b-8192", "llama3-8b-4096"),
        ("phi-3-mini-4k-instruct", "phi-3-mini-128k-instruct"),
        ("qwen2.5-0.5b", QWEN),
        (MINI, "ft:gpt-4.1-mini-2025-04-14:acme::abc123"),
        ("ft:gpt-4.1-mini:acme::a", "ft:gpt-4.1-mini:acme::b"),
    ],
)
def test_other_models_are_told_apart(one: str, other: str) -> None:
    assert not same_family(one, other)


@given(st.text(max_size=40))
def test_any_name_has_a_family_that_is_its_own(name: str) -> None:
    assert model_family(model_family(name)) == model_family(name)
    assert same_family(name, name)
