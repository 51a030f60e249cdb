//! Install commands in shell blocks and Python cells.

use cellblock_answer::language::from_tag;
use cellblock_answer::packages::{RequestRefused, split_installs};

/// The packages of each request with its line, and the code that remains.
type Parts = (Vec<(usize, String)>, Option<String>);

fn split(language: &str, code: &str) -> Result<Parts, RequestRefused> {
    let split = split_installs(&from_tag(language).unwrap(), code)?;
    if let Some(rest) = &split.code {
        assert_eq!(
            rest.lines().count(),
            code.lines().count(),
            "every line keeps its number:\n{code}\n---\n{rest}"
        );
    }
    let packages = |request: cellblock_answer::packages::InstallRequest| {
        let names: Vec<_> = request.packages.iter().map(ToString::to_string).collect();
        (request.line, names.join(" "))
    };
    Ok((split.requests.into_iter().map(packages).collect(), split.code))
}

fn parts(requests: &[(usize, &str)], code: Option<&str>) -> Result<Parts, RequestRefused> {
    let requests =
        requests.iter().map(|(line, packages)| (*line, (*packages).to_owned())).collect();
    Ok((requests, code.map(str::to_owned)))
}

#[test]
fn every_form_of_the_command() {
    for command in [
        "pip install x y",
        "pip3 install x y",
        "pip3.12 install x y",
        "pip install -q x y",
        "pip install -qU x y",
        "pip -q install --upgrade x y --no-cache-dir",
        "pip install --progress-bar off x --timeout=5 y",
        "pip install 'x' \"y\"",
        "pip install \\\n  x \\\n  y",
        "pip install x y # the libraries",
        "python -m pip install x y",
        "python3 -m pip install x y",
        "python3.12 -u -m pip install x y",
        "/usr/bin/python3 -m pip install x y",
        ".venv/bin/pip install x y",
        "py -3 -m pip install x y",
        "uv pip install --system x y",
        "uv add x y",
        "python -m uv pip install x y",
        "sudo -H pip install x y",
        "$ pip install x y",
        "!pip install x y",
        "%pip install x y",
        "! pip install x y",
        "pip install x y > /dev/null 2>&1",
        "pip install x y &> install.log",
        "pip install x y | tail -n 1",
        "pip install x y 2>&1 | grep -v already | tail -1",
    ] {
        assert_eq!(split("bash", command), parts(&[(1, "x y")], None), "{command}");
        assert_eq!(split("python", command), parts(&[(1, "x y")], None), "{command}");
        for language in ["sh", "zsh", "fish", "powershell"] {
            assert_eq!(
                split(language, command),
                parts(&[(1, "x y")], None),
                "{language}: {command}"
            );
        }
    }
    for command in ["!{sys.executable} -m pip install x", "%pip install -q x"] {
        assert_eq!(split("python", command), parts(&[(1, "x")], None), "{command}");
    }
}

#[test]
fn versions_and_extras() {
    for language in ["bash", "python"] {
        let command = "pip install 'pandas[excel]>=2,<3' numpy==1.26.4 humanize>=4 \"x<2\"\n";
        assert_eq!(
            split(language, command),
            parts(&[(1, "pandas[excel]>=2,<3 numpy==1.26.4 humanize>=4 x<2")], None)
        );
    }
}

#[test]
fn the_installer_itself_is_not_installed() {
    assert_eq!(
        split("bash", "pip install --upgrade pip\npip install x"),
        parts(&[(1, ""), (2, "x")], None)
    );
}

#[test]
fn other_commands_stay() {
    for code in [
        "ls -la",
        "pip list",
        "pip --version",
        "pip uninstall -y x",
        "echo pip install x",
        "echo \"pip install x\"",
        "echo 'a\npip install x\n'",
        "# pip install x",
        "ls # ; pip install x",
        "cat > setup.sh <<EOF\npip install x\nEOF\nls",
        "cat <<-'END'\n\tpip install x\n\tEND\nls",
        "x=$(pip install x)",
        "echo `pip install x`",
        "pipx install x",
        "conda install x",
        "python pip install x",
        "python -c 'pip install x'",
        "pip-compile install x",
        "grep pip install.txt",
        "npm install x",
        "",
    ] {
        assert_eq!(split("bash", code), parts(&[], Some(code)), "{code}");
    }
}

