"""Which well-known frameworks can be installed beside tfgrpo: each is resolved with it by uv, and nothing is installed.

    python -m benchmarks.beside [NAME ...]

It asks the package index: what others require changes without us. What cannot be resolved is told with uv's reason, and
makes the exit status 1; `make matrix` asks for those that pin what tfgrpo needs. Needs `uv`, on the path or in the
environment that runs.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
FRAMEWORKS = (
    "ag2[openai]", "agno", "aider-chat", "anthropic", "arize-phoenix", "autogen-agentchat", "autogen-ext[openai]",
    "browser-use", "camel-ai", "chainlit", "crewai", "deepeval", "dspy", "google-adk", "gpt-researcher", "gradio",
    "graphrag", "guardrails-ai", "haystack-ai", "inspect-ai", "instructor", "langchain-anthropic", "langchain-openai",
    "langfuse", "langgraph", "langsmith", "letta", "litellm", "llama-index-llms-openai", "llm", "magentic", "marvin",
    "mem0ai", "mirascope", "nemoguardrails", "open-interpreter", "openai-agents", "opik", "outlines", "portkey-ai",
    "promptflow", "pydantic-ai", "ragas", "semantic-kernel", "sglang", "smolagents", "strands-agents[openai]",
    "streamlit", "swarms", "trulens", "vllm", "weave",
)  # fmt: skip
SECONDS = 120.0
"""For one of them."""


def why_not(framework: str, uv: str) -> tuple[str | None, str]:
    """Why a framework cannot be resolved beside tfgrpo, or None and the openai that both would have."""
    with TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.in"
        wanted.write_text(f"{framework}\ntfgrpo @ {ROOT.as_uri()}\n")
        command = [
            uv,
            "pip",
            "compile",
            str(wanted),
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--python-version=3.11",
        ]
        try:
            ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            return f"not resolved within {SECONDS:.0f} s", ""
    if ran.returncode:
        return reason(ran.stderr), ""
    return None, next(iter(re.findall(r"^openai==(\S+)", ran.stdout, re.MULTILINE)), "")


def reason(told: str) -> str:
    """The last two conclusions of uv's, on one line: the very last one only says that there is no way."""
    words = " ".join(re.sub(r"[^\x20-\x7e]", " ", told).split())
    found = re.split(r"(?<=\.) (?=And because|Because|And we)", words)
    return " ".join(found[-2:])[-400:]


def rows(frameworks: tuple[str, ...], uv: str) -> Iterator[tuple[str, str | None, str]]:
    """Each with why not, or the openai that both would have."""
    for framework in frameworks:
        yield framework, *why_not(framework, uv)


def main() -> None:
    """Print a line for each."""
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not Path(uv).exists():
        sys.exit("benchmarks.beside: there is no uv; install it: pip install uv")
    failed = 0
    for framework, why, openai in rows(tuple(sys.argv[1:]) or FRAMEWORKS, uv):
        failed += why is not None
        print(f"{framework:<28}{'ok, openai ' + openai if why is None else 'NO: ' + why}", flush=True)
    print(f"{failed} cannot be installed beside tfgrpo")
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
