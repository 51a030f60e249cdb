//! A block that runs.

use std::{
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cellblock_exec::{
    Capture, Error, ExecutionRequest, ExecutionResult, Limit, Outcome, OutputSink, Result,
    Stream as Standard, Usage, python::HostCalls,
};
use tokio::time::{Instant as Deadline, interval_at, sleep_until};

use crate::{
    Cell, DriverSession, Reading,
    artifacts::Arriving,
    connections::MOST_WAITING,
    protocol,
    session::Live,
    verdict::{SIGKILL, verdict},
    wire::{Ended, Message},
};

/// How often what a cell uses is looked at, where no control group counts it. A program can exceed a limit for that long.
const WATCH: Duration = Duration::from_millis(20);
/// How long a driver may take to stop a block and hand out its files, before the whole cell is killed.
const GRACE: Duration = Duration::from_secs(10);
/// A century: a time that never comes. The clock cannot be asked for much more.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A block under way. Dropping it stops the block.
struct Running<'s, C: Cell> {
    session: &'s mut DriverSession<C>,
    number: u64,
    ended: bool,
}

impl<C: Cell> Drop for Running<'_, C> {
    fn drop(&mut self) {
        if !self.ended {
            self.session.stop(self.number);
            if let Some(live) = &mut self.session.live {
                live.wire.pump();
            }
        }
    }
}

/// What has come of a block so far.
struct Seen {
    stdout: Capture,
    stderr: Capture,
    files: Arriving,
    sink: Option<OutputSink>,
}

impl Seen {
    /// Takes output. Whether there is too much of it.
    fn output(&mut self, stream: Standard, data: &[u8]) -> bool {
        let capture = match stream {
            Standard::Stdout => &mut self.stdout,
            Standard::Stderr => &mut self.stderr,
        };
        let room = capture.room().min(data.len());
        capture.push(data);
        if let Some(sink) = self.sink.as_ref().filter(|_| room > 0) {
            sink(stream, &data[..room]);
        }
        capture.is_flood()
    }
}

/// The question of the program that is being answered; there is one at a time.
#[derive(Default)]
struct Question<'c> {
    name: Bytes,
    answer: Option<Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'c>>>,
}

impl<'c> Question<'c> {
    /// Begins to answer a question. One before it is given up: the program does not wait for it any more.
    fn ask(&mut self, message: &Message, calls: &'c HostCalls) {
        self.name = message.fields.get(1).cloned().unwrap_or_default();
        self.answer = Some(Box::pin(calls.answer(message.field(2).to_vec())));
    }

    /// Its name and the answer; never, without a question. The future may be dropped and made again.
    async fn answered(&mut self) -> (Bytes, Vec<u8>) {
        let Some(answer) = &mut self.answer else { return std::future::pending().await };
        let answer = answer.await;
        self.answer = None;
        (std::mem::take(&mut self.name), answer)
    }
}

