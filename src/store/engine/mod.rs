//! The embedded ClickHouse: a child process that we install, start, watch and end.
//!
//! * [`install`] fetches the library once per user and version.
//! * [`Engine::start`] runs it: the binary executes itself again (`errata __engine …`, [`child_main`]), the child opens
//!   the library and serves HTTP on a loopback port. A crash of ClickHouse is a restart, never the collector's end.
//! * A supervisor thread owns the child and starts it again with back-off. Port and passwords stay the same for the
//!   life of an [`Engine`], so clients go on as after any server restart.
//!
//! To everybody else this is just a ClickHouse server: see [`Engine::access`].

mod child;
mod config;
#[cfg(target_os = "linux")]
mod confine;
pub mod install;
mod ready;
mod supervisor;

use std::{
    fs,
    io::{Read, Seek, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::mpsc,
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use tokio::sync::watch;

use self::{
    child::ChildOptions,
    supervisor::{Command, Started},
};
pub use self::{
    child::{SUBCOMMAND, child_main},
    install::{Status, status},
};
use super::client::{Access, Database};

pub(in crate::store) use config::hex;

/// Directory of the engine's files within the data directory.
const DIRECTORY: &str = "clickhouse";
/// How long [`Engine::start`] waits for the engine to answer, and for a dying predecessor to let go of the directory.
const START_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    #[error("the engine is not installed at {0}: run `errata engine install`")]
    NotInstalled(PathBuf),
    #[error(
        "{path} is in use by another errata (process {pid}): stop that one, or set ERRATA_DATA_DIR to another directory"
    )]
    InUse { path: PathBuf, pid: String },
    #[error("{action} {path}: {source}")]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the system gives no random bytes: {0}")]
    Random(getrandom::Error),
    #[error("no free port on 127.0.0.1 between {first} and {last}: end what holds them", first = ready::PORTS.start, last = ready::PORTS.end)]
    NoPort,
    #[error("the engine did not start: {reason}. Its last output:\n{output}")]
    Failed { reason: String, output: String },
}

/// What an engine is started with.
#[derive(Clone, Debug)]
pub struct EngineOptions {
    /// The installed `libchdb.so`: [`Status::library`].
    pub library: PathBuf,
    /// The collector's data directory; the engine's files go to `clickhouse/` in it.
    pub data_dir: PathBuf,
    /// Memory that ClickHouse may use, bytes.
    pub memory_limit_bytes: u64,
    /// The one database the users get rights on.
    pub database: Database,
    /// The port to try first; a random free one if it is taken, or `None`.
    pub http_port: Option<u16>,
    /// Also serve the native protocol, on a port of its own (for `clickhouse-client`).
    pub listen_tcp: bool,
    /// The binary whose `main` calls [`child_main`]; ours.
    pub executable: PathBuf,
}

impl EngineOptions {
    /// Options with a memory limit of 2 GiB and this process' own binary.
    pub fn new(library: PathBuf, data_dir: PathBuf, database: Database) -> Result<Self, EngineError> {
        let executable = own_executable().map_err(|source| EngineError::Io {
            action: "find",
            path: PathBuf::from("our own binary"),
            source,
        })?;
        Ok(Self {
            library,
            data_dir,
            memory_limit_bytes: 2 << 30,
            database,
            http_port: None,
            listen_tcp: false,
            executable,
        })
    }
}

/// Our binary by a name that stays valid when the file is replaced by an upgrade while we run.
fn own_executable() -> std::io::Result<PathBuf> {
    if cfg!(target_os = "linux") { Ok(PathBuf::from("/proc/self/exe")) } else { std::env::current_exe() }
}

/// What the engine is doing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EngineState {
    Starting,
    Ready {
        pid: u32,
        /// How often it was started again since [`Engine::start`].
        restarts: u32,
    },
    /// It died and is started again after a pause.
    Down {
        since: SystemTime,
        reason: String,
        restarts: u32,
    },
    /// [`Engine::stop`] was called.
    Stopped,
}

/// How an engine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// On SIGTERM, within the deadline.
    Gracefully,
    /// It had to be killed.
    Killed,
    /// It was down already.
    WasDown,
}

