//! The addresses of endpoints.

use cellblock_agents::ModelError;
use reqwest::Url;

/// Returns the address of an endpoint below a base address. Query parameters of the base are kept.
pub fn endpoint(base: &str, path: &str, query: &[(String, String)]) -> Result<Url, ModelError> {
    let wrong = |why: &str| ModelError::Start {
        what: format!(
            "`{}` is not the base address of a model server: {why}",
            without_credentials(base)
        ),
        source: None,
    };
    let mut url = Url::parse(base.trim())
        .map_err(|error| wrong(&format!("{error}; write it as http://host:port/v1")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("it must begin with http:// or https://"));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong("pass the key separately: the address appears in messages"));
    }
    url.set_fragment(None);
    let path = format!("{}/{path}", url.path().trim_end_matches('/'));
    url.set_path(&path);
    if !query.is_empty() {
        url.query_pairs_mut().extend_pairs(query);
    }
    Ok(url)
}

/// Returns the host of an address; `None` if it is not a valid address with one.
pub fn host(base: &str) -> Option<String> {
    Url::parse(base.trim()).ok()?.host_str().map(str::to_owned)
}

fn without_credentials(base: &str) -> String {
    match base.rsplit_once('@') {
        Some((before, after)) => {
            let scheme = before.find("://").map_or(0, |at| at + 3);
            format!("{}…@{after}", &before[..scheme])
        }
        None => base.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_are_below_the_base_in_every_notation() {
        for base in [
            "http://127.0.0.1:8080/v1",
            "http://127.0.0.1:8080/v1/",
            " http://127.0.0.1:8080/v1// ",
            "http://127.0.0.1:8080/v1#x",
        ] {
            let url = endpoint(base, "chat/completions", &[]).unwrap();
            assert_eq!(url.as_str(), "http://127.0.0.1:8080/v1/chat/completions", "{base}");
        }
        assert_eq!(
            endpoint("https://a.example", "api/chat", &[]).unwrap().as_str(),
            "https://a.example/api/chat"
        );
    }

    #[test]
    fn parameters_are_added_and_escaped() {
        let query = [("api-version".to_owned(), "2024-10-21&x".to_owned())];
        let url =
            endpoint("https://a.example/openai/deployments/d?k=1", "chat/completions", &query)
                .unwrap();
        assert_eq!(url.path(), "/openai/deployments/d/chat/completions");
        assert_eq!(url.query(), Some("k=1&api-version=2024-10-21%26x"));
    }

    #[test]
    fn invalid_addresses_are_refused_and_passwords_are_not_shown() {
        for (base, says) in [
            ("", "base address"),
            ("localhost:8080", "http://"),
            ("ftp://a/", "http://"),
            ("/v1", "http://host:port"),
        ] {
            let error = endpoint(base, "x", &[]).unwrap_err().to_string();
            assert!(error.contains(says), "{base}: {error}");
        }
        for base in ["http://me:sesame@a.example/v1", "me:sesame@a.example", "http://sesame@[:::/"]
        {
            let error = endpoint(base, "x", &[]).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{base}: {error}");
        }
    }
}