#[test]
fn the_rest_of_a_script_goes_on() {
    for (code, requests, rest) in [
        ("pip install x && python y.py", &[(1, "x")][..], "true && python y.py"),
        ("cd a; pip install x; ls", &[(1, "x")], "cd a; true; ls"),
        ("pip install x || echo failed", &[(1, "x")], "true || echo failed"),
        ("pip install x &\nwait", &[(1, "x")], "true &\nwait"),
        ("pip install \\\n  x \\\n  y && ls", &[(1, "x y")], "true \\\n \\\n && ls"),
        (
            "ls\n\npip install \\\n  x\npip install y\nls",
            &[(3, "x"), (5, "y")],
            "ls\n\ntrue \\\n\ntrue\nls",
        ),
        ("if ! pip show x; then pip install x; fi", &[(1, "x")], "if ! pip show x; then true; fi"),
        ("(cd a && pip install x)", &[(1, "x")], "(cd a && true)"),
        ("{ pip install x; }\nls", &[(1, "x")], "{ true; }\nls"),
        ("f() {\n  pip install x\n}\nf", &[(2, "x")], "f() {\n  true\n}\nf"),
        ("pip install x | sort", &[(1, "x")], "true | sort"),
        ("pip install x |& tail -1; ls", &[(1, "x")], "true; ls"),
        (
            "cat <<A <<B\n1\nA\n2\nB\npip install x\nls",
            &[(6, "x")],
            "cat <<A <<B\n1\nA\n2\nB\ntrue\nls",
        ),
        (
            "a=$((1 << 2))\n((b = 1 << 2))\npip install x",
            &[(3, "x")],
            "a=$((1 << 2))\n((b = 1 << 2))\ntrue",
        ),
        ("cat <<< word\npip install x", &[(2, "x")], "cat <<< word\ntrue"),
        ("2>log pip install x; ls", &[(1, "x")], "true; ls"),
        ("ls\r\npip install x\r\nls\r\n", &[(2, "x")], "ls\r\ntrue\r\nls\r\n"),
    ] {
        assert_eq!(split("bash", code), parts(requests, Some(rest)), "{code}");
    }
    let in_zsh = "pip install x\nls";
    assert_eq!(
        split("zsh", in_zsh),
        parts(&[], Some(in_zsh)),
        "another shell's script is not rewritten"
    );
    assert_eq!(split("javascript", "pip install x"), parts(&[], Some("pip install x")));
}

#[test]
fn the_rest_of_a_cell_goes_on() {
    for (code, requests, rest) in [
        ("!pip install x\nimport x", &[(1, "x")][..], "pass\nimport x"),
        ("pip install x\nimport x\n", &[(1, "x")], "pass\nimport x\n"),
        ("import a\n%pip install \\\n  x\nimport x", &[(2, "x")], "import a\npass\n\nimport x"),
        (
            "try:\n    import x\nexcept ImportError:\n    !pip install x\n    import x\n",
            &[(4, "x")],
            "try:\n    import x\nexcept ImportError:\n    pass\n    import x\n",
        ),
        ("s = '''\ntext'''\n!pip install x", &[(3, "x")], "s = '''\ntext'''\npass"),
        ("f(a,\n  b)\n!pip install x", &[(3, "x")], "f(a,\n  b)\npass"),
        ("it = 1  # isn't (\n!pip install x", &[(2, "x")], "it = 1  # isn't (\npass"),
        ("s = 'it\\'s ('\n!pip install x", &[(2, "x")], "s = 'it\\'s ('\npass"),
        ("!echo it's (\n!pip install x", &[(2, "x")], "!echo it's (\npass"),
        ("!pip install x && pip install y\nx", &[(1, "x"), (1, "y")], "pass\nx"),
        ("x = 1 + \\\n  2\n!pip install x\r\n", &[(3, "x")], "x = 1 + \\\n  2\npass\n"),
    ] {
        assert_eq!(split("python", code), parts(requests, Some(rest)), "{code}");
    }
    assert_eq!(split("python", "# Install\n!pip install x\n\n"), parts(&[(2, "x")], None));
}

