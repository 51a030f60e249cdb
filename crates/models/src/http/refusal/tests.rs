use cellblock_agents::ModelError;
use reqwest::header::HeaderValue;

use super::*;

fn read(status: u16, body: &str) -> Refusal {
    Refusal::from_body(StatusCode::from_u16(status).unwrap(), body.as_bytes())
}

fn error(status: u16, body: &str) -> ModelError {
    read(status, body).error("acme", None, &[])
}

#[test]
fn the_messages_of_the_different_providers_are_found() {
    for (body, message) in [
        (
            r#"{"error":{"message":"no such model","type":"invalid_request_error",
                "code":"model_not_found"}}"#,
            "no such model",
        ),
        (
            r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#,
            "Overloaded",
        ),
        (r#"{"error":"model 'x' not found"}"#, "model 'x' not found"),
        (r#"{"object":"error","message":"bad"}"#, "bad"),
        (r#"{"detail":"Not Found"}"#, "Not Found"),
        (
            r#"{"detail":[{"loc":["body"],"msg":"missing"}]}"#,
            r#"[{"loc":["body"],"msg":"missing"}]"#,
        ),
        (
            r#"[{"error":{"code":400,"message":"API key not valid",
                "status":"INVALID_ARGUMENT"}}]"#,
            "API key not valid",
        ),
        (
            r#"{"error":{"message":"Provider returned error","code":400,
                "metadata":{"raw":"too hot"}}}"#,
            "Provider returned error: too hot",
        ),
        (
            "<html><head><TITLE> 502 Bad Gateway </TITLE></head><body>x</body></html>",
            "502 Bad Gateway (a web page)",
        ),
        ("<p>go <b>away</b></p>", "go away"),
        ("plain words", "plain words"),
        ("", "Bad Request"),
        ("{}", "{}"),
        ("null", "null"),
        ("[]", "[]"),
        ("\u{fffd}", "\u{fffd}"),
    ] {
        let found = match error(400, body) {
            ModelError::Status { message, .. } => message,
            other => panic!("{body}: {other:?}"),
        };
        assert_eq!(found, message, "{body}");
    }
}

#[test]
fn statuses_become_the_errors_that_they_mean() {
    assert!(matches!(error(401, "x"), ModelError::Unauthorized { .. }));
    assert!(matches!(error(403, "x"), ModelError::Unauthorized { .. }));
    assert!(matches!(error(429, "x"), ModelError::RateLimited { .. }));
    assert!(matches!(error(404, "x"), ModelError::Status { status: 404, .. }));
    assert!(matches!(error(500, "x"), ModelError::Status { status: 500, .. }));
    assert!(matches!(error(529, "x"), ModelError::Status { status: 529, .. }));
}

#[test]
fn conversations_that_are_too_long_are_distinguished_from_other_failures() {
    for (status, body) in [
        (400, r#"{"error":{"message":"Please reduce","code":"context_length_exceeded"}}"#),
        (400, r#"{"error":{"message":"This model's maximum context length is 4096 tokens."}}"#),
        (
            400,
            r#"{"type":"error","error":{"type":"invalid_request_error",
                "message":"prompt is too long: 9 tokens > 8 maximum"}}"#,
        ),
        (
            400,
            r#"{"error":{"code":400,"message":"the request exceeds the available context size",
                "type":"exceed_context_size_error"}}"#,
        ),
        (
            413,
            r#"{"type":"error","error":{"type":"request_too_large",
                "message":"Request exceeds the maximum size"}}"#,
        ),
        (413, ""),
        (500, r#"{"error":{"message":"the prompt exceeds the context window"}}"#),
    ] {
        assert!(matches!(error(status, body), ModelError::TooLong { .. }), "{body}");
        assert!(!read(status, body).is_transient(), "{body}");
    }
    assert!(matches!(
        error(400, r#"{"error":{"message":"max_tokens is too large"}}"#),
        ModelError::Status { .. }
    ));
    // A limit on tokens per minute is not a limit of the model.
    let busy = r#"{"error":{"message":"Rate limit: too many input tokens per minute",
        "type":"rate_limit_error"}}"#;
    assert!(matches!(error(429, busy), ModelError::RateLimited { .. }));
}

#[test]
fn transient_failures_are_retried_and_an_empty_account_is_not() {
    for status in [408, 409, 425, 429, 500, 502, 503, 504, 529] {
        assert!(read(status, "x").is_transient(), "{status}");
    }
    for status in [400, 401, 402, 403, 404, 422] {
        assert!(!read(status, "x").is_transient(), "{status}");
    }
    let no_credit = r#"{"error":{"message":"pay","code":"insufficient_quota"}}"#;
    assert!(!read(429, no_credit).is_transient());
}

#[test]
fn errors_without_a_status_get_the_one_that_fits() {
    for (json, status) in [
        (r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#, 529),
        (r#"{"error":{"message":"x","code":502}}"#, 502),
        (r#"{"error":{"message":"x","code":"429"}}"#, 429),
        (r#"{"error":{"message":"x","type":"rate_limit_exceeded"}}"#, 429),
        (r#"{"error":{"message":"x","code":7}}"#, 500),
        (r#"{"error":"x"}"#, 500),
    ] {
        assert_eq!(
            Refusal::from_json(&serde_json::from_str(json).unwrap()).status,
            status,
            "{json}"
        );
    }
}

#[test]
fn messages_are_short_and_contain_no_key() {
    let key = SecretString::from("sk-sesame");
    let refusal = read(
        401,
        &format!(r#"{{"error":{{"message":"bad key sk-sesame {}"}}}}"#, "x".repeat(9999)),
    );
    let ModelError::Unauthorized { message, .. } = refusal.error("acme", None, &[&key]) else {
        panic!("{refusal:?}")
    };
    assert!(message.starts_with("bad key [key]") && message.chars().count() <= 500, "{message}");
}

#[test]
fn waits_are_parsed_in_all_their_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let wait = |name: &'static str, value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).unwrap());
        retry_after(&headers, now)
    };
    assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
    assert_eq!(wait("retry-after", "0.5"), Some(Duration::from_millis(500)));
    assert_eq!(wait("retry-after-ms", "250"), Some(Duration::from_millis(250)));
    assert_eq!(wait("retry-after", "Sun, 09 Sep 2001 01:46:45 GMT"), Some(Duration::from_secs(5)));
    assert_eq!(wait("retry-after", "Sun, 09 Sep 2001 01:46:00 GMT"), Some(Duration::ZERO));
    for nonsense in ["soon", "-3", "1e400", "NaN", ""] {
        assert_eq!(wait("retry-after", nonsense), None, "{nonsense}");
    }
    assert_eq!(wait("x-other", "7"), None);
}
