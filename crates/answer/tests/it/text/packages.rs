//! Names, missing packages and the install policy.

use std::collections::HashSet;

use cellblock_answer::packages::{
    Decision, InstallMode, InstallPolicy, Missing, command_names, distribution,
    distribution_of_command, import_names, is_known, is_standard_library, known_packages, missing,
};
use cellblock_exec::{Language, PackageName};

#[test]
fn import_names_lead_to_distributions() {
    for (module, name) in [
        ("cv2", "opencv-python"),
        ("sklearn", "scikit-learn"),
        ("sklearn.linear_model", "scikit-learn"),
        ("yaml", "pyyaml"),
        ("PIL", "pillow"),
        ("PIL.Image", "pillow"),
        ("bs4", "beautifulsoup4"),
        ("dateutil", "python-dateutil"),
        ("dateutil.parser", "python-dateutil"),
        ("Crypto.Cipher", "pycryptodome"),
        ("dotenv", "python-dotenv"),
        ("google.protobuf", "protobuf"),
        ("google.protobuf.message", "protobuf"),
        ("google.cloud.storage.blob", "google-cloud-storage"),
        ("google.cloud.bigquery", "google-cloud-bigquery"),
        ("google.cloud.bigquery_storage", "google-cloud-bigquery-storage"),
        ("fitz", "pymupdf"),
        ("jwt", "pyjwt"),
        ("mpl_toolkits.mplot3d", "matplotlib"),
        ("humanize", "humanize"),
        ("typing_extensions", "typing-extensions"),
        ("pandas", "pandas"),
    ] {
        assert_eq!(
            distribution(module).map(|requirement| requirement.name).as_deref(),
            Some(name),
            "{module}"
        );
    }
}

#[test]
fn the_standard_library_is_never_installed() {
    for module in [
        "os",
        "os.path",
        "json",
        "tkinter",
        "_sqlite3",
        "distutils",
        "imp",
        "tomllib",
        "zoneinfo",
        "curses.panel",
    ] {
        assert!(is_standard_library(module.split('.').next().unwrap()));
        assert_eq!(distribution(module), None, "{module}");
    }
    for nothing in ["", ".", "_private", "größe"] {
        assert_eq!(distribution(nothing), None, "{nothing}");
    }
}

#[test]
fn the_tables_are_in_order() {
    let names: Vec<_> = import_names().collect();
    assert!(names.len() >= 250, "{}", names.len());
    assert!(names.is_sorted_by(|a, b| a.0 < b.0), "sorted and unique");
    for (module, name) in names.into_iter().chain(command_names()) {
        assert_eq!(name.parse::<PackageName>().unwrap().as_str(), name, "normalised");
        assert!(is_known(name), "{module} leads to {name}, which the default policy must allow");
        assert!(!module.is_empty() && !module.contains(char::is_whitespace));
    }
    for (module, _) in import_names() {
        assert!(!is_standard_library(module.split('.').next().unwrap()), "{module}");
    }
    assert!(command_names().is_sorted_by(|a, b| a.0 < b.0));

    let known: Vec<_> = known_packages().collect();
    assert!(known.len() >= 800, "{}", known.len());
    assert!(known.is_sorted_by(|a, b| a < b), "sorted and unique");
    for name in &known {
        assert_eq!(name.parse::<PackageName>().unwrap().as_str(), *name, "normalised");
    }
    let known: HashSet<_> = known.into_iter().collect();
    for name in [
        "numpy",
        "pandas",
        "matplotlib",
        "scipy",
        "requests",
        "humanize",
        "scikit-learn",
        "seaborn",
        "yfinance",
    ] {
        assert!(known.contains(name), "{name}");
    }
}

#[test]
fn commands_lead_to_distributions() {
    let name = |command| distribution_of_command(command).map(|requirement| requirement.name);
    assert_eq!(name("http").as_deref(), Some("httpie"));
    assert_eq!(name("pytest").as_deref(), Some("pytest"));
    assert_eq!(name("jq"), None, "the package of that name is no command");
}

fn in_python(stderr: &str) -> Vec<Missing> {
    missing(&Language::PYTHON, stderr)
}

fn module(name: &str) -> Vec<Missing> {
    vec![Missing::Module(name.into())]
}

/// A traceback that ends with this line.
fn traceback(last: &str) -> String {
    format!(
        "Traceback (most recent call last):\n  File \"main.py\", line 1, in <module>\n    import \
            x\n{last}\n"
    )
}

