//! A running block: its output, its limits, its questions to the host, and its end.

use std::{
    io,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use cellblock_exec::{
    CancellationToken, Capture, ExecutionRequest, ExecutionResult, Limit, Limits, Outcome,
    OutputSink, Result, Stream, Usage, python::HostCalls,
};
use tokio::time::{Instant as Deadline, Interval, interval_at, sleep_until};

use crate::{
    CellUsage,
    artifacts::ArrivingFiles,
    connections::{ConnectionEvent, MAX_QUEUED},
    errno::SIGKILL,
    link::{DriverLink, LiveDriver, no_driver},
    protocol::{BlockEnd, DriverMessage, MessageKind},
    verdict::verdict,
};

/// The interval between looks at a cell's usage, where no control group counts it. A program can
/// exceed a limit for that long.
const WATCH: Duration = Duration::from_millis(20);
/// The maximum time for a driver to stop a block and send its files. Then the cell is killed.
const GRACE: Duration = Duration::from_secs(10);
/// A century: a time that never comes. The clock cannot represent much more.
const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// Waits for the end of a block that was posted to the driver, and returns its result.
pub async fn run(
    link: &mut DriverLink,
    number: u64,
    request: ExecutionRequest,
) -> Result<ExecutionResult> {
    let started = Instant::now();
    let before = link.cell.usage(false);
    let limits = link.setup.limits.clone();
    let mut output = BlockOutput::new(&limits, request.sink.clone());
    let WaitResult { end, stopped } = wait(link, number, &request, before, &mut output).await?;
    match &end {
        Ok(_) => output.files.complete(),
        Err(_) => output.files.cut_off(),
    }
    let after = link.cell.usage(true);
    let conclusion = match end {
        Ok(end) => conclude(link, &end, stopped, before, after),
        Err(error) => conclude_lost(link, stopped, error).await?,
    };
    let Conclusion { outcome, lost, cpu, memory, note } = conclusion;
    Ok(ExecutionResult {
        outcome,
        stdout: output.stdout.finish(),
        stderr: output.stderr.finish(),
        artifacts: output.files.artifacts,
        refused: output.files.refused,
        usage: Usage { wall: started.elapsed(), cpu, memory, fuel: None },
        executor: link.setup.executor.to_owned(),
        isolation: link.setup.isolation,
        watched: link.setup.watched.clone(),
        state_lost: lost,
        notes: if note.is_empty() { Vec::new() } else { vec![note] },
    })
}

/// The end of waiting for a block.
struct WaitResult {
    /// The driver's report of the end; the error of the wire if the driver is lost.
    end: io::Result<BlockEnd>,
    /// The reason why the host stopped the block, if it did.
    stopped: Option<Outcome>,
}

/// An event while a block runs.
enum BlockEvent {
    Cancelled,
    Message(io::Result<DriverMessage>),
    Answer(Bytes, Vec<u8>),
    Connection(ConnectionEvent),
    Deadline,
    Tick,
}

/// The effect of an event on a running block.
enum Effect {
    Continue,
    Stop(Outcome),
    End(io::Result<BlockEnd>),
}

/// The times at which the host looks at a running block.
struct Timers {
    deadline: Deadline,
    ticks: Interval,
    /// True if the host must watch the cell's usage.
    is_watched: bool,
}

/// Waits for the end of a block, and stops it at its limits.
async fn wait(
    link: &mut DriverLink,
    number: u64,
    request: &ExecutionRequest,
    before: Option<CellUsage>,
    output: &mut BlockOutput,
) -> Result<WaitResult> {
    let limits = link.setup.limits.clone();
    let wall = request.wall.map_or(limits.wall, |wall| wall.min(limits.wall));
    let calls = HostCalls::new(request.host.clone());
    let mut question = PendingQuestion::default();
    let mut timers = Timers {
        deadline: Deadline::now() + wall.min(NEVER),
        ticks: interval_at(Deadline::now() + WATCH, WATCH),
        is_watched: before.is_some(),
    };
    let mut guard = StopGuard { link, number, is_armed: true };
    let mut stopped: Option<Outcome> = None;
    let end = loop {
        let link = &mut *guard.link;
        let Some(live) = link.live.as_mut() else { return Err(no_driver()) };
        let is_stopped = stopped.is_some();
        let event = next_event(live, &mut question, &mut timers, &request.cancel, is_stopped).await;
        let effect = match event {
            BlockEvent::Cancelled => Effect::Stop(Outcome::Cancelled),
            BlockEvent::Message(Err(error)) => Effect::End(Err(error)),
            BlockEvent::Message(Ok(message)) if message.kind == MessageKind::Question => {
                // Questions without end must not hide the deadline.
                if Deadline::now() >= timers.deadline {
                    at_deadline(is_stopped)
                } else {
                    if message.number(0) == Some(number) && !is_stopped {
                        question.ask(&message, &calls);
                    }
                    Effect::Continue
                }
            }
            BlockEvent::Message(Ok(message)) => take(live, &message, number, output),
            BlockEvent::Answer(name, answer) => {
                // A driver that asks without listening is not ours.
                if live.wire.queued() < MAX_QUEUED {
                    live.wire.post(MessageKind::Answer, &[&name, &answer]);
                }
                Effect::Continue
            }
            BlockEvent::Connection(event) => {
                live.connections.report(event, &mut live.wire);
                Effect::Continue
            }
            BlockEvent::Deadline => at_deadline(is_stopped),
            BlockEvent::Tick => {
                let now = link.cell.usage(false);
                let limit = now.and_then(|now| exceeded_limit(&limits, before, now));
                limit.map_or(Effect::Continue, |limit| Effect::Stop(exceeded(limit)))
            }
        };
        match effect {
            Effect::End(end) => break end,
            Effect::Stop(outcome) if !is_stopped => {
                stopped = Some(outcome);
                timers.deadline = Deadline::now() + GRACE;
                // Nobody waits for the answer any more.
                question = PendingQuestion::default();
                guard.link.stop(number);
            }
            Effect::Stop(_) | Effect::Continue => {}
        }
    };
    guard.is_armed = false;
    Ok(WaitResult { end, stopped })
}

/// Returns the next event. The future may be dropped.
async fn next_event(
    live: &mut LiveDriver,
    question: &mut PendingQuestion<'_>,
    timers: &mut Timers,
    cancel: &CancellationToken,
    is_stopped: bool,
) -> BlockEvent {
    tokio::select! {
        biased;
        () = cancel.cancelled(), if !is_stopped => BlockEvent::Cancelled,
        message = live.wire.next() => BlockEvent::Message(message),
        (name, answer) = question.answered() => BlockEvent::Answer(name, answer),
        event = live.connections.next() => BlockEvent::Connection(event),
        () = sleep_until(timers.deadline) => BlockEvent::Deadline,
        _ = timers.ticks.tick(), if timers.is_watched && !is_stopped => BlockEvent::Tick,
    }
}

/// Handles a message other than a question.
fn take(
    live: &mut LiveDriver,
    message: &DriverMessage,
    number: u64,
    output: &mut BlockOutput,
) -> Effect {
    match message.kind {
        MessageKind::Ended if message.number(0) == Some(number) => {
            Effect::End(Ok(BlockEnd::from(message)))
        }
        MessageKind::Stdout => output.push(Stream::Stdout, message.field(0)),
        MessageKind::Stderr => output.push(Stream::Stderr, message.field(0)),
        _ => {
            live.take(message, &mut output.files);
            Effect::Continue
        }
    }
}

/// Returns the effect of a block's deadline: the first is its wall time, the second the time that
/// the driver has to stop it.
fn at_deadline(is_stopped: bool) -> Effect {
    if is_stopped {
        Effect::End(Err(io::Error::other("the driver did not stop the program")))
    } else {
        Effect::Stop(exceeded(Limit::Wall))
    }
}

/// Stops a block when the future that waits for it is dropped.
struct StopGuard<'l> {
    link: &'l mut DriverLink,
    number: u64,
    is_armed: bool,
}