impl<C: Cell> DriverSession<C> {
    /// Runs a block that the driver has been told of, and whose number is `number`.
    pub(crate) async fn watch(
        &mut self,
        number: u64,
        request: ExecutionRequest,
    ) -> Result<ExecutionResult> {
        let started = Instant::now();
        let before = self.cell.reading(false);
        let limits = self.setup.limits.clone();
        let wall = request.wall.map_or(limits.wall, |wall| wall.min(limits.wall));
        let mut seen = Seen {
            stdout: Capture::new(limits.output),
            stderr: Capture::new(limits.output),
            files: Arriving::new(limits.disk, limits.files),
            sink: request.sink,
        };
        let calls = HostCalls::new(request.host);
        let mut question = Question::default();
        let mut running = Running { session: self, number, ended: false };
        let mut stopped: Option<Outcome> = None;
        let mut deadline = Deadline::now() + wall.min(NEVER);
        let mut ticks = interval_at(Deadline::now() + WATCH, WATCH);
        let ended = loop {
            let session = &mut *running.session;
            let Some(live) = session.live.as_mut() else { return Err(gone("there is no driver")) };
            let mut stop = None;
            tokio::select! {
                biased;
                () = request.cancel.cancelled(), if stopped.is_none() => stop = Some(Outcome::Cancelled),
                message = live.wire.next() => match message {
                    Ok(message) => match message.kind {
                        protocol::ENDED if message.number(0) == Some(number) => {
                            break Ok(Ended::of(&message));
                        }
                        protocol::STDOUT | protocol::STDERR => {
                            let stream = match message.kind {
                                protocol::STDOUT => Standard::Stdout,
                                _ => Standard::Stderr,
                            };
                            if seen.output(stream, message.field(0)) {
                                stop = Some(Outcome::LimitExceeded { limit: Limit::Output });
                            }
                        }
                        // Questions without end must not keep the deadline from being seen.
                        protocol::QUESTION if Deadline::now() >= deadline => match &stopped {
                            Some(_) => break Err(deaf()),
                            None => stop = Some(Outcome::LimitExceeded { limit: Limit::Wall }),
                        },
                        protocol::QUESTION
                            if message.number(0) == Some(number) && stopped.is_none() =>
                        {
                            question.ask(&message, &calls);
                        }
                        _ => live.take(&message, &mut seen.files),
                    },
                    Err(error) => break Err(error),
                },
                (name, answer) = question.answered() => {
                    // A driver that asks without listening is not ours.
                    if live.wire.waiting() < MOST_WAITING {
                        live.wire.post(protocol::ANSWER, &[&name, &answer]);
                    }
                }
                event = live.connections.next() => live.connections.tell(event, &mut live.wire),
                () = sleep_until(deadline) => {
                    if stopped.is_some() {
                        break Err(deaf());
                    }
                    stop = Some(Outcome::LimitExceeded { limit: Limit::Wall });
                }
                _ = ticks.tick(), if before.is_some() && stopped.is_none() => {
                    let over = session.cell.reading(false).and_then(|now| exceeded(&limits, before, now));
                    stop = over.map(|limit| Outcome::LimitExceeded { limit });
                }
            }
            if let (Some(outcome), None) = (stop, &stopped) {
                stopped = Some(outcome);
                deadline = Deadline::now() + GRACE;
                // Nobody waits for the answer any more.
                question = Question::default();
                session.stop(number);
            }
        };
        running.ended = true;
        let session = &mut *running.session;
        match &ended {
            Ok(_) => seen.files.complete(),
            Err(_) => seen.files.cut_off(),
        }
        let after = session.cell.reading(true);
        let (outcome, lost, cpu, memory, note) = match ended {
            Ok(ended) => {
                let mut outcome = verdict(&ended, stopped, session.memory_is_refused);
                // A program can end between two looks. The files that it has left show what it did; that something was
                // refused matters only if it failed.
                if let Some(limit) = after.and_then(|now| exceeded(&limits, before, now)) {
                    let kept = matches!(limit, Limit::Disk | Limit::Files) && outcome.is_success();
                    if kept
                        || matches!(
                            outcome,
                            Outcome::Exited { code: 1.. } | Outcome::Signaled { .. }
                        )
                    {
                        outcome = Outcome::LimitExceeded { limit };
                    }
                }
                let outside =
                    before.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
                let cpu = outside.unwrap_or(Duration::from_micros(ended.cpu_us));
                let memory = after.map_or(ended.memory, |reading| reading.memory);
                (outcome, ended.lost, cpu, memory, ended.note)
            }
            Err(error) => {
                let (outcome, note) = session.bury(stopped, error).await?;
                (outcome, true, Duration::ZERO, 0, note)
            }
        };
        Ok(ExecutionResult {
            outcome,
            stdout: seen.stdout.finish(),
            stderr: seen.stderr.finish(),
            artifacts: seen.files.artifacts,
            refused: seen.files.refused,
            usage: Usage { wall: started.elapsed(), cpu, memory, fuel: None },
            executor: session.setup.executor.to_owned(),
            isolation: session.setup.isolation,
            watched: session.setup.watched.clone(),
            state_lost: lost,
            notes: if note.is_empty() { Vec::new() } else { vec![note] },
        })
    }

    /// Tells the driver to stop a block.
    fn stop(&mut self, number: u64) {
        self.cell.stop_programs();
        if let Some(live) = &mut self.live {
            live.wire.post(protocol::STOP, &[number.to_string().as_bytes()]);
        }
    }

    /// The outcome of a block whose driver is lost, and a note that says why.
    async fn bury(
        &mut self,
        stopped: Option<Outcome>,
        error: std::io::Error,
    ) -> Result<(Outcome, String)> {
        let loss = self.replace(error).await;
        let known = stopped.or(loss.limit.map(|limit| Outcome::LimitExceeded { limit }));
        match known {
            Some(outcome) => Ok((outcome, loss.why)),
            None if loss.end.is_some() => Err(loss.into()),
            // What ended the driver has ended the block.
            None => Ok((Outcome::Signaled { signal: SIGKILL }, loss.why)),
        }
    }
}

impl Live {
    /// Takes a message that is not about the end of a block.
    pub(crate) fn take(&mut self, message: &Message, files: &mut Arriving) {
        match message.kind {
            protocol::ARTIFACT | protocol::CONTENT | protocol::REFUSED => files.take(message),
            protocol::CONNECT | protocol::DATA | protocol::PASSED | protocol::CLOSED => {
                self.connections.take(message, &mut self.wire)
            }
            _ => {}
        }
    }
}

/// The limit that a cell exceeds.
fn exceeded(
    limits: &cellblock_exec::Limits,
    before: Option<Reading>,
    now: Reading,
) -> Option<Limit> {
    let used = now.cpu.saturating_sub(before.unwrap_or_default().cpu);
    if limits.cpu.is_some_and(|cpu| used >= cpu) {
        return Some(Limit::Cpu);
    }
    [
        (now.memory > limits.memory, Limit::Memory),
        (now.processes > limits.processes, Limit::Processes),
        (now.disk > limits.disk, Limit::Disk),
        (now.files > u64::from(limits.files), Limit::Files),
    ]
    .into_iter()
    .find_map(|(is, limit)| is.then_some(limit))
}

/// That a driver does not do as it is told.
fn deaf() -> std::io::Error {
    std::io::Error::other("the driver did not stop the program")
}

/// That the session cannot go on.
pub(crate) fn gone(why: &str) -> Error {
    Error::Lost { what: "the cell".to_owned(), source: why.into() }
}
