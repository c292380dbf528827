"""Real clients against a fake upstream, by tfgrpo's own client and through its proxy: does every call get the prior?

    python -m benchmarks.integrations [--keep FOLDER] [NAME ...]

Without a NAME it writes the table of docs/integrations.md anew; what stands below the table there stays.
Each framework is installed by uv into an environment of its own (FOLDER keeps them, else they are thrown away), its
program is run there as a user would write it, and what the upstream got is looked at: `yes` means that each call had
the prior in it, exactly once. Needs `uv`, `npm` for the clients in JavaScript, and the package index.
"""

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from textwrap import dedent

from tests.clients.every_api import EveryApi
from tests.live import PRIOR, TEXT, go_live
from tfgrpo.surfaces.routes import surface_of
from tfgrpo.testing import serving

ROOT = Path(__file__).parent.parent
OWN = ("click", "detect-secrets", "numpy", "orjson", "platformdirs", "pyyaml", "rich", "sqlite-utils", "tiktoken")
"""What tfgrpo needs beside an SDK."""
SECONDS = 180.0


@dataclass(frozen=True, slots=True)
class Integration:
    """A framework, and how a call is made with it: by a client of ours, and at the proxy's URL."""

    name: str
    installed: tuple[str, ...]
    """What is installed for it."""
    ours: str
    """A program in which the client is ours; empty where the framework takes none."""
    plain: str
    """A program that only knows a URL: the proxy's."""
    how: str
    """What a user writes, in a few words."""
    language: str = "python"


