"""The server of the local model: llama.cpp, in a Python process that ends with the one that started it.

The first line of standard input is a JSON object that says what to serve. One line of JSON on standard output says where
it listens. It serves until standard input ends, which it does also when the other process is killed.
"""

import json
import os
import sys
import threading

settings = json.loads(sys.stdin.buffer.readline())

# What libraries print is for the log, not for whoever reads the answer.
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def end_with_the_other():
    """Without goodbyes: threads of the library may be in the middle of an answer."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


threading.Thread(target=end_with_the_other, daemon=True).start()

sys.path.insert(0, settings["modules"])
import xllamacpp  # noqa: E402

params = xllamacpp.CommonParams()
params.model.path = settings["model"]
params.model_alias = {settings["name"]}
params.hostnames = ["127.0.0.1"]
params.port = 0
params.api_keys = [settings["key"]]
params.n_ctx = settings["context"]
params.n_parallel = 1
params.cpuparams.n_threads = settings["threads"]
params.cpuparams_batch.n_threads = settings["threads"]
# What is asked for is what is used, whatever else runs on the machine.
params.fit_params = False
params.cache_ram_mib = settings["prompt_cache_mib"]
# Nothing but answers: no web page, no downloads, no state to look at.
params.ui = False
params.offline = True
params.endpoint_slots = False
# Errors only.
params.verbosity = 1

server = xllamacpp.Server(params)
answer.write(json.dumps({"address": server.listening_address}) + "\n")
answer.flush()
threading.Event().wait()