/// A running engine. Dropping it kills the child; [`Engine::stop`] is the polite way.
#[derive(Debug)]
pub struct Engine {
    commands: mpsc::Sender<Command>,
    thread: Option<JoinHandle<()>>,
    state: watch::Receiver<EngineState>,
    access: Access,
    http_port: u16,
    tcp_port: Option<u16>,
    /// Locked for as long as we live: two collectors on one directory would ruin each other's restarts.
    _lock: fs::File,
}

impl Engine {
    /// Starts the engine and waits until it answers an authenticated query. Blocks for some 0.2 s, at most for
    /// some 10 s: call it outside the async runtime or by `spawn_blocking`.
    pub fn start(options: EngineOptions) -> Result<Self, EngineError> {
        if !options.library.is_file() {
            return Err(EngineError::NotInstalled(options.library));
        }
        // Absolute: it is written into the configuration.
        let directory =
            std::path::absolute(options.data_dir.join(DIRECTORY)).map_err(io_error("find", &options.data_dir))?;
        make_private_directory(&directory)?;
        let lock = lock(&directory)?;

        let users = config::Users::generate().map_err(EngineError::Random)?;
        let http_port = match options.http_port {
            Some(port) => port,
            None => ready::free_port(None)?,
        };
        let tcp_port = if options.listen_tcp { Some(ready::free_port(Some(http_port))?) } else { None };
        let child = ChildOptions { library: options.library, directory, http_port, tcp_port };
        let config = child.config();
        write_private(&config, &config::render(&users, &options.database, options.memory_limit_bytes, &config))?;
        let (state_sender, state) = watch::channel(EngineState::Starting);
        let supervisor = supervisor::Supervisor::new(options.executable, child, users.admin.clone(), state_sender);
        let Started { commands, thread, http_port, tcp_port } = supervisor.run()?;
        let access = Access::embedded(http_port, users.admin, users.writer, users.reader, options.database);
        Ok(Self { commands, thread: Some(thread), state, access, http_port, tcp_port, _lock: lock })
    }

    /// How to reach it; stays valid over restarts of the child.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access.clone()
    }

    /// What it is doing, now and from now on.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<EngineState> {
        self.state.clone()
    }

    #[must_use]
    pub fn http_port(&self) -> u16 {
        self.http_port
    }

    #[must_use]
    pub fn tcp_port(&self) -> Option<u16> {
        self.tcp_port
    }

    /// Ends the child: SIGTERM, and SIGKILL when `deadline` has passed (it needs some 0.05 s). Blocks. Nothing is
    /// lost either way: what an insert has answered is on disk.
    pub fn stop(mut self, deadline: Duration) -> Stopped {
        self.end(deadline)
    }

    fn end(&mut self, deadline: Duration) -> Stopped {
        let (reply, answer) = mpsc::channel();
        // Without a supervisor there is no child: it kills the child before it ends, whatever the reason.
        let stopped = match self.commands.send(Command::Stop { deadline, reply }) {
            Ok(()) => answer.recv().unwrap_or(Stopped::WasDown),
            Err(_) => Stopped::WasDown,
        };
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the engine's supervisor panicked");
        }
        stopped
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(Duration::ZERO);
        }
    }
}

fn io_error(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> EngineError {
    move |source| EngineError::Io { action, path: path.to_owned(), source }
}

/// ClickHouse's own files are world-readable; the directory around them is not.
fn make_private_directory(path: &Path) -> Result<(), EngineError> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io_error("make the directory", path))?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(io_error("protect", path))
}

fn write_private(path: &Path, text: &str) -> Result<(), EngineError> {
    // Removed first: an old file would keep its own mode.
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error("replace", path)(error)),
        _ => {}
    }
    fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(io_error("write", path))
}

/// Takes the directory for this process. The lock goes with the process, however it ends.
fn lock(directory: &Path) -> Result<fs::File, EngineError> {
    let path = directory.join("lock");
    let open = fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = open.map_err(io_error("open", &path))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The number is only for the message.
            let pid = match file.read_to_string(&mut holder) {
                Ok(1..) => holder.trim().to_owned(),
                _ => "unknown".to_owned(),
            };
            return Err(EngineError::InUse { path: directory.to_owned(), pid });
        }
        Err(fs::TryLockError::Error(error)) => return Err(io_error("lock", &path)(error)),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(io_error("write", &path))?;
    Ok(file)
}
