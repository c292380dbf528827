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
    params.cache_ram_mib = 0  # copies of earlier prompts: no faster here, and they grow to 8 GB
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
