//! Headers of a request, keys among them.

use cellblock_agents::ModelError;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};

/// Where the key goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPlace {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// `api-key: KEY`, as Azure has it.
    ApiKey,
    /// `x-api-key: KEY`, as Anthropic has it.
    XApiKey,
}

/// What the headers of a request are made from.
pub(crate) struct HeaderValues<'a> {
    pub(crate) provider: &'a str,
    pub(crate) key: Option<&'a SecretString>,
    pub(crate) key_variable: Option<&'a str>,
    pub(crate) key_place: KeyPlace,
    pub(crate) others: &'a [(String, SecretString)],
}

impl<'a> HeaderValues<'a> {
    /// The headers. Values are marked as sensitive, so that HTTP's own traces leave them out.
    pub(crate) fn build(&self) -> Result<HeaderMap, ModelError> {
        let mut headers = HeaderMap::with_capacity(2 + self.others.len());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        // A line end after a key is the most usual mistake of files that hold one.
        match (
            self.key.map(|key| key.expose_secret().trim()).filter(|key| !key.is_empty()),
            self.key_variable,
        ) {
            (Some(key), _) => {
                let (name, value) = match self.key_place {
                    KeyPlace::Bearer => (AUTHORIZATION, sensitive(&format!("Bearer {key}"))),
                    KeyPlace::ApiKey => (HeaderName::from_static("api-key"), sensitive(key)),
                    KeyPlace::XApiKey => (HeaderName::from_static("x-api-key"), sensitive(key)),
                };
                let value = value.ok_or_else(|| {
                    self.wrong("the key holds characters that no key has; copy it again")
                })?;
                headers.insert(name, value);
            }
            (None, Some(variable)) => {
                return Err(ModelError::NoKey {
                    provider: self.provider.to_owned(),
                    variable: variable.to_owned(),
                });
            }
            (None, None) => {}
        }
        for (name, value) in self.others {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| self.wrong(&format!("`{name}` cannot be the name of a header")))?;
            let value = sensitive(value.expose_secret().trim()).ok_or_else(|| {
                self.wrong(&format!(
                    "the value of the header `{name}` holds characters that no header has"
                ))
            })?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    /// What must not be seen in any message.
    pub(crate) fn secrets(&self) -> Vec<&'a SecretString> {
        self.key.into_iter().chain(self.others.iter().map(|(_, value)| value)).collect()
    }

    fn wrong(&self, why: &str) -> ModelError {
        ModelError::Start { what: format!("cannot ask {}: {why}", self.provider), source: None }
    }
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    // Text beyond ASCII would be sent as bytes that servers read differently.
    let mut value = value.is_ascii().then(|| HeaderValue::from_str(value).ok())??;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build(
        key: Option<&str>,
        place: KeyPlace,
        others: &[(&str, &str)],
    ) -> Result<HeaderMap, ModelError> {
        let key = key.map(SecretString::from);
        let others: Vec<_> =
            others.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        let values = HeaderValues {
            provider: "acme",
            key: key.as_ref(),
            key_variable: Some("ACME_KEY"),
            key_place: place,
            others: &others,
        };
        values.build()
    }

    #[test]
    fn the_key_goes_to_its_place_without_the_line_end_after_it() {
        for (place, name, value) in [
            (KeyPlace::Bearer, "authorization", "Bearer sesame"),
            (KeyPlace::ApiKey, "api-key", "sesame"),
            (KeyPlace::XApiKey, "x-api-key", "sesame"),
        ] {
            let headers = build(Some("sesame\n"), place, &[("x-title", "me")]).unwrap();
            assert_eq!(headers[name], value);
            assert_eq!(headers["x-title"], "me");
            assert!(!format!("{headers:?}").contains("sesame"));
        }
    }

    #[test]
    fn no_key_names_the_variable() {
        for none in [None, Some(""), Some(" \n")] {
            let error = build(none, KeyPlace::Bearer, &[]).unwrap_err();
            assert!(
                matches!(&error, ModelError::NoKey { variable, .. } if variable == "ACME_KEY"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_cannot_be_a_header_is_refused_without_showing_it() {
        for (key, others) in [
            ("sesame\r\nhost: evil", &[][..]),
            ("sésame", &[][..]),
            ("k", &[("bad name", "sesame")][..]),
            ("k", &[("x", "sesame\n\nx")][..]),
        ] {
            let error = build(Some(key), KeyPlace::Bearer, others).unwrap_err();
            assert!(matches!(error, ModelError::Start { .. }));
            assert!(!format!("{error} {error:?}").contains("sesame"), "{error}");
        }
    }
}