impl Drop for StopGuard<'_> {
    fn drop(&mut self) {
        if self.is_armed {
            self.link.stop(self.number);
            if let Some(live) = &mut self.link.live {
                live.wire.pump();
            }
        }
    }
}

/// The output and files of a block so far.
struct BlockOutput {
    stdout: Capture,
    stderr: Capture,
    files: ArrivingFiles,
    sink: Option<OutputSink>,
}

impl BlockOutput {
    fn new(limits: &Limits, sink: Option<OutputSink>) -> Self {
        Self {
            stdout: Capture::new(limits.output),
            stderr: Capture::new(limits.output),
            files: ArrivingFiles::new(limits.disk, limits.files),
            sink,
        }
    }

    /// Adds output. Stops the block if there is too much of it.
    fn push(&mut self, stream: Stream, data: &[u8]) -> Effect {
        let capture = match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        };
        let room = capture.room().min(data.len());
        capture.push(data);
        if let Some(sink) = self.sink.as_ref().filter(|_| room > 0) {
            sink(stream, &data[..room]);
        }
        if capture.is_flood() { Effect::Stop(exceeded(Limit::Output)) } else { Effect::Continue }
    }
}

/// The question of the program that is being answered; there is at most one.
#[derive(Default)]
struct PendingQuestion<'c> {
    name: Bytes,
    answer: Option<Pin<Box<dyn Future<Output = Vec<u8>> + Send + 'c>>>,
}

