"""The process that the embedded model runs in: llama.cpp's own HTTP server on 127.0.0.1.

`server` runs it as a script, with the parameters of `main` as JSON; it imports nothing of tfgrpo. It prints its URL
when the model is loaded, and ends when its standard input does: when the parent is gone, however that died.
"""

import json
import os
import signal
import sys

import xllamacpp

ERRORS_ONLY = 1
KEPT_MIB = 512
"""Of copies of earlier prompts, which one slot takes up again where the next begins alike; 23 kB a token of SmolLM2.
A gate asks under two priors in turn: one of 235 tokens took 1.3 s of processor each time, and takes 0.2 s so."""
ALIKE = 0.9
"""The share of a prompt that must stand in the slot for no copy to be looked for (llama.cpp's own 0.1 is less than what
the chat template puts before every message)."""


def run_server(*, model: str, name: str, port: int, slots: int, room: int, threads: int) -> None:
    """Serve until standard input ends; raises RuntimeError when llama.cpp cannot start."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides what it means
    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {name}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    params.n_parallel = slots
    params.n_ctx = room
    params.kv_unified = True  # one prompt may take what others leave, up to what the model knows
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    alone = slots == 1
    params.cache_ram_mib = KEPT_MIB if alone else 0  # several slots keep a prompt each, and their copies were no faster
    if alone:
        params.slot_prompt_similarity = ALIKE
    params.endpoint_slots = False  # shows what others are asking
    params.cors_origins = ""  # no web page may read from it
    params.ui = False
    params.verbosity = ERRORS_ONLY
    server = xllamacpp.Server(params)
    print(server.listening_address, flush=True)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdin.read()
    os._exit(0)  # the server's destructor was seen to hang


if __name__ == "__main__":
    run_server(**json.loads(sys.argv[1]))
