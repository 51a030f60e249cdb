//! A call as a client describes it, and the address and headers of the request that it becomes.

use bytes::Bytes;
use cellblock_agents::ModelError;
use reqwest::{
    Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use secrecy::{ExposeSecret, SecretString};

use super::{address::endpoint, connection::Connection, framing::Framing};

/// A call of a provider: everything in which the providers differ.
pub struct Call<'a> {
    /// The provider's name, for messages.
    pub provider: &'a str,
    pub connection: &'a Connection,
    /// The address to which `path` and `query` are appended.
    pub base_url: &'a str,
    pub path: &'static str,
    pub query: &'a [(String, String)],
    pub key: Option<&'a SecretString>,
    /// The environment variable that should have held a missing key; `None` if no key is needed.
    pub key_variable: Option<&'a str>,
    pub key_place: KeyPlace,
    /// Headers that the API requires, sent unless `headers` sets them.
    pub default_headers: &'a [(&'static str, &'static str)],
    pub headers: &'a [(String, SecretString)],
    pub body: Bytes,
    pub framing: Framing,
}

/// The place of the key in a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyPlace {
    /// `Authorization: Bearer KEY`.
    #[default]
    Bearer,
    /// `api-key: KEY`, as Azure expects it.
    ApiKey,
    /// `x-api-key: KEY`, as Anthropic expects it.
    XApiKey,
}

/// A call that is ready to be sent, as often as needed.
pub struct PreparedCall<'a> {
    pub provider: &'a str,
    pub connection: &'a Connection,
    pub url: Url,
    pub headers: HeaderMap,
    pub body: Bytes,
    pub framing: Framing,
    /// Texts that no message may show.
    pub secrets: Vec<&'a SecretString>,
}

impl<'a> Call<'a> {
    /// Checks the address, the key and the headers.
    pub fn prepare(&self) -> Result<PreparedCall<'a>, ModelError> {
        let others = self.headers.iter().map(|(_, value)| value);
        Ok(PreparedCall {
            provider: self.provider,
            connection: self.connection,
            url: endpoint(self.base_url, self.path, self.query)?,
            headers: self.header_map()?,
            body: self.body.clone(),
            framing: self.framing,
            secrets: self.key.into_iter().chain(others).collect(),
        })
    }

    /// Values are marked as sensitive, so that traces of the HTTP library leave them out.
    fn header_map(&self) -> Result<HeaderMap, ModelError> {
        let mut headers = HeaderMap::with_capacity(3 + self.headers.len());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in self.default_headers {
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
        }
        // Files that hold a key often end with a line break.
        let key = self.key.map(|key| key.expose_secret().trim()).filter(|key| !key.is_empty());
        match (key, self.key_variable) {
            (Some(key), _) => {
                let (name, value) = match self.key_place {
                    KeyPlace::Bearer => (AUTHORIZATION, sensitive(&format!("Bearer {key}"))),
                    KeyPlace::ApiKey => (HeaderName::from_static("api-key"), sensitive(key)),
                    KeyPlace::XApiKey => (HeaderName::from_static("x-api-key"), sensitive(key)),
                };
                let value = value.ok_or_else(|| {
                    self.invalid("the key contains invalid characters; copy it again")
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
        for (name, value) in self.headers {
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| self.invalid(&format!("`{name}` is not a valid header name")))?;
            let value = sensitive(value.expose_secret().trim()).ok_or_else(|| {
                self.invalid(&format!("the value of the header `{name}` has invalid characters"))
            })?;
            headers.insert(name, value);
        }
        Ok(headers)
    }

    fn invalid(&self, why: &str) -> ModelError {
        ModelError::Start { what: format!("cannot call {}: {why}", self.provider), source: None }
    }
}

fn sensitive(value: &str) -> Option<HeaderValue> {
    // Servers read bytes beyond ASCII in different ways.
    let mut value = value.is_ascii().then(|| HeaderValue::from_str(value).ok())??;
    value.set_sensitive(true);
    Some(value)
}

#[cfg(test)]
mod tests;