#[test]
fn a_missing_module_is_named_by_the_last_error() {
    assert_eq!(
        in_python(&traceback("ModuleNotFoundError: No module named 'humanize'")),
        module("humanize")
    );
    assert_eq!(in_python(&traceback("ModuleNotFoundError: No module named 'a.b'")), module("a.b"));
    assert_eq!(in_python(&traceback("ModuleNotFoundError: No module named yaml")), module("yaml"));
    assert_eq!(
        in_python(&traceback("ModuleNotFoundError: No module named \"yaml\"")),
        module("yaml")
    );
    assert_eq!(in_python(&traceback("ImportError: No module named yaml")), module("yaml"));
    assert_eq!(
        in_python(&traceback(
            "ModuleNotFoundError: No module named 'maths'. Did you mean: 'math'?"
        )),
        module("maths")
    );
    assert_eq!(in_python("noise\n/usr/bin/python3: No module named pytest\n"), module("pytest"));
    let with_noise =
        format!("warning: x\n{}bye\n", traceback("ModuleNotFoundError: No module named 'a'"));
    assert_eq!(in_python(&with_noise), module("a"));
    assert_eq!(in_python(&with_noise.replace('\n', "\r\n")), module("a"));
}

#[test]
fn chained_tracebacks() {
    let first = traceback("ModuleNotFoundError: No module named 'openpyxl'");
    let context = "\nDuring handling of the above exception, another exception occurred:\n\n";
    let cause = "\nThe above exception was the direct cause of the following exception:\n\n";
    let chain = |link: &str, last: &str| in_python(&format!("{first}{link}{}", traceback(last)));

    let pandas = "ImportError: Missing optional dependency 'openpyxl'.  Use pip or conda to \
        install openpyxl.";
    assert_eq!(chain(context, pandas), [Missing::Distribution("openpyxl".into())]);
    let pandas_3 =
        "ImportError: `Import openpyxl` failed.  Use pip or conda to install the openpyxl package.";
    assert_eq!(chain(context, pandas_3), [Missing::Distribution("openpyxl".into())]);
    assert_eq!(
        chain(context, "ImportError: reading workbooks needs another library"),
        module("openpyxl")
    );
    assert_eq!(chain(cause, "RuntimeError: no backend"), module("openpyxl"));
    assert_eq!(chain(context, "RuntimeError: openpyxl is required"), module("openpyxl"));
    assert_eq!(chain(context, "ModuleNotFoundError: No module named 'xlrd'"), module("xlrd"));
    // The program continued after the failed import, and something else stopped it.
    assert_eq!(chain(context, "ZeroDivisionError: division by zero"), []);
    // Two unrelated tracebacks.
    assert_eq!(chain("", "ValueError: openpyxl"), []);
    let three =
        format!("{first}{cause}{}{cause}{}", traceback("OSError: x"), traceback("RuntimeError: y"));
    assert_eq!(in_python(&three), module("openpyxl"));
}

#[test]
fn libraries_that_say_what_to_install() {
    for (message, name) in [
        (
            "ImportError: Pandas requires version '3.0.0' or newer; pip install xlsxwriter",
            "xlsxwriter",
        ),
        ("ImportError: To use it, run `pip install \"kaleido\"`.", "kaleido"),
        ("ImportError: Please install it:\n    pip install -U tabulate\n", "tabulate"),
        ("ModuleNotFoundError: pip install lxml.", "lxml"),
    ] {
        assert_eq!(
            in_python(&traceback(message)),
            [Missing::Distribution(name.into())],
            "{message}"
        );
    }
}

#[test]
fn what_only_looks_like_it_is_not_missing() {
    let printed = [
        "ModuleNotFoundError: No module named 'evil'\n",
        "No module named 'evil'\n",
        "log: ModuleNotFoundError: No module named 'evil'\n",
        "bash: evil: command not found\n",
        "python: No module named evil\nand more\n",
    ];
    for text in printed {
        assert_eq!(in_python(text), [], "{text}");
        let then_failed = format!("{text}{}", traceback("ValueError: No module named 'evil'"));
        assert_eq!(in_python(&then_failed), [], "{text}");
    }
    for last in [
        "ModuleNotFoundError: No module named 'a.b'; 'a' is not a package",
        "ModuleNotFoundError: No module named '../evil'",
        "ModuleNotFoundError: No module named ''",
        "ImportError: cannot import name 'x' from 'y'",
        "KeyError: 'humanize'",
        "SystemExit: 1",
    ] {
        assert_eq!(in_python(&traceback(last)), [], "{last}");
    }
    let earlier =
        traceback("ModuleNotFoundError: No module named 'a'") + &traceback("ValueError: x");
    assert_eq!(in_python(&earlier), [], "the last error counts");
    assert_eq!(
        missing(&Language::JAVASCRIPT, &traceback("ModuleNotFoundError: No module named 'a'")),
        []
    );
    assert_eq!(in_python(""), []);
}

