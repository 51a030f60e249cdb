//! Recognition of shell commands among prose and other languages.

/// Commands whose names are not English words, or rarely begin a sentence in lower case.
const COMMANDS: &[&str] = &[
    "ag",
    "apk",
    "apt",
    "apt-get",
    "awk",
    "aws",
    "az",
    "bash",
    "black",
    "brew",
    "bun",
    "bzip2",
    "cargo",
    "cd",
    "chmod",
    "chown",
    "choco",
    "cmake",
    "conda",
    "cp",
    "curl",
    "deno",
    "df",
    "diff",
    "dnf",
    "docker",
    "docker-compose",
    "dotnet",
    "du",
    "echo",
    "ffmpeg",
    "ffprobe",
    "flake8",
    "flask",
    "gcc",
    "gcloud",
    "gem",
    "gh",
    "git",
    "go",
    "gpg",
    "gradle",
    "grep",
    "gunicorn",
    "gunzip",
    "gzip",
    "helm",
    "hg",
    "iptables",
    "java",
    "javac",
    "journalctl",
    "jq",
    "jupyter",
    "kubectl",
    "ln",
    "ls",
    "lsof",
    "magick",
    "mamba",
    "mkdir",
    "mount",
    "mv",
    "mvn",
    "mypy",
    "mysql",
    "nano",
    "nginx",
    "nice",
    "node",
    "npm",
    "npx",
    "nvm",
    "openssl",
    "pandoc",
    "perl",
    "pg_dump",
    "php",
    "ping",
    "pip",
    "pip3",
    "pipenv",
    "pipx",
    "pkill",
    "pnpm",
    "podman",
    "poetry",
    "powershell",
    "printf",
    "ps",
    "psql",
    "pwsh",
    "py",
    "pytest",
    "python",
    "python2",
    "python3",
    "rails",
    "readlink",
    "redis-cli",
    "rg",
    "rm",
    "rmdir",
    "rsync",
    "ruby",
    "ruff",
    "rustc",
    "rustup",
    "scp",
    "sed",
    "sh",
    "ssh",
    "ssh-keygen",
    "sqlite3",
    "streamlit",
    "sudo",
    "systemctl",
    "tar",
    "tee",
    "terraform",
    "tmux",
    "tsc",
    "uname",
    "unzip",
    "uv",
    "uvicorn",
    "uvx",
    "vi",
    "vim",
    "virtualenv",
    "vite",
    "wc",
    "wget",
    "winget",
    "xargs",
    "yarn",
    "yum",
    "zip",
    "zsh",
];

/// Commands that are also English words. They need a sign of the shell beside them.
const WORDS: &[&str] = &[
    "cat", "clang", "clear", "convert", "cut", "date", "dig", "env", "eval", "exec", "exit",
    "export", "file", "find", "head", "history", "host", "kill", "less", "locate", "make", "man",
    "more", "nohup", "open", "patch", "read", "screen", "sleep", "snap", "sort", "source", "split",
    "stat", "strings", "tail", "test", "time", "top", "touch", "trap", "tr", "tree", "type",
    "uniq", "unset", "watch", "which", "who", "yes",
];

/// Commands that are often written alone.
const ALONE: &[&str] = &[
    "df",
    "htop",
    "ifconfig",
    "ls",
    "nvidia-smi",
    "ps",
    "pwd",
    "pytest",
    "uname",
    "uptime",
    "whoami",
];

/// Returns the similarity of a line to a command, in points of the feature table.
pub fn points(line: &str) -> u32 {
    let mut words = line.split_whitespace().skip_while(|word| is_assignment(word)).peekable();
    if words.peek() == Some(&"sudo") {
        words.next();
    }
    let Some(command) = words.next() else { return 0 };
    let Some(argument) = words.next() else { return if ALONE.contains(&command) { 3 } else { 0 } };
    // `git = 1` and `pip (…)` are other languages; `docker is …` is a sentence.
    if argument.starts_with(['=', '(', ':'])
        || matches!(argument, "is" | "was" | "has" | "does" | "in" | "and" | "or")
    {
        return 0;
    }
    if COMMANDS.contains(&command) {
        3
    } else if WORDS.contains(&command) && has_shell_sign(line) {
        2
    } else {
        0
    }
}

/// True if a line has an option, a path, a file name, a variable, a glob, a pipe or a redirection.
fn has_shell_sign(line: &str) -> bool {
    line.split_whitespace().skip(1).any(|word| {
        matches!(word, "|" | "||" | "&&" | ">" | ">>" | "<" | "*" | "<<EOF" | "\\")
            || word.starts_with(['-', '/', '~', '$', '*', '"', '\'', '.', '@'])
            || word.contains('/')
            || crate::filename::looks_like_filename(word)
    }) || line.split_whitespace().nth(1).is_some_and(|word| word.parse::<f64>().is_ok())
}

/// True if a line uses a feature of bash that POSIX does not have.
pub fn needs_bash(line: &str) -> bool {
    let mut words = line.split_whitespace();
    matches!(
        words.next(),
        Some(
            "source"
                | "function"
                | "declare"
                | "shopt"
                | "pushd"
                | "popd"
                | "mapfile"
                | "readarray"
        )
    ) || line.split_whitespace().any(|word| matches!(word, "[[" | "pipefail"))
        || ["<<<", "<(", "&>", "=(", "[@]", "{1..", "{0..", "$RANDOM", "$'"]
            .iter()
            .any(|sign| line.contains(sign))
}

/// True if a line is a command after a prompt, as in a transcript: `$ ls`, `user@host:~$ ls`,
/// `PS C:\> dir`.
pub fn is_prompt(line: &str) -> bool {
    if line.starts_with("$ ")
        || line.starts_with("PS ") && line.contains("> ")
        || line.starts_with("C:\\") && line.contains('>')
    {
        return true;
    }
    let Some((prompt, _)) = line.split_once("$ ").or_else(|| line.split_once("# ")) else {
        return false;
    };
    !prompt.contains(char::is_whitespace) && prompt.contains('@') && prompt.contains(':')
}

/// True if a word is `NAME=value`, as before a command.
fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    })
}
