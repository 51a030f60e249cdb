use std::sync::Mutex;

use super::*;

/// Answers or fails, after some text or none.
#[derive(Debug)]
struct Fake {
    name: &'static str,
    text: &'static str,
    error: Option<fn() -> ModelError>,
    sees_images: bool,
}

const HEALTHY: Fake = Fake { name: "healthy", text: "hello", error: None, sees_images: true };

#[async_trait]
impl ModelClient for Fake {
    fn name(&self) -> &str {
        self.name
    }

    fn provider(&self) -> &str {
        "fake"
    }

    fn sees_images(&self) -> bool {
        self.sees_images
    }

    async fn complete(
        &self,
        _: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        if let Some(on_text) = on_text.filter(|_| !self.text.is_empty()) {
            on_text(self.text);
        }
        self.error.map_or_else(|| Ok(Completion::text(self.name, self.text)), |error| Err(error()))
    }
}

fn busy() -> ModelError {
    ModelError::Status { provider: "fake".into(), status: 503, message: "busy".into() }
}

fn too_long() -> ModelError {
    ModelError::TooLong { message: "9 tokens".into() }
}

fn failing(name: &'static str, error: fn() -> ModelError) -> Fake {
    Fake { name, text: "", error: Some(error), sees_images: true }
}

fn list(fakes: Vec<Fake>) -> Fallback {
    Fallback(fakes.into_iter().map(|fake| Arc::new(fake) as Arc<dyn ModelClient>).collect())
}

async fn asked(fakes: Vec<Fake>) -> (Result<Completion, ModelError>, String) {
    let heard = Arc::new(Mutex::new(String::new()));
    let sink = heard.clone();
    let sink: TextSink = Arc::new(move |text| sink.lock().unwrap().push_str(text));
    let result = list(fakes).complete(&ModelRequest::default(), Some(&sink)).await;
    let heard = heard.lock().unwrap().clone();
    (result, heard)
}

#[tokio::test]
async fn the_next_model_answers_when_one_fails() {
    let (result, heard) = asked(vec![failing("m1", busy), failing("m2", too_long), HEALTHY]).await;
    assert_eq!(result.unwrap().model, "healthy");
    assert_eq!(heard, "hello");
    // Control: the first model that answers is used.
    let other = Fake { name: "first", ..HEALTHY };
    assert_eq!(asked(vec![other, HEALTHY]).await.0.unwrap().model, "first");
}

#[tokio::test]
async fn an_answer_that_was_begun_is_not_repeated() {
    let begun = Fake { name: "m1", text: "hel", error: Some(busy), sees_images: true };
    let (result, heard) = asked(vec![begun, HEALTHY]).await;
    assert!(matches!(result, Err(ModelError::Status { .. })));
    assert_eq!(heard, "hel");
}

#[tokio::test]
async fn if_all_fail_each_error_is_reported() {
    let error = asked(vec![failing("m1", busy), failing("m2", too_long)]).await.0.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, ModelError::All(errors) if errors.len() == 2));
    assert!(
        text.contains("m1: ")
            && text.contains("busy")
            && text.contains("m2: ")
            && text.contains("9 tokens"),
        "{text}"
    );
}

#[tokio::test]
async fn errors_that_a_caller_can_act_on_are_not_hidden() {
    let all = asked(vec![failing("m1", too_long), failing("m2", too_long)]).await.0;
    assert!(matches!(all, Err(ModelError::TooLong { .. })));
    assert!(matches!(
        asked(vec![failing("m1", busy)]).await.0,
        Err(ModelError::Status { status: 503, .. })
    ));
    assert!(matches!(asked(vec![]).await.0, Err(ModelError::Start { .. })));
}

#[test]
fn a_list_sees_images_if_all_its_models_do() {
    assert!(list(vec![HEALTHY, Fake { ..HEALTHY }]).sees_images());
    assert!(!list(vec![HEALTHY, Fake { sees_images: false, ..HEALTHY }]).sees_images());
    assert!(!list(vec![]).sees_images());
    assert_eq!((list(vec![HEALTHY]).name(), list(vec![HEALTHY]).provider()), ("healthy", "fake"));
}