#[test]
fn what_is_not_a_statement_of_a_cell_stays() {
    for code in [
        "s = \"\"\"\npip install x\n!pip install x\n\"\"\"",
        "s = '''\n%pip install x\n'''",
        "s = r'''\\''\n!pip install x\n'''",
        "f(\n!pip install x\n)",
        "x = [\npip install x\n]",
        "x = 1 + \\\npip install x",
        "s = 'a\\\n!pip install x'",
        "# pip install x",
        "print('pip install x')",
        "os.system('pip install x')",
        "pip = 1",
        "pip",
        "%matplotlib inline",
        "!ls",
        "python = pip",
        "",
    ] {
        assert_eq!(split("python", code), parts(&[], Some(code)), "{code}");
    }
}

#[test]
fn requests_for_more_than_packages_are_refused() {
    for (arguments, why) in [
        ("-r requirements.txt", "name the packages"),
        ("-rrequirements.txt", "name the packages"),
        ("--requirement=requirements.txt", "name the packages"),
        ("-c constraints.txt x", "name the packages"),
        ("--index-url http://example.com x", "configured index"),
        ("--index-url=http://example.com x", "configured index"),
        ("-i http://example.com x", "configured index"),
        ("--extra-index-url http://example.com x", "configured index"),
        ("-f http://example.com x", "configured index"),
        ("-e .", "path"),
        (".", "path"),
        ("./x.whl", "path"),
        ("/tmp/x", "path"),
        ("git+https://example.com/x", "URL"),
        ("https://example.com/x.whl", "URL"),
        ("'x @ https://example.com/x.whl'", "URL"),
        ("$PACKAGE", "shell syntax"),
        ("$(cat list)", "shell syntax"),
        ("\"${x}\"", "shell syntax"),
        ("'x; python_version < \"3\"'", "markers"),
        ("--target=/tmp x", "cannot choose where"),
        ("--pre x", "pre-release"),
        ("--no-such-option x", "`--no-such-option` is not supported"),
        ("x -- -r", "options"),
        ("x <<EOF\ny\nEOF", "\"<<\""),
        ("", "names no package"),
    ] {
        for language in ["bash", "python"] {
            let refused = split(language, &format!("\npip install {arguments}\n")).unwrap_err();
            assert!(refused.to_string().contains(why), "{language}: {arguments}: {refused}");
            assert_eq!(refused.line, 2);
        }
    }
    let refused = split("bash", "ls\nPIP_INDEX_URL=http://example.com pip install x").unwrap_err();
    assert!(refused.line == 2 && refused.why.contains("variable"), "{refused}");
    assert_eq!(split("bash", "PYTHONUTF8=1 pip install x"), parts(&[(1, "x")], None));
    let refused = split("python", "!pip install x && python y.py").unwrap_err();
    assert!(refused.why.contains("`python`") && refused.why.contains("shell block"), "{refused}");
    for code in ["!conda install x", "%conda install -y x", "conda install x"] {
        assert!(split("python", code).unwrap_err().why.contains("pip install"), "{code}");
    }
}

/// Texts with unterminated syntax.
#[test]
fn unterminated_syntax_is_no_failure() {
    for code in [
        "echo '",
        "echo \"",
        "echo `",
        "echo $(",
        "cat <<EOF\nx",
        "((",
        "echo \\",
        "<",
        "2>",
        "|",
        "&&",
        "\"$(\"",
        "<(",
        "<<",
    ] {
        assert_eq!(split("bash", code), parts(&[], Some(code)), "{code}");
        assert_eq!(split("python", code), parts(&[], Some(code)), "{code}");
        assert!(split("bash", &format!("pip install x\n{code}")).is_ok());
    }
}
