//! A client that records the exchanges of another one.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use cellblock_agents::{Completion, ModelClient, ModelError, ModelRequest, TextSink};
use parking_lot::Mutex;
use serde::Serialize;

use super::{
    format::{RecordedError, RecordingHeader, RecordingOrigin, VERSION},
    parse,
};

/// A model whose exchanges are recorded. Several models may share a file.
///
/// A cancelled call leaves nothing in the recording. Keys are not part of a request and so never in
/// it; all messages are, including images.
#[derive(Debug, Clone)]
pub struct Recording {
    /// The model.
    pub inner: Arc<dyn ModelClient>,
    /// The file that gets its exchanges.
    pub file: Arc<RecordingFile>,
}

/// A recording that is being written.
#[derive(Debug)]
pub struct RecordingFile {
    path: PathBuf,
    state: Mutex<RecorderState>,
}

#[derive(Debug)]
struct RecorderState {
    file: File,
    /// The first failure to write: the recording is then incomplete.
    first_error: Option<io::Error>,
}

/// An exchange in its written form, without copies of large values.
#[derive(Serialize)]
struct ExchangeLine<'l> {
    model: &'l str,
    provider: &'l str,
    request: &'l ModelRequest,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion: Option<&'l Completion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<RecordedError>,
}

impl RecordingFile {
    /// Creates a recording that only its owner can read (mode 0600), or continues an existing one.
    /// `sees_images` goes into the header of a new recording.
    ///
    /// # Errors
    /// [`ModelError::Start`] if the file cannot be written, or holds anything but a recording of
    /// models in this version of the format; the file is then not changed.
    pub fn open(path: &Path, sees_images: bool) -> Result<Self, ModelError> {
        let failed = |source: io::Error| ModelError::Start {
            what: format!("cannot record to `{}`", path.display()),
            source: Some(source.into()),
        };
        let refused = |why: &str| ModelError::Start {
            what: format!("cannot record to `{}`: {why}; name another file", path.display()),
            source: None,
        };
        // Chats are private. An existing file keeps the mode that its owner gave it.
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).read(true).append(true).mode(0o600);
        let mut file = options.open(path).map_err(failed)?;
        let mut present = Vec::new();
        file.read_to_end(&mut present).map_err(failed)?;
        if present.is_empty() {
            let header = RecordingHeader {
                cellblock_recording: VERSION,
                made: RecordingOrigin::Recorded,
                note: String::new(),
                sees_images,
            };
            write_line(&mut file, &header).map_err(failed)?;
        } else {
            let text = parse::text(&present).map_err(|why| refused(&why))?;
            if parse::header(text).map_err(|why| refused(&why))?.made != RecordingOrigin::Recorded {
                return Err(refused("it was written by hand"));
            }
            // Removes an exchange that a killed process left unfinished.
            let whole = text.rfind('\n').map_or(0, |end| end + 1);
            if whole < present.len() {
                file.set_len(whole as u64).map_err(failed)?;
            }
            file.seek(SeekFrom::End(0)).map_err(failed)?;
        }
        Ok(Self {
            path: path.to_owned(),
            state: Mutex::new(RecorderState { file, first_error: None }),
        })
    }

    /// Waits until everything is on the disk.
    ///
    /// # Errors
    /// [`ModelError::Start`] if something could not be written, now or before: the recording is
    /// incomplete.
    pub fn finish(&self) -> Result<(), ModelError> {
        let mut state = self.state.lock();
        let done =
            state.first_error.take().map_or(Ok(()), Err).and_then(|()| state.file.sync_all());
        done.map_err(|source| ModelError::Start {
            what: format!("the recording `{}` is incomplete", self.path.display()),
            source: Some(source.into()),
        })
    }

    /// Adds an exchange. A failure is reported by [`finish`](Self::finish): an answer that was paid
    /// for must not be lost because it cannot be recorded.
    fn add(&self, line: &ExchangeLine<'_>) {
        let mut state = self.state.lock();
        if let Err(error) = write_line(&mut state.file, line) {
            tracing::warn!(path = %self.path.display(), %error, "cannot record an exchange");
            state.first_error.get_or_insert(error);
        }
    }
}

/// Writes a line in one piece, so that no reader or other writer sees a part of it.
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
        self.file.add(&ExchangeLine {
            model: self.inner.name(),
            provider: self.inner.provider(),
            request,
            completion: result.as_ref().ok(),
            error: result.as_ref().err().map(Into::into),
        });
        result
    }
}
