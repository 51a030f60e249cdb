//! Making a recording while a model answers.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, TextSink};
use serde::Serialize;

use super::{
    format::{Header, Made, VERSION},
    player::{header, text},
};
use crate::lock::locked;

/// A model whose exchanges are recorded. Several may share a file.
///
/// A call that is cancelled leaves nothing in the recording. Keys are no part of a request, so they are never in it;
/// what was said, images included, is.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The model.
    pub inner: Arc<dyn ModelClient>,
    /// Where its exchanges go.
    pub file: Arc<RecordingFile>,
}

/// A file that is being recorded to.
#[derive(Debug)]
pub struct RecordingFile {
    path: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Why the recording is not whole.
    problem: Option<io::Error>,
}

/// An exchange as it is written, without copies of what may be large.
#[derive(Serialize)]
struct Line<'l> {
    model: &'l str,
    provider: &'l str,
    request: &'l ModelRequest,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion: Option<&'l Completion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<super::RecordedError>,
}

impl RecordingFile {
    /// A new recording, which only its owner can read (mode 0600), or one that goes on after what is in the file. `sees_images` is said in the header of a new one.
    ///
    /// # Errors
    /// [`ModelError::Start`] when the file cannot be written, or holds something else than a recording made by this
    /// version; it is not touched then.
    pub fn open(path: &Path, sees_images: bool) -> Result<Self, ModelError> {
        let failed = |source: io::Error| ModelError::Start {
            what: format!("cannot record to {}", path.display()),
            source: Some(source.into()),
        };
        let refused = |why: &str| ModelError::Start {
            what: format!("cannot record to {}: {why}; name another file", path.display()),
            source: None,
        };
        // What is said in a chat is nobody else's business. A file that is there already has the mode that its owner gave it.
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).append(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        let mut present = Vec::new();
        file.read_to_end(&mut present).map_err(failed)?;
        if present.is_empty() {
            let header = Header {
                cellblock_recording: VERSION,
                made: Made::Recorded,
                note: String::new(),
                sees_images,
            };
            write_line(&mut file, &header).map_err(failed)?;
        } else {
            let text = text(&present).map_err(|why| refused(&why))?;
            if header(text).map_err(|why| refused(&why))?.made != Made::Recorded {
                return Err(refused("it was written by hand"));
            }
            // What a killed process left unfinished.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            if whole < present.len() {
                file.set_len(whole as u64).map_err(failed)?;
            }
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        Ok(Self { path: path.to_owned(), state: Mutex::new(State { file, problem: None }) })
    }

    /// Makes sure that all is on the disk.
    ///
    /// # Errors
    /// [`ModelError::Start`] when something could not be written, now or before: the recording is not whole.
    pub fn finish(&self) -> Result<(), ModelError> {
        let mut state = locked(&self.state);
        let done = state.problem.take().map_or(Ok(()), Err).and_then(|()| state.file.sync_all());
        done.map_err(|source| ModelError::Start {
            what: format!("the recording {} is not whole", self.path.display()),
            source: Some(source.into()),
        })
    }

    /// Adds an exchange. An answer that was paid for is not lost because it cannot be recorded: that is said at the end.
    fn add(&self, line: &Line<'_>) {
        let mut state = locked(&self.state);
        if let Err(error) = write_line(&mut state.file, line) {
            tracing::warn!(path = %self.path.display(), %error, "an exchange could not be recorded");
            state.problem.get_or_insert(error);
        }
    }
}

/// Writes a line at once, so that no reader and no other writer sees a part of it.
fn write_line(file: &mut File, line: &impl Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(line)?;
    bytes.push(b'\n');
    file.write_all(&bytes)?;
    file.flush()
}

#[async_trait]
impl ModelClient for Recording {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn provider(&self) -> &str {
        self.inner.provider()
    }

    fn sees_images(&self) -> bool {
        self.inner.sees_images()
    }

    async fn complete(
        &self,
        request: &ModelRequest,
        on_text: Option<&TextSink>,
    ) -> Result<Completion, ModelError> {
        let result = self.inner.complete(request, on_text).await;
        self.file.add(&Line {
            model: self.inner.name(),
            provider: self.inner.provider(),
            request,
            completion: result.as_ref().ok(),
            error: result.as_ref().err().map(Into::into),
        });
        result
    }
}
