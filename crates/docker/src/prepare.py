"""Installs what every session finds, as root in the container that becomes the image.

Reads one JSON object from standard input; what pip says goes to standard error.
"""
import json
import os
import shutil
import subprocess
import sys

task = json.load(sys.stdin)
work = "/tmp/cellblock"
os.mkdir(work)
environment = {
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "HOME": work,
    "TMPDIR": work,
    "PIP_BREAK_SYSTEM_PACKAGES": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_NO_CACHE_DIR": "1",
    "PIP_PROGRESS_BAR": "off",
    "PIP_ROOT_USER_ACTION": "ignore",
    **task["environment"],
}
if task["certificates"]:
    bundle = work + "/certificates.pem"
    with open(bundle, "w") as file:
        file.write(task["certificates"])
    environment.update(PIP_CERT=bundle, SSL_CERT_FILE=bundle)
with open(work + "/requirements.txt", "w") as file:
    file.write(task["requirements"])
command = ["-m", "pip", "install", "--only-binary=:all:", "--require-hashes", "-r", work + "/requirements.txt"]
ended = subprocess.run([sys.executable, *command], stdin=subprocess.DEVNULL, stdout=sys.stderr, env=environment)
shutil.rmtree(work)
# The commonest block of a shell is `python script.py`, and Debian calls it `python3` only.
if shutil.which("python", path=environment["PATH"]) is None:
    os.symlink("python3", os.path.join(os.path.dirname(sys.executable), "python"))
sys.exit(ended.returncode)
