

# Chooses and fetches packages for a session. Writes one JSON object to standard output.


def install(*arguments):
    kind = [] if task["source_builds"] else ["--only-binary=:all:"]
    code = pip("install", *kind, *arguments)
    if code:
        sys.exit(code)


target = task["directory"]
wanted = write("requirements.txt", lines(task["requirements"]))
fixed = write("constraints.txt", lines(task["constraints"]))
report = work + "/report.json"
# First against the image's own packages, so that only missing ones are installed, and a package
# that the session has loaded keeps its version.
install("--dry-run", "--report", report, "-r", wanted, "-c", fixed)
with open(report) as file:
    items = [item["metadata"] for item in json.load(file)["install"]]
chosen = sorted(f"{item['name'].lower()}=={item['version']}" for item in items)
os.makedirs(target)
if chosen:
    chosen_file = write("chosen.txt", lines(chosen))
    install("--no-deps", "--no-compile", "--target", target, "-r", chosen_file)
shutil.rmtree(work)
json.dump({"packages": chosen}, sys.stdout)