INTEGRATIONS = (
    Integration(
        "openai 1.66",
        ("openai==1.66.0",),
        "from tfgrpo import OpenAI\nc = OpenAI()\nc.chat.completions.create(model='fake', messages=[U])\n"
        "c.responses.create(model='fake', input='Which queue?')",
        "from openai import OpenAI\nc = OpenAI()\nc.chat.completions.create(model='fake', messages=[U])\n"
        "c.responses.create(model='fake', input='Which queue?')",
        "`from tfgrpo import OpenAI`",
    ),
    Integration(
        "openai 2",
        ("openai>=2,<3",),
        "from tfgrpo import OpenAI\nc = OpenAI()\nc.chat.completions.create(model='fake', messages=[U])\n"
        "c.responses.create(model='fake', input='Which queue?')",
        "from openai import OpenAI\nc = OpenAI()\nc.chat.completions.create(model='fake', messages=[U])\n"
        "c.responses.create(model='fake', input='Which queue?')",
        "`from tfgrpo import OpenAI`",
    ),
    Integration(
        "openai 3",
        ("openai>=3,<4",),
        "from tfgrpo import OpenAI\nc = OpenAI()\nc.chat.completions.create(model='fake', messages=[U])\n"
        "c.responses.create(model='fake', input='Which queue?')",
        "from openai import OpenAI\nc = OpenAI()\nc.chat.completions.create(model='fake', messages=[U])\n"
        "c.responses.create(model='fake', input='Which queue?')",
        "`from tfgrpo import OpenAI`",
    ),
    Integration(
        "LangChain, chat",
        ("langchain-openai", "httpx"),
        "import httpx\nfrom langchain_openai import ChatOpenAI\nimport tfgrpo\n"
        "h = httpx.Client(transport=tfgrpo.transport(httpx.HTTPTransport()))\n"
        "m = ChatOpenAI(model='fake', http_client=h)\nm.invoke('Which queue?')\nlist(m.stream('Which queue?'))",
        "from langchain_openai import ChatOpenAI\nm = ChatOpenAI(model='fake')\nm.invoke('Which queue?')\n"
        "list(m.stream('Which queue?'))",
        "`ChatOpenAI(http_client=httpx.Client(transport=tfgrpo.transport(httpx.HTTPTransport())))`",
    ),
    Integration(
        "LangChain, responses",
        ("langchain-openai", "httpx"),
        "import httpx\nfrom langchain_openai import ChatOpenAI\nimport tfgrpo\n"
        "h = httpx.Client(transport=tfgrpo.transport(httpx.HTTPTransport()))\n"
        "ChatOpenAI(model='fake', http_client=h, use_responses_api=True).invoke('Which queue?')",
        "from langchain_openai import ChatOpenAI\n"
        "ChatOpenAI(model='fake', use_responses_api=True).invoke('Which queue?')",
        "as above, with `use_responses_api=True`",
    ),
    Integration(
        "instructor",
        ("instructor",),
        "import instructor, pydantic, tfgrpo\n"
        "class Queue(pydantic.BaseModel):\n    code: str\n"
        "c = instructor.from_openai(tfgrpo.OpenAI())\n"
        "c.chat.completions.create(model='fake', messages=[U], response_model=Queue)",
        "import instructor, pydantic, openai\n"
        "class Queue(pydantic.BaseModel):\n    code: str\n"
        "c = instructor.from_openai(openai.OpenAI())\n"
        "c.chat.completions.create(model='fake', messages=[U], response_model=Queue)",
        "`instructor.from_openai(tfgrpo.OpenAI())`",
    ),
    Integration(
        "OpenAI Agents SDK",
        ("openai-agents",),
        "import tfgrpo\nfrom agents import Agent, Runner, set_default_openai_client\n"
        "set_default_openai_client(tfgrpo.AsyncOpenAI(), use_for_tracing=False)\n"
        "Runner.run_sync(Agent(name='a', instructions='Be brief.', model='fake'), 'Which queue?')",
        "from agents import Agent, Runner, set_tracing_disabled\nset_tracing_disabled(True)\n"
        "Runner.run_sync(Agent(name='a', instructions='Be brief.', model='fake'), 'Which queue?')",
        "`set_default_openai_client(tfgrpo.AsyncOpenAI())`",
    ),
    Integration(
        "pydantic-ai",
        ("pydantic-ai-slim[openai]",),
        "import tfgrpo\nfrom pydantic_ai import Agent\nfrom pydantic_ai.models.openai import OpenAIResponsesModel\n"
        "from pydantic_ai.providers.openai import OpenAIProvider\n"
        "p = OpenAIProvider(openai_client=tfgrpo.AsyncOpenAI())\n"
        "Agent(OpenAIResponsesModel('fake', provider=p)).run_sync('Which queue?')",
        "from pydantic_ai import Agent\nAgent('openai:fake').run_sync('Which queue?')",
        "`OpenAIProvider(openai_client=tfgrpo.AsyncOpenAI())`; at the proxy `Agent('openai:MODEL')`",
    ),
    Integration(
        "LiteLLM's SDK",
        ("litellm",),
        "import litellm, tfgrpo\nlitellm.completion(model='openai/fake', messages=[U], client=tfgrpo.OpenAI())",
        "import os, litellm\n"
        "litellm.completion(model='openai/fake', messages=[U], api_base=os.environ['OPENAI_BASE_URL'])",
        "`litellm.completion(..., client=tfgrpo.OpenAI())`",
    ),
    Integration(
        "DSPy",
        ("dspy",),
        "",
        "import os, dspy\n"
        "dspy.configure(lm=dspy.LM('openai/fake', api_base=os.environ['OPENAI_BASE_URL'], cache=False))\n"
        "dspy.LM('openai/fake', api_base=os.environ['OPENAI_BASE_URL'], cache=False)('Which queue?')",
        "`dspy.LM(..., api_base=PROXY)`",
    ),
    Integration(
        "Anthropic SDK",
        ("anthropic",),
        "import anthropic, tfgrpo\nc = tfgrpo.wrap(anthropic.Anthropic())\n"
        "f = c.messages.create(model='fake', max_tokens=9, messages=[U])\n"
        "assert tfgrpo.info(f).prior, tfgrpo.info(f)\n"
        "with c.messages.stream(model='fake', max_tokens=9, messages=[U]) as s:\n    s.until_done()",
        "import anthropic\nc = anthropic.Anthropic()\n"
        "c.messages.create(model='fake', max_tokens=9, messages=[U])\n"
        "with c.messages.stream(model='fake', max_tokens=9, messages=[U]) as s:\n    s.until_done()",
        "`tfgrpo.wrap(anthropic.Anthropic())`",
    ),
    Integration(
        "llm",
        ("llm",),
        "",
        "import os, pathlib, subprocess, sys\n"
        "f = pathlib.Path('llm'); f.mkdir(exist_ok=True)\n"
        "base = os.environ['OPENAI_BASE_URL']\n"
        "told = f'- model_id: fake\\n  model_name: fake\\n  api_base: {base}\\n'\n"
        "(f / 'extra-openai-models.yaml').write_text(told)\n"
        "env = {**os.environ, 'LLM_USER_PATH': str(f)}\n"
        "subprocess.run([sys.executable, '-m', 'llm', '-m', 'fake', 'Which queue?'], env=env, check=True)",
        "`api_base: PROXY` in `extra-openai-models.yaml`",
    ),
    Integration(
        "openai-node",
        ("openai",),
        "",
        "import OpenAI from 'openai';\nconst c = new OpenAI();\n"
        "await c.chat.completions.create({model: 'fake', messages: [{role: 'user', content: 'Which queue?'}]});\n"
        "await c.responses.create({model: 'fake', input: 'Which queue?'});",
        "`new OpenAI({ baseURL: PROXY })`",
        "node",
    ),
    Integration(
        "Vercel AI SDK",
        ("ai", "@ai-sdk/openai"),
        "",
        "import { generateText } from 'ai';\nimport { createOpenAI } from '@ai-sdk/openai';\n"
        "const openai = createOpenAI({ baseURL: process.env.OPENAI_BASE_URL });\n"
        "await generateText({ model: openai('fake'), prompt: 'Which queue?' });",
        "`createOpenAI({ baseURL: PROXY })`",
        "node",
    ),
)


