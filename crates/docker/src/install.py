"""Chooses and fetches packages, in a container of its own.

Reads one JSON object from standard input, and writes one to standard output; what pip says goes to standard error.
"""
import json
import os
import shutil
import subprocess
import sys


def pip(*arguments):
    command = [sys.executable, "-m", "pip", *arguments]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment)
    if ended.returncode:
        sys.exit(ended.returncode)


task = json.load(sys.stdin)
target = task["directory"]
# Beside the target and not in /tmp, which is memory. Removed at the end: it is no part of the layer.
work = target + ".work"
os.makedirs(work + "/tmp")
environment = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": work,
    "TMPDIR": work + "/tmp",
    "PIP_CACHE_DIR": work + "/cache",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    **task["environment"],
}
if task["certificates"]:
    bundle = work + "/certificates.pem"
    with open(bundle, "w") as file:
        file.write(task["certificates"])
    environment.update(PIP_CERT=bundle, SSL_CERT_FILE=bundle, REQUESTS_CA_BUNDLE=bundle)


def lines(name, content):
    path = f"{work}/{name}"
    with open(path, "w") as file:
        file.write("\n".join(content) + "\n")
    return path


wanted = lines("requirements.txt", task["requirements"])
fixed = lines("constraints.txt", task["constraints"])
kind = [] if task["source_builds"] else ["--only-binary=:all:"]
report = work + "/report.json"
# First against what the image has, so that only what it lacks is installed, and numpy stays the numpy that is loaded.
pip("install", *kind, "--dry-run", "--report", report, "-r", wanted, "-c", fixed)
with open(report) as file:
    items = [item["metadata"] for item in json.load(file)["install"]]
chosen = sorted(f"{item['name'].lower()}=={item['version']}" for item in items)
os.makedirs(target)
if chosen:
    pip("install", *kind, "--no-deps", "--no-compile", "--target", target, "-r", lines("chosen.txt", chosen))
shutil.rmtree(work)
json.dump({"packages": chosen}, sys.stdout)
