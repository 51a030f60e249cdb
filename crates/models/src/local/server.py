"""The server of the local model: llama.cpp in a Python process that ends with its parent.

The first line of standard input is a JSON object with the settings. The server writes its address
to standard output, as one line of JSON. It runs until standard input ends, which also happens when
the parent is killed.
"""

import json
import os
import sys
import threading

settings = json.loads(sys.stdin.buffer.readline())

# The output of libraries goes to the log (standard error), not to the parent.
parent = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def exit_with_parent():
    """Exits without cleanup: threads of the library may be in the middle of an answer."""
    while sys.stdin.buffer.read(4096):
        pass
    os._exit(0)


threading.Thread(target=exit_with_parent, daemon=True).start()

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
# Use exactly the requested settings, whatever else runs on the machine.
params.fit_params = False
params.cache_ram_mib = settings["prompt_cache_mib"]
# Serve only answers: no web page, no downloads, no view of the state.
params.ui = False
params.offline = True
params.endpoint_slots = False
# Log errors only.
params.verbosity = 1

server = xllamacpp.Server(params)
parent.write(json.dumps({"address": server.listening_address}) + "\n")
parent.flush()
threading.Event().wait()