def environment(url: str, store: Path) -> Mapping[str, str]:
    """What a program is told, and nothing else of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "TFGRPO_"))}
    root = url.removesuffix("/v1")
    return {
        **kept,
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": "sk-caller",
        "ANTHROPIC_BASE_URL": root,
        "ANTHROPIC_API_KEY": "sk-caller",
        "TFGRPO_STORE": str(store),
        "PYTHONPATH": str(ROOT),
        "DO_NOT_TRACK": "1",
    }


def install(one: Integration, folder: Path, uv: str) -> Path:
    """The interpreter that runs its programs, in an environment in `folder` that is made where it is not there yet."""
    if one.language == "node":
        if not (folder / "node_modules").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_text('{"type": "module"}')
            run(["npm", "install", "--silent", "--no-audit", "--no-fund", *one.installed], folder)
        return Path(shutil.which("node") or "node")
    python = folder / "bin" / "python"
    if not python.exists():
        run([uv, "venv", "--quiet", "--python", sys.executable, str(folder)], ROOT)
        run([uv, "pip", "install", "--quiet", "--python", str(python), *one.installed, *OWN], ROOT)
    return python


def run(command: Sequence[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a command; what it says is only shown where it fails."""
    ran = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=SECONDS)
    if ran.returncode:
        raise RuntimeError((ran.stderr or ran.stdout)[-2_000:])


def biased(upstream: EveryApi) -> str:
    """`yes`, or what is wrong with what the upstream got."""
    asked = [got for got in upstream.requests if surface_of("POST", got.path) and got.raw]
    upstream.requests.clear()
    if not asked:
        return "no call"
    missed = [got.path for got in asked if got.mark != PRIOR.id or got.raw.decode().count(TEXT) != 1]
    return f"no: {', '.join(missed)}" if missed else "yes"


def tried(one: Integration, python: Path, upstream: EveryApi, at: tuple[str, Path], program: str) -> str:
    """What comes of one program, which is told a URL and a store."""
    if not program:
        return "-"
    upstream.requests.clear()
    with TemporaryDirectory() as folder:
        preamble = "U = {'role': 'user', 'content': 'Which queue?'}\n" if one.language == "python" else ""
        file = Path(folder) / ("program.py" if one.language == "python" else "program.mjs")
        file.write_text(preamble + dedent(program) + "\n")
        if one.language == "node":
            shutil.copy(file, python_folder(one) / file.name)
            file = python_folder(one) / file.name
        try:
            run([str(python), str(file)], Path(folder), environment(*at))
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            print(f"{one.name}: {error}", file=sys.stderr)
            return "fails"
    return biased(upstream)


_folders: dict[str, Path] = {}


def python_folder(one: Integration) -> Path:
    """Where the modules of a client in JavaScript are."""
    return _folders[one.name]


@contextmanager
def proxy(upstream: str, store: Path) -> Iterator[str]:
    """`tfgrpo serve` in front of the upstream, as a user starts it; yields its base URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tfgrpo", "serve", "--upstream", upstream, "--port", str(port)]
    server = subprocess.Popen([*command, "--store", str(store)], cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        for _ in range(100):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.terminate()
        server.wait(10)


INTRO = """# Integrations

Each of these was installed as it is today and run as a user would write it, against a fake upstream that looks at what
arrives: `yes` means that every call had the prior in it, exactly once. `python -m benchmarks.integrations` does so
anew, and writes this table. PROXY stands for the URL of `tfgrpo serve`, or `OPENAI_BASE_URL` does. Where a client
takes no HTTP client of ours there is a `-`; it gets the prior through the proxy.
"""


def table(rows: Sequence[tuple[Integration, str, str]]) -> str:
    """The table as Markdown."""
    lines = ["| client | with tfgrpo's client | what to write | through the proxy |", "|---|---|---|---|"]
    lines += [f"| {one.name} | {ours} | {one.how} | {plain} |" for one, ours, plain in rows]
    return "\n".join(lines)


def written(page: Path, rows: str) -> None:
    """Write the page with these rows; sections after the table are by hand, and stay."""
    _, heading, rest = page.read_text(encoding="utf-8").partition("\n## ") if page.exists() else ("", "", "")
    page.write_text(f"{INTRO}\n{rows}\n{heading}{rest}", encoding="utf-8")


def main() -> None:
    """Run them all, or those that are named."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*")
    parser.add_argument("--keep", type=Path)
    given = parser.parse_args()
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    upstream, rows = EveryApi(), []
    with TemporaryDirectory() as temporary, serving(upstream.app) as url:
        store, folder = go_live(Path(temporary) / "s.db"), given.keep or Path(temporary)
        with proxy(url, store) as front:
            for one in INTEGRATIONS:
                if given.names and one.name not in given.names:
                    continue
                if one.language == "node" and not shutil.which("npm"):
                    continue
                home = folder.absolute() / "".join(char if char.isalnum() else "-" for char in one.name.lower())
                _folders[one.name] = home
                try:
                    python = install(one, home, uv)
                except RuntimeError as error:
                    print(f"{one.name}: {error}", file=sys.stderr)
                    continue
                ours = tried(one, python, upstream, (url, store), one.ours)
                rows.append((one, ours, tried(one, python, upstream, (front, store), one.plain)))
                print(one.name, *rows[-1][1:], file=sys.stderr)
    if given.names:
        print(table(rows))
    else:
        written(ROOT / "docs" / "integrations.md", table(rows))


if __name__ == "__main__":
    main()
