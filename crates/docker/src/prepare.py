

# Installs the packages that every session has, as root in the container that becomes the image.
requirements = write("requirements.txt", task["requirements"])
code = pip("install", "--only-binary=:all:", "--require-hashes", "-r", requirements)
shutil.rmtree(work)
# The most frequent command in a shell block is `python script.py`, and Debian has `python3` only.
if shutil.which("python", path=environment["PATH"]) is None:
    os.symlink("python3", os.path.join(os.path.dirname(sys.executable), "python"))
sys.exit(code)