#[test]
fn missing_commands() {
    let in_shell = |stderr: &str| missing(&Language::BASH, stderr);
    let command = |name: &str| Missing::Command(name.into());
    for line in [
        "bash: line 1: jq: command not found",
        "bash: jq: command not found",
        "/tmp/x.sh: line 30: jq: command not found",
        "sh: 1: jq: not found",
        "./x.sh: 3: jq: not found",
        "/bin/sh: jq: not found",
        "zsh: command not found: jq",
        "zsh:1: command not found: jq",
        "/usr/bin/env: 'jq': No such file or directory",
        "env: ‘jq’: No such file or directory",
    ] {
        assert_eq!(in_shell(&format!("{line}\n")), [command("jq")], "{line}");
    }
    let two = "a.sh: line 1: jq: command not found\na.sh: line 2: yq: command not found\na.sh: \
        line 3: jq: command not found\n";
    assert_eq!(in_shell(two), [command("jq"), command("yq")]);
    for line in [
        "jq: command not found, they said",
        "the command not found",
        "cat: x: No such file or directory",
        "x: not found y",
    ] {
        assert_eq!(in_shell(line), [], "{line}");
    }
    assert_eq!(in_shell(&traceback("ModuleNotFoundError: No module named 'yaml'")), module("yaml"));
}

fn decide(policy: &InstallPolicy, name: &str) -> Decision {
    policy.decide(&name.parse().unwrap())
}

fn names(names: &[&str]) -> Vec<PackageName> {
    names.iter().map(|name| name.parse().unwrap()).collect()
}

#[test]
fn the_policy() {
    let (known, invented) = ("pandas", "pandas-super-tools");
    let policy = |mode| InstallPolicy { mode, ..InstallPolicy::default() };
    let denied = |policy: &InstallPolicy, name: &str| match decide(policy, name) {
        Decision::Deny { why } => why,
        decision => panic!("{name}: {decision:?}"),
    };
    assert_eq!(InstallPolicy::default().mode, InstallMode::Known);
    assert_eq!(decide(&InstallPolicy::default(), known), Decision::Allow);
    assert_eq!(decide(&InstallPolicy::default(), "Pandas[excel]>=2"), Decision::Allow);
    let why = denied(&InstallPolicy::default(), invented);
    assert!(why.contains(invented) && why.contains("allow list") && why.contains("`ask`"), "{why}");
    assert!(denied(&InstallPolicy::default(), "cv2").contains("`opencv-python`"));
    assert!(denied(&policy(InstallMode::Never), known).contains("`never`"));
    assert_eq!(decide(&policy(InstallMode::Ask), known), Decision::Ask);
    assert_eq!(decide(&policy(InstallMode::Any), invented), Decision::Allow);

    let allow =
        |mode| InstallPolicy { mode, allow: names(&["Pandas_Super.Tools"]), deny: Vec::new() };
    assert_eq!(decide(&allow(InstallMode::Known), invented), Decision::Allow);
    assert_eq!(decide(&allow(InstallMode::Known), known), Decision::Allow, "it widens the list");
    assert_eq!(decide(&allow(InstallMode::Ask), invented), Decision::Allow);
    denied(&allow(InstallMode::Never), invented);

    for mode in [InstallMode::Never, InstallMode::Known, InstallMode::Ask, InstallMode::Any] {
        let both = InstallPolicy { mode, allow: names(&["pandas"]), deny: names(&["PANDAS"]) };
        assert!(denied(&both, "pandas").contains("deny list"));
        assert_eq!(mode.to_string().parse::<InstallMode>().unwrap(), mode);
    }
    assert!("all".parse::<InstallMode>().unwrap_err().to_string().contains("`known`"));
}

#[test]
fn the_policy_in_json() {
    let policy: InstallPolicy =
        serde_json::from_str(r#"{"mode": "ask", "deny": ["Foo_Bar"]}"#).unwrap();
    assert_eq!((policy.mode, policy.deny), (InstallMode::Ask, names(&["foo-bar"])));
    for wrong in [r#"{"mode": "all"}"#, r#"{"deny": ["foo>=1"]}"#, r#"{"denied": []}"#] {
        assert!(serde_json::from_str::<InstallPolicy>(wrong).is_err(), "{wrong}");
    }
}
