//! Requirements: accepted texts, their normal forms, and refused texts.

use cellblock_exec::Requirement;
use proptest::{collection::vec, prelude::*, sample::select};

#[test]
fn requirements_are_read_and_normalised() {
    for (text, shown) in [
        ("humanize", "humanize"),
        (" Flask_SQLAlchemy ", "flask-sqlalchemy"),
        ("zope..interface", "zope-interface"),
        ("humanize>=4,<5", "humanize>=4,<5"),
        ("humanize >= 4.0 , < 5", "humanize>=4.0,<5"),
        ("numpy==1.*", "numpy==1.*"),
        ("numpy~=1.26", "numpy~=1.26"),
        ("numpy!=1.26.1", "numpy!=1.26.1"),
        ("pandas[excel]", "pandas[excel]"),
        ("pandas[Excel, Plot_ting]==2.2.0", "pandas[excel,plot-ting]==2.2.0"),
        ("pandas [excel] >=2", "pandas[excel]>=2"),
        ("pandas[]", "pandas"),
        ("x==2.0rc1", "x==2.0rc1"),
        ("7zip", "7zip"),
    ] {
        let requirement: Requirement =
            text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(requirement.to_string(), shown, "{text}");
        assert_eq!(shown.parse::<Requirement>().unwrap(), requirement, "{text}");
    }
}

#[test]
fn what_is_no_package_of_the_index_is_refused() {
    for (text, why) in [
        ("", "empty"),
        ("-r", "options"),
        ("-r requirements.txt", "options"),
        ("--index-url=x", "options"),
        ("https://example.com/x.whl", "URL"),
        ("git+https://example.com/x", "URL"),
        ("x @ https://example.com/x.whl", "URL"),
        ("x@1", "URL"),
        ("./x", "path"),
        ("../../x", "path"),
        ("/tmp/x.whl", "path"),
        ("a/b", "path"),
        ("~x", "path"),
        (".", "path"),
        ("c:\\x", "path"),
        ("x; python_version < '3'", "markers"),
        ("x;rm -rf", "markers"),
        ("$(id)", "shell syntax"),
        ("x`id`", "shell syntax"),
        ("x|y", "shell syntax"),
        ("x && y", "shell syntax"),
        ("$PACKAGE", "shell syntax"),
        ("x\0", "shell syntax"),
        ("x y", "version specifier"),
        ("x==", "version specifier"),
        ("x=1", "version specifier"),
        ("x>=a", "version specifier"),
        ("x[a", "extras"),
        ("x[a b]", "extra"),
        ("x[a]]", "version specifier"),
        ("_x", "letter or digit"),
        ("x-", "letter or digit"),
        ("größe", "version specifier"),
        (">=1", "letter or digit"),
    ] {
        let refused = text.parse::<Requirement>().unwrap_err();
        assert!(refused.to_string().contains(why), "{text:?}: {refused}");
    }
    let long = "x".repeat(1_000_000).parse::<Requirement>().unwrap_err();
    assert!(long.why.contains("too long") && long.to_string().len() < 300);
}

#[test]
fn requirements_are_text_in_json() {
    let requirement: Requirement = serde_json::from_str("\"Humanize>=4\"").unwrap();
    assert_eq!(serde_json::to_string(&requirement).unwrap(), "\"humanize>=4\"");
    assert!(serde_json::from_str::<Requirement>("\"../x\"").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn requirements_keep_their_meaning(
        name in "[A-Za-z0-9]([A-Za-z0-9._-]{0,10}[A-Za-z0-9])?",
        extras in vec("[a-zA-Z](_?[a-z0-9]){0,5}", 0..3),
        versions in vec(
            (
                select(vec!["==", "!=", ">=", "<=", "<", ">", "~="]),
                "[0-9]{1,2}(\\.[0-9]{1,2}){1,2}",
            ),
            0..3,
        ),
        blank in select(vec!["", " "]),
    ) {
        let mut text = name.clone();
        if !extras.is_empty() {
            text += &format!("{blank}[{}]", extras.join(","));
        }
        let versions: Vec<_> = versions
            .iter()
            .map(|(operator, version)| format!("{operator}{blank}{version}"))
            .collect();
        text += &format!("{blank}{}", versions.join(","));
        let requirement: Requirement = text.parse().unwrap();
        let parts = requirement.version.split(',').filter(|part| !part.is_empty());
        prop_assert_eq!(parts.count(), versions.len());
        prop_assert_eq!(requirement.to_string().parse::<Requirement>().unwrap(), requirement);
    }
}
