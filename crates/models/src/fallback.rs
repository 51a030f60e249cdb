//! A list of models that are tried in order.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, TextSink};

/// Models that are tried in order, each with its own retries.
///
/// After any error the next model is tried: another provider may be up, have another key, or allow
/// a longer context. But if a part of an answer was already passed to `on_text`, the error is
/// returned, because another model cannot continue that answer. If all models fail, the error is
/// [`ModelError::All`], with two exceptions that a caller can act on: a list of one returns the
/// error of its model, and if the conversation is too long for all, the error is
/// [`ModelError::TooLong`].
///
/// The list has the name and the provider of its first model, and sees images if all of its models
/// do. The [`Completion`] names the model that answered.
#[derive(Debug, Clone)]
pub struct Fallback(pub Vec<Arc<dyn ModelClient>>);

#[async_trait]
impl ModelClient for Fallback {
    fn name(&self) -> &str {
        self.0.first().map_or("none", |first| first.name())
    }

    fn provider(&self) -> &str {
        self.0.first().map_or("none", |first| first.provider())
    }

    fn sees_images(&self) -> bool {
        !self.0.is_empty() && self.0.iter().all(|client| client.sees_images())
    }

    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let heard = Arc::new(AtomicBool::new(false));
        let listener = on_text.cloned().map(|on_text| -> TextSink {
            let heard = heard.clone();
            Arc::new(move |text| {
                heard.store(true, Ordering::Relaxed);
                on_text(text);
            })
        });
        let mut errors = Vec::new();
        for client in &self.0 {
            match client.complete(request, listener.as_ref()).await {
                Ok(completion) => return Ok(completion),
                Err(error) if heard.load(Ordering::Relaxed) => return Err(error),
                Err(error) => {
                    tracing::debug!(model = client.name(), %error, "a model of a list failed");
                    errors.push((client.name().to_owned(), error));
                }
            }
        }
        Err(combine(errors))
    }
}

/// Combines the errors of all models.
fn combine(mut errors: Vec<(String, ModelError)>) -> ModelError {
    let is_one_error = errors.len() == 1
        || errors.iter().all(|(_, error)| matches!(error, ModelError::TooLong { .. }));
    match errors.pop() {
        None => ModelError::Start {
            what: "the list of models is empty: name at least one".to_owned(),
            source: None,
        },
        Some((_, last)) if is_one_error => last,
        Some(last) => {
            errors.push(last);
            ModelError::All(errors)
        }
    }
}

#[cfg(test)]
mod tests;
