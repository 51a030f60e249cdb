"""Runs pip in a container of its own. `install.py` or `prepare.py` follows in the same program.

Reads one JSON object, the task, from standard input. The output of pip goes to standard error.
"""

import json
import os
import shutil
import subprocess
import sys

task = json.load(sys.stdin)
# Removed at the end: it is not part of the image.
work = task["work"]
os.makedirs(work + "/tmp")
environment = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": work,
    "TMPDIR": work + "/tmp",
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_CACHE_DIR": work + "/cache",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_INPUT": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_ROOT_USER_ACTION": "ignore",
    "PYTHONDONTWRITEBYTECODE": "1",
    **task["environment"],
}


def write(name, content):
    """Writes a file into the work directory, and returns its path."""
    path = f"{work}/{name}"
    with open(path, "w") as file:
        file.write(content)
    return path


def lines(items):
    return "".join(f"{item}\n" for item in items)


def pip(*arguments):
    """Runs pip, and returns its exit code."""
    command = [sys.executable, "-m", "pip", *arguments]
    streams = {"stdin": subprocess.DEVNULL, "stdout": sys.stderr}
    return subprocess.run(command, env=environment, **streams).returncode


if task["certificates"]:
    bundle = write("certificates.pem", task["certificates"])
    environment.update(PIP_CERT=bundle, SSL_CERT_FILE=bundle, REQUESTS_CA_BUNDLE=bundle)
