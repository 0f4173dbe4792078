//! The thread that owns the engine's process: starts it, notices its death, starts it again.
//!
//! The kernel kills the child when the *thread* that started it ends (`PR_SET_PDEATHSIG`), so it is this thread that
//! starts it, and the thread lives as long as the [`super::Engine`]. It sleeps in `recv` while all is well: the child's
//! death is told by the end of its output, which another thread reads.

use std::{
    collections::VecDeque,
    io::{BufRead, BufReader, PipeReader, Read},
    path::PathBuf,
    process::{Child, ChildStdin, ExitStatus},
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

use tokio::sync::watch;

use super::{EngineError, EngineState, START_LIMIT, Stopped, child, child::ChildOptions, ready};
use crate::store::client::Login;

/// First and longest pause before a restart; it doubles in between.
const BACKOFF_MIN: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(10);
/// A child that lived this long has proved itself: the next pause is the shortest again.
const STABLE: Duration = Duration::from_secs(60);
/// Pause between two looks whether a starting child answers, or a stopping one is gone.
const POLL: Duration = Duration::from_millis(10);
/// Lines of output kept, and bytes of one line.
const OUTPUT_LINES: usize = 40;
const OUTPUT_LINE_BYTES: u64 = 4096;
/// What ClickHouse says when another process has the data directory.
const DIRECTORY_BUSY: &str = "Cannot lock file";
/// What it says when somebody else listens on the port.
const PORT_TAKEN: &str = "Address already in use";

/// What the supervisor is told.
#[derive(Debug)]
pub(super) enum Command {
    Stop {
        deadline: Duration,
        reply: mpsc::Sender<Stopped>,
    },
    /// The output of the child with this number ended: it died.
    Died(u32),
}

/// Everything to start a child and to tell others about it.
pub(super) struct Supervisor {
    executable: PathBuf,
    options: ChildOptions,
    /// Whose password only our engine takes.
    login: Login,
    state: watch::Sender<EngineState>,
    commands: mpsc::Sender<Command>,
    inbox: mpsc::Receiver<Command>,
    /// How many children were started.
    started: u32,
}

/// A supervisor whose first child is ready.
pub(super) struct Started {
    pub commands: mpsc::Sender<Command>,
    pub thread: JoinHandle<()>,
    pub http_port: u16,
    pub tcp_port: Option<u16>,
}

/// A child and what belongs to it.
struct Running {
    child: Child,
    number: u32,
    /// Its end of file ends the child.
    _lifeline: Option<ChildStdin>,
    output: Output,
}

type StopRequest = (Duration, mpsc::Sender<Stopped>);

/// Why a child is not (or no longer) there.
enum Failure {
    /// Another process has the data directory: for a moment, if it is the engine of a killed collector.
    DirectoryBusy(String),
    PortTaken(String),
    Other(String),
    /// We were told to stop meanwhile.
    Stop(StopRequest),
}

impl Supervisor {
    pub fn new(executable: PathBuf, options: ChildOptions, login: Login, state: watch::Sender<EngineState>) -> Self {
        let (commands, inbox) = mpsc::channel();
        Self { executable, options, login, state, commands, inbox, started: 0 }
    }

    /// Starts the thread; returns when the first child is ready, with the ports it has.
    pub fn run(mut self) -> Result<Started, EngineError> {
        let commands = self.commands.clone();
        let (ready, first) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("engine-supervisor".to_owned())
            .spawn(move || match self.start_first() {
                Ok(running) => {
                    // The receiver waits below.
                    let _ = ready.send(Ok((self.options.http_port, self.options.tcp_port)));
                    self.supervise(running);
                }
                Err(error) => {
                    let _ = ready.send(Err(error));
                }
            })
            .map_err(|source| EngineError::Io {
                action: "start a thread for",
                path: PathBuf::from("the engine"),
                source,
            })?;
        match first.recv() {
            Ok(Ok((http_port, tcp_port))) => Ok(Started { commands, thread, http_port, tcp_port }),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(EngineError::Failed { reason: "its supervisor panicked".to_owned(), output: String::new() }),
        }
    }

    /// A child that does not come up at first is an error, with two exceptions: the engine of a killed collector may
    /// hold the directory for a moment, and somebody may have taken the port since we looked.
    fn start_first(&mut self) -> Result<Running, EngineError> {
        let give_up = Instant::now() + START_LIMIT;
        loop {
            let (output, failure) = match self.start_child() {
                Ok(running) => return Ok(running),
                Err(failed) => failed,
            };
            let reason = match failure {
                Failure::DirectoryBusy(_) if Instant::now() < give_up => {
                    std::thread::sleep(BACKOFF_MIN);
                    continue;
                }
                Failure::PortTaken(_) if Instant::now() < give_up => {
                    self.options.http_port = ready::free_port(None)?;
                    if self.options.tcp_port.is_some() {
                        self.options.tcp_port = Some(ready::free_port(Some(self.options.http_port))?);
                    }
                    continue;
                }
                Failure::DirectoryBusy(reason) | Failure::PortTaken(reason) | Failure::Other(reason) => reason,
                Failure::Stop(_) => "it was stopped".to_owned(),
            };
            return Err(EngineError::Failed { reason, output });
        }
    }

    fn supervise(mut self, first: Running) {
        let mut running = first;
        let mut backoff = BACKOFF_MIN;
        loop {
            let ready_at = Instant::now();
            if let Some((deadline, reply)) = self.watch(&running) {
                let stopped = running.stop(deadline);
                return self.finish(&reply, stopped);
            }
            let reason = running.wait_reason();
            tracing::error!(%reason, "the embedded ClickHouse died and is started again");
            if ready_at.elapsed() >= STABLE {
                backoff = BACKOFF_MIN;
            }
            running = match self.restart(reason, &mut backoff) {
                Ok(next) => next,
                Err((_, reply)) => return self.finish(&reply, Stopped::WasDown),
            };
        }
    }

    fn finish(&self, reply: &mpsc::Sender<Stopped>, stopped: Stopped) {
        self.state.send_replace(EngineState::Stopped);
        // Nobody waits for the answer of a dropped engine.
        let _ = reply.send(stopped);
    }

    /// Sleeps until the child dies (`None`) or a stop is asked for.
    fn watch(&self, running: &Running) -> Option<StopRequest> {
        loop {
            match self.inbox.recv() {
                Ok(Command::Died(number)) if number == running.number => return None,
                Ok(Command::Died(_)) => {}
                Ok(Command::Stop { deadline, reply }) => return Some((deadline, reply)),
                // Cannot be: we hold a sender ourselves.
                Err(mpsc::RecvError) => return None,
            }
        }
    }

    /// Starts children with growing pauses until one is ready, or a stop is asked for.
    fn restart(&mut self, reason: String, backoff: &mut Duration) -> Result<Running, StopRequest> {
        let since = SystemTime::now();
        let mut reason = reason;
        loop {
            self.state.send_replace(EngineState::Down { since, reason, restarts: self.started.saturating_sub(1) });
            self.pause(*backoff)?;
            *backoff = (*backoff * 2).min(BACKOFF_MAX);
            reason = match self.start_child() {
                Ok(running) => return Ok(running),
                Err((_, Failure::Stop(request))) => return Err(request),
                Err((output, Failure::DirectoryBusy(reason) | Failure::PortTaken(reason) | Failure::Other(reason))) => {
                    tracing::error!(%reason, %output, "the embedded ClickHouse does not start");
                    reason
                }
            };
        }
    }

    fn pause(&self, length: Duration) -> Result<(), StopRequest> {
        let until = Instant::now() + length;
        loop {
            match self.inbox.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(Command::Stop { deadline, reply }) => return Err((deadline, reply)),
                Ok(Command::Died(_)) => {}
                Err(_) => return Ok(()),
            }
        }
    }

    /// Starts a child and waits until it answers. On failure its output comes along, and it is gone.
    fn start_child(&mut self) -> Result<Running, (String, Failure)> {
        let other = |reason: String| (String::new(), Failure::Other(reason));
        if self.started == 0 {
            self.state.send_replace(EngineState::Starting);
        }
        let began = Instant::now();
        let mut running =
            self.spawn().map_err(|error| other(format!("cannot run {}: {error}", self.executable.display())))?;
        let pid = running.child.id();
        loop {
            if ready::answers(pid, self.options.http_port, &self.login) {
                tracing::info!(
                    pid,
                    port = self.options.http_port,
                    ready_ms = began.elapsed().as_millis() as u64,
                    "the embedded ClickHouse is ready"
                );
                self.state.send_replace(EngineState::Ready { pid, restarts: self.started - 1 });
                return Ok(running);
            }
            match self.inbox.recv_timeout(POLL) {
                Ok(Command::Stop { deadline, reply }) => {
                    running.kill();
                    return Err((running.output.text(), Failure::Stop((deadline, reply))));
                }
                Ok(Command::Died(number)) if number == running.number => {
                    let reason = running.wait_reason();
                    let output = running.output.text();
                    let failure = match &output {
                        text if text.contains(DIRECTORY_BUSY) => Failure::DirectoryBusy(reason),
                        text if text.contains(PORT_TAKEN) => Failure::PortTaken(reason),
                        _ => Failure::Other(reason),
                    };
                    return Err((output, failure));
                }
                _ => {}
            }
            if began.elapsed() > START_LIMIT {
                running.kill();
                let seconds = START_LIMIT.as_secs();
                return Err((running.output.text(), Failure::Other(format!("it did not answer within {seconds} s"))));
            }
        }
    }

    fn spawn(&mut self) -> std::io::Result<Running> {
        let (reader, writer) = std::io::pipe()?;
        let mut command = self.options.command(&self.executable);
        command.stdout(writer.try_clone()?).stderr(writer);
        let mut child = command.spawn()?;
        // The command holds the pipe's writing ends; the output ends when the child's are the only ones.
        drop(command);
        let lifeline = child.stdin.take();
        self.started += 1;
        let number = self.started;
        let output = Output::default();
        let (sink, commands) = (output.clone(), self.commands.clone());
        let reading = std::thread::Builder::new().name("engine-output".to_owned()).spawn(move || {
            sink.collect(reader);
            // The supervisor may have ended.
            let _ = commands.send(Command::Died(number));
        });
        let mut running = Running { child, number, _lifeline: lifeline, output };
        if let Err(error) = reading {
            running.kill();
            return Err(error);
        }
        Ok(running)
    }
}

