"""Model families: names that mean the same model, for all that experiences care. Pure.

An API and a file name one model in many ways: with the date of a snapshot, a provider, a quantisation. What was learned
on one of them is warned about on another *model*, not on another name. Token priors are stricter: they belong to the
exact model and its tokenizer.
"""

import re
from functools import lru_cache

_FOLDERS = re.compile(r"^.*/")
_MAKER = re.compile(
    r"^(?:(?:us|eu|apac|global)\.)?(?:ai21|amazon|anthropic|cohere|deepseek|meta|mistral|openai|qwen)\."
)
_SUFFIX = re.compile(
    r"[-.:@_](?:"
    r"latest|free"
    r"|20\d\d-?(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"  # 2025-04-14, 20250414
    r"|(?:0[1-9]|1[0-2])-?(?:0[1-9]|[12]\d|3[01])"  # month and day: 0613, 05-20
    r"|2\d(?:0[1-9]|1[0-2])"  # year and month: 2507
    r"|00\d"  # 002
    r"|v\d+:\d+"  # v1:0
    r"|\d{5}-of-\d{5}"
    r"|gguf|mlx|gptq|awq|exl2|bnb"
    r"|(?:ud-)?i?q[1-8](?:_[0-9a-z]+)*"  # q4_k_m, q8_0, iq2_xxs
    r"|(?:bf|fp|f|int)(?:4|8|16|32)|[48]-?bit|w[48]a(?:8|16)"
    r")$"
)


@lru_cache(maxsize=1_024)
def model_family(name: str) -> str:
    """The name of a model in lower case, without what does not make it another model.

    Left out are folders and providers before it (`openai/`, `models/`, `anthropic.`), and at its end the file type, the
    date or number of a snapshot (`-2025-04-14`, `-0613`, `-002`, `@20250514`, `-latest`), a quantisation and its format
    (`-q4_k_m`, `-AWQ`, `-fp8`, `-4bit`), and `:free`. Sizes, versions, `-instruct`, `-preview` and the like stay. A
    fine-tuned model keeps its whole name, for it is another one, and so does what is all suffix.
    """
    family = name.strip().lower()
    if family.startswith("ft:") or "/ft:" in family:
        return family[family.index("ft:") :]
    family = _FOLDERS.sub("", family.rstrip("/")).strip()
    while (shorter := _SUFFIX.sub("", _MAKER.sub("", family))) not in ("", family):
        family = shorter
    return family


def same_family(one: str, other: str) -> bool:
    """Whether two names mean models of one family."""
    return one == other or model_family(one) == model_family(other)
