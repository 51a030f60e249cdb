//! An image that sessions start from.

use std::sync::Arc;

use bollard::{errors::Error as ApiError, models::ImageInspect};
use cellblock_driver::DriverProgram;
use cellblock_exec::{Error, Result};

use crate::{
    engine::Engine,
    failure::{is_missing, start_error},
    names::{DEFAULT_IMAGE, LANGUAGES_LABEL},
    recipe::image_reference,
};

/// An image that sessions can start from.
#[derive(Debug, Clone)]
pub struct SessionImage {
    pub id: String,
    /// Directories that it declares as volumes.
    pub volumes: Vec<String>,
    /// The languages that its label lists; `None` if it has no such label.
    pub languages: Option<Vec<String>>,
    /// The driver's program, compiled for its interpreter.
    pub program: DriverProgram,
}

impl PartialEq for SessionImage {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

/// Finds an image in the engine.
pub async fn find_image(engine: &Engine, name: &str) -> Result<Arc<SessionImage>> {
    let found = match engine.docker.inspect_image(&image_reference(name)).await {
        Ok(found) => found,
        Err(error) if is_missing(&error) => return Err(missing_image(name)),
        // The engine cannot parse the name.
        Err(ApiError::DockerResponseServerError { status_code: 400, message }) => {
            return Err(Error::Invalid { what: "image", why: format!("`{name}`: {message}") });
        }
        Err(error) => return Err(start_error(format!("a container of image {name}"), &error)),
    };
    let ImageInspect { id, config, .. } = found;
    let config = config.unwrap_or_default();
    let labels = config.labels.unwrap_or_default();
    let languages = labels
        .get(LANGUAGES_LABEL)
        .filter(|list| !list.is_empty())
        .map(|list| list.split(',').map(str::to_owned).collect());
    let volumes = config.volumes.unwrap_or_default();
    let program = DriverProgram::new();
    Ok(Arc::new(SessionImage { id: id.unwrap_or_default(), volumes, languages, program }))
}

/// Returns the error for an image that the engine does not have.
pub fn missing_image(name: &str) -> Error {
    let hint = if name == DEFAULT_IMAGE {
        "make it with `cellblock image pull docker-python`".to_owned()
    } else {
        format!("get it with `cellblock image pull {name}` or `docker pull {name}`")
    };
    let why = format!("the engine has no image {name}; {hint}");
    Error::Start { what: format!("a container of image {name}"), source: why.into() }
}