impl Running {
    /// Waits for a child whose output ended, and says how it ended. One that closed its output without ending is no
    /// engine any more.
    fn wait_reason(&mut self) -> String {
        let patience = Instant::now() + Duration::from_secs(1);
        while Instant::now() < patience {
            match self.child.try_wait() {
                Ok(Some(status)) => return describe(status, &self.output.last_line()),
                Ok(None) => std::thread::sleep(POLL),
                Err(error) => return format!("it cannot be waited for: {error}"),
            }
        }
        self.kill();
        "it closed its output and was killed".to_owned()
    }

    fn kill(&mut self) {
        if let Err(error) = self.child.kill().and_then(|()| self.child.wait().map(drop)) {
            tracing::error!(%error, "cannot kill the embedded ClickHouse");
        }
    }

    fn stop(&mut self, deadline: Duration) -> Stopped {
        if let Ok(Some(_)) = self.child.try_wait() {
            return Stopped::WasDown;
        }
        if !deadline.is_zero() {
            match child::terminate(&self.child) {
                Ok(()) => {
                    let give_up = Instant::now() + deadline;
                    while Instant::now() < give_up {
                        if let Ok(Some(_)) = self.child.try_wait() {
                            return Stopped::Gracefully;
                        }
                        std::thread::sleep(POLL);
                    }
                }
                Err(error) => tracing::warn!(%error, "cannot signal the embedded ClickHouse: killing it"),
            }
        }
        self.kill();
        Stopped::Killed
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            self.kill();
        }
    }
}

