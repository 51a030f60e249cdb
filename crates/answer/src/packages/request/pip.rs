//! The words of one install command.

use cellblock_exec::Requirement;

/// Options that do not change which packages are installed, or that mean nothing in a session.
const IGNORED: &[&str] = &[
    "--break-system-packages",
    "--compile",
    "--disable-pip-version-check",
    "--force-reinstall",
    "--ignore-installed",
    "--isolated",
    "--no-cache",
    "--no-cache-dir",
    "--no-color",
    "--no-compile",
    "--no-input",
    "--no-python-version-warning",
    "--no-warn-conflicts",
    "--no-warn-script-location",
    "--prefer-binary",
    "--quiet",
    "--require-virtualenv",
    "--system",
    "--upgrade",
    "--use-pep517",
    "--user",
    "--verbose",
    "--yes",
];

/// The letters of ignored one-letter options.
const IGNORED_LETTERS: &str = "qvUIy";

/// Ignored options with a value.
const IGNORED_WITH_VALUE: &[&str] = &[
    "--cache-dir",
    "--default-timeout",
    "--progress-bar",
    "--retries",
    "--root-user-action",
    "--timeout",
    "--upgrade-strategy",
];

/// Options that fetch from elsewhere or put packages elsewhere, and what to do instead.
const REFUSED: &[(&[&str], &str)] = &[
    (
        &["-r", "--requirement", "--requirements", "-c", "--constraint"],
        "requirements files are not read; name the packages",
    ),
    (
        &[
            "-i",
            "--index-url",
            "--extra-index-url",
            "--index",
            "--default-index",
            "-f",
            "--find-links",
            "--no-index",
            "--trusted-host",
        ],
        "packages come only from the configured index; leave the option out",
    ),
    (
        &["-e", "--editable"],
        "packages are not installed from a path; write the name it has on the package index",
    ),
    (
        &["-t", "--target", "--prefix", "--root", "--python"],
        "the program cannot choose where packages are installed; leave the option out",
    ),
    (&["--pre"], "for a pre-release write its version, as in `name==2.0rc1`"),
];

/// Returns the packages of an install command; `None` if the words are another command.
///
/// # Errors
/// The reason why it is refused.
pub fn request(words: &[String]) -> Option<Result<Vec<Requirement>, String>> {
    let (words, environment) = without_prefixes(words);
    let arguments = arguments(words)?;
    if environment.iter().any(|name| name.starts_with("PIP_") || name.starts_with("UV_")) {
        return Some(Err(
            "the installer cannot be configured by the program; leave the variable out".into(),
        ));
    }
    Some(packages(arguments))
}

/// True if the words are an install command of conda or a similar program.
pub fn is_conda(words: &[String]) -> bool {
    let (words, _) = without_prefixes(words);
    matches!(words, [program, command, ..]
        if command == "install"
            && matches!(program.trim_start_matches(['!', '%']), "conda" | "mamba" | "micromamba"))
}

/// Returns the words after a prompt, variables and `sudo`, and the names of the variables.
fn without_prefixes(mut words: &[String]) -> (&[String], Vec<&str>) {
    let mut environment = Vec::new();
    let mut sudo = false;
    while let [word, rest @ ..] = words {
        match word.split_once('=') {
            Some((name, _)) if !word.starts_with('-') => environment.push(name),
            _ if matches!(word.as_str(), "$" | "!" | "%" | "command") => {}
            _ if word == "sudo" => sudo = true,
            _ if sudo && word.starts_with('-') => {}
            _ => break,
        }
        words = rest;
    }
    (words, environment)
}

/// Returns the options and packages of an install command.
fn arguments(words: &[String]) -> Option<Vec<&str>> {
    let mut words = words.iter().map(String::as_str);
    let mut program = program_name(words.next()?);
    if is_python(program) {
        words.find(|word| !is_interpreter_option(word)).filter(|word| *word == "-m")?;
        program = words.next()?;
    }
    if program == "uv" {
        match words.next()? {
            "add" => return Some(words.collect()),
            "pip" => program = "pip",
            _ => return None,
        }
    }
    if !is_versioned(program, "pip") {
        return None;
    }
    let mut options = Vec::new();
    for word in words.by_ref() {
        match word {
            "install" => return Some(options.into_iter().chain(words).collect()),
            option if option.starts_with('-') => options.push(option),
            _ => return None,
        }
    }
    None
}

/// Returns a program's name without a leading `!` or `%`, its directory, and `.exe`.
fn program_name(word: &str) -> &str {
    let word = word.trim_start_matches(['!', '%']);
    if word.starts_with('{') {
        return word;
    }
    let name = word.rsplit(['/', '\\']).next().unwrap_or(word);
    name.strip_suffix(".exe").unwrap_or(name)
}

/// True for Pythons, including `{sys.executable}`, which notebooks write for their own Python.
fn is_python(program: &str) -> bool {
    is_versioned(program, "python") || program == "py" || program == "{sys.executable}"
}

fn is_versioned(program: &str, name: &str) -> bool {
    program
        .strip_prefix(name)
        .is_some_and(|version| version.chars().all(|c| c.is_ascii_digit() || c == '.'))
}

/// True for options of Python that come before `-m` and take no value.
fn is_interpreter_option(word: &str) -> bool {
    word.starts_with('-') && !matches!(word, "-m" | "-c" | "-W" | "-X" | "-")
}

fn packages(arguments: Vec<&str>) -> Result<Vec<Requirement>, String> {
    let mut packages = Vec::new();
    let mut named = false;
    let mut only_packages = false;
    let mut arguments = arguments.into_iter();
    while let Some(argument) = arguments.next() {
        if argument == "--" {
            only_packages = true;
        } else if argument.starts_with('-') && !only_packages {
            if takes_value(argument)? {
                arguments.next();
            }
        } else {
            named = true;
            packages.push(argument.parse::<Requirement>().map_err(|refused| refused.to_string())?);
        }
    }
    if !named {
        return Err("it names no package".into());
    }
    packages.retain(|package| package.name != "pip");
    Ok(packages)
}

/// True if an ignored option takes the next word as its value.
///
/// # Errors
/// The reason why the option is refused.
fn takes_value(option: &str) -> Result<bool, String> {
    let (name, has_value) =
        option.split_once('=').map_or((option, false), |(name, _)| (name, true));
    let letters = name.strip_prefix('-').filter(|letters| !letters.starts_with('-'));
    if letters.is_some_and(|letters| letters.chars().all(|c| IGNORED_LETTERS.contains(c)))
        || IGNORED.contains(&name)
    {
        return Ok(false);
    }
    if IGNORED_WITH_VALUE.contains(&name) {
        return Ok(!has_value);
    }
    // `-rrequirements.txt` is `-r` with its value.
    let short = letters.and_then(|_| name.get(..2)).unwrap_or(name);
    match REFUSED.iter().find(|(names, _)| names.contains(&name) || names.contains(&short)) {
        Some((_, why)) => Err(format!("`{name}` is not allowed: {why}")),
        None => Err(format!("`{name}` is not supported; leave the option out")),
    }
}
