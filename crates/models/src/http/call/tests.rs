use super::*;

fn headers(
    key: Option<&str>,
    key_place: KeyPlace,
    others: &[(&str, &str)],
) -> Result<HeaderMap, ModelError> {
    let key = key.map(SecretString::from);
    let others: Vec<_> =
        others.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    let call = Call {
        provider: "acme",
        connection: &Connection::default(),
        base_url: "http://127.0.0.1:1/v1",
        path: "chat",
        query: &[],
        key: key.as_ref(),
        key_variable: Some("ACME_KEY"),
        key_place,
        default_headers: &[("x-version", "1")],
        headers: &others,
        body: Bytes::new(),
        framing: Framing::Whole,
    };
    call.prepare().map(|call| call.headers)
}

#[test]
fn the_key_goes_to_its_place_without_the_line_break_after_it() {
    for (place, name, value) in [
        (KeyPlace::Bearer, "authorization", "Bearer sesame"),
        (KeyPlace::ApiKey, "api-key", "sesame"),
        (KeyPlace::XApiKey, "x-api-key", "sesame"),
    ] {
        let headers = headers(Some("sesame\n"), place, &[("x-title", "me")]).unwrap();
        assert_eq!(headers[name], value);
        assert_eq!(headers["x-title"], "me");
        assert!(!format!("{headers:?}").contains("sesame"));
    }
}

#[test]
fn a_default_header_can_be_replaced() {
    let version = |others| {
        headers(Some("k"), KeyPlace::Bearer, others).unwrap()["x-version"]
            .to_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(version(&[]), "1");
    assert_eq!(version(&[("x-version", "2")]), "2");
}

#[test]
fn a_missing_key_names_the_variable() {
    for none in [None, Some(""), Some(" \n")] {
        let error = headers(none, KeyPlace::Bearer, &[]).unwrap_err();
        assert!(
            matches!(&error, ModelError::NoKey { variable, .. } if variable == "ACME_KEY"),
            "{error}"
        );
    }
}

#[test]
fn an_invalid_header_is_refused_without_showing_it() {
    for (key, others) in [
        ("sesame\r\nhost: evil", &[][..]),
        ("sésame", &[][..]),
        ("k", &[("bad name", "sesame")][..]),
        ("k", &[("x", "sesame\n\nx")][..]),
    ] {
        let error = headers(Some(key), KeyPlace::Bearer, others).unwrap_err();
        assert!(matches!(error, ModelError::Start { .. }));
        assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
    }
}