impl<'c> PendingQuestion<'c> {
    /// Begins to answer a question. An earlier one is given up: the program no longer waits for it.
    fn ask(&mut self, message: &DriverMessage, calls: &'c HostCalls) {
        self.name = message.fields.get(1).cloned().unwrap_or_default();
        self.answer = Some(Box::pin(calls.answer(message.field(2).to_vec())));
    }

    /// Returns the question's name and the answer; waits forever if there is no question. The
    /// future may be dropped and made again.
    async fn answered(&mut self) -> (Bytes, Vec<u8>) {
        let Some(answer) = &mut self.answer else { return std::future::pending().await };
        let answer = answer.await;
        self.answer = None;
        (std::mem::take(&mut self.name), answer)
    }
}

/// The parts of a result that depend on how the block ended.
struct Conclusion {
    outcome: Outcome,
    /// True if the interpreter's variables are lost.
    lost: bool,
    cpu: Duration,
    memory: u64,
    note: String,
}

/// Concludes a block whose end the driver has reported.
fn conclude(
    link: &DriverLink,
    end: &BlockEnd,
    stopped: Option<Outcome>,
    before: Option<CellUsage>,
    after: Option<CellUsage>,
) -> Conclusion {
    let mut outcome = verdict(end, stopped, link.setup.memory_is_refused);
    // A program can end between two looks. The files that it left show what it did; that something
    // was refused matters only if it failed.
    if let Some(limit) = after.and_then(|now| exceeded_limit(&link.setup.limits, before, now)) {
        let left_files = matches!(limit, Limit::Disk | Limit::Files) && outcome.is_success();
        let failed = matches!(outcome, Outcome::Exited { code: 1.. } | Outcome::Signaled { .. });
        if left_files || failed {
            outcome = exceeded(limit);
        }
    }
    let outside = before.zip(after).map(|(before, after)| after.cpu.saturating_sub(before.cpu));
    Conclusion {
        outcome,
        lost: end.lost,
        cpu: outside.unwrap_or(Duration::from_micros(end.cpu_us)),
        memory: after.map_or(end.memory, |usage| usage.memory),
        note: end.note.clone(),
    }
}

/// Concludes a block whose driver is lost.
async fn conclude_lost(
    link: &mut DriverLink,
    stopped: Option<Outcome>,
    error: io::Error,
) -> Result<Conclusion> {
    let loss = link.replace(error).await;
    let outcome = match stopped.or(loss.limit.map(exceeded)) {
        Some(outcome) => outcome,
        None if loss.end.is_some() => return Err(loss.into()),
        // The end of the driver has ended the block.
        None => Outcome::Signaled { signal: SIGKILL },
    };
    Ok(Conclusion { outcome, lost: true, cpu: Duration::ZERO, memory: 0, note: loss.why })
}

fn exceeded(limit: Limit) -> Outcome {
    Outcome::LimitExceeded { limit }
}

/// Returns the limit that a cell exceeds, if it exceeds one.
fn exceeded_limit(limits: &Limits, before: Option<CellUsage>, now: CellUsage) -> Option<Limit> {
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
    .find_map(|(is_exceeded, limit)| is_exceeded.then_some(limit))
}