fn describe(status: ExitStatus, last_line: &str) -> String {
    if last_line.is_empty() { status.to_string() } else { format!("{status}: {last_line}") }
}

/// The last lines a child wrote.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<VecDeque<String>>>);

impl Output {
    /// Reads to the end, keeping the last lines; a long line is kept in pieces.
    fn collect(&self, pipe: PipeReader) {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while let Ok(1..) = pipe.by_ref().take(OUTPUT_LINE_BYTES).read_until(b'\n', &mut line) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            line.clear();
            if text.is_empty() || is_noise(&text) {
                continue;
            }
            tracing::debug!(target: "errata::engine", "{text}");
            let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if lines.len() == OUTPUT_LINES {
                lines.pop_front();
            }
            lines.push_back(text);
        }
    }

    fn text(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().map(String::as_str).collect::<Vec<_>>().join("\n")
    }

    fn last_line(&self) -> String {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).back().cloned().unwrap_or_default()
    }
}

/// Frames of a stack trace without symbols, and the remark that introduces the log.
fn is_noise(line: &str) -> bool {
    line.starts_with("Logging ")
        || line
            .split_once(". ")
            .is_some_and(|(number, rest)| number.bytes().all(|b| b.is_ascii_digit()) && rest.contains(" @ 0x"))
}
