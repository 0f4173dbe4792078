//! The engine's process: `errata __engine …`, started by the supervisor and by nobody else.
//!
//! It opens libchdb and hands its main thread to ClickHouse. It must never outlive the collector, so three things end
//! it: the kernel, when the supervisor's thread ends (`PR_SET_PDEATHSIG`); end of file on standard input, whose other
//! end the collector holds; and a check that the parent did not die before the first of these was armed.
//!
//! The unsafe code of the engine is here and in [`super::confine`].

use std::{
    ffi::{CStr, CString, OsStr, OsString, c_char, c_int, c_void},
    io::Read,
    os::{
        fd::AsFd,
        unix::{ffi::OsStrExt, process::parent_id},
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// What `main` looks for in `argv[1]`.
pub const SUBCOMMAND: &str = "__engine";

/// Keeps clickhouse-local busy, since it ends with its last statement: a row every 0.1 s for three years.
const SERVE: &str = "SELECT sleepEachRow(0.1) FROM numbers(1000000000) \
                     SETTINGS function_sleep_max_microseconds_per_block=10000000000, max_block_size=1 FORMAT Null";

type QueryCommandLine = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
type ResultError = unsafe extern "C" fn(*mut c_void) -> *const c_char;

/// What the child is told on its command line. No secret may stand here: every local user can read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ChildOptions {
    pub library: PathBuf,
    /// Everything that is the engine's: its configuration, log and data.
    pub directory: PathBuf,
    pub http_port: u16,
    /// The native protocol's port, if it is to be served.
    pub tcp_port: Option<u16>,
}

impl ChildOptions {
    /// Where the configuration file is.
    pub fn config(&self) -> PathBuf {
        self.directory.join("config.xml")
    }

    /// The command that runs `executable` as an engine. Standard input must be a pipe that the caller keeps open.
    pub fn command(&self, executable: &Path) -> Command {
        use std::os::unix::process::CommandExt;
        let mut command = Command::new(executable);
        command
            .arg0("errata-engine")
            .arg(SUBCOMMAND)
            .arg(std::process::id().to_string())
            .arg(&self.library)
            .arg(&self.directory)
            .arg(self.http_port.to_string())
            .stdin(Stdio::piped())
            // Ctrl-C in the terminal is for the collector, which still needs the engine while it drains.
            .process_group(0)
            // The collector's environment may hold secrets, and it is none of the engine's business.
            .env_clear();
        if let Some(port) = self.tcp_port {
            command.arg(port.to_string());
        }
        for name in ["TZ", "LANG", "LC_ALL", "LD_LIBRARY_PATH"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
    }

    /// The counterpart of [`ChildOptions::command`]: the parent's process id and the options.
    fn parse(mut args: impl Iterator<Item = OsString>) -> Option<(u32, Self)> {
        fn number<T: std::str::FromStr>(text: &OsStr) -> Option<T> {
            text.to_str()?.parse().ok()
        }
        let parent = number(&args.next()?)?;
        let options = Self {
            library: args.next()?.into(),
            directory: args.next()?.into(),
            http_port: number(&args.next()?)?,
            tcp_port: args.next().as_deref().and_then(number),
        };
        Some((parent, options))
    }

    /// Arguments for clickhouse-local.
    fn clickhouse_arguments(&self) -> Result<Vec<CString>, std::ffi::NulError> {
        let path = |name: &str, path: &Path| {
            let mut text = format!("--{name}=").into_bytes();
            text.extend_from_slice(path.as_os_str().as_bytes());
            CString::new(text)
        };
        // HTTP comes last: when it answers, the other one does too.
        let mut query = String::new();
        let mut arguments = vec![
            CString::new("clickhouse")?,
            path("path", &self.directory.join("data"))?,
            path("config-file", &self.config())?,
            CString::new(format!("--http_port={}", self.http_port))?,
            CString::new("--listen_host=127.0.0.1")?,
            CString::new("--multiquery")?,
        ];
        if let Some(port) = self.tcp_port {
            arguments.push(CString::new(format!("--tcp_port={port}"))?);
            query.push_str("SYSTEM START LISTEN TCP; ");
        }
        arguments.push(CString::new(format!("--query={query}SYSTEM START LISTEN HTTP; {SERVE}"))?);
        Ok(arguments)
    }
}

/// Runs the engine; returns never. `args` are the arguments after [`SUBCOMMAND`].
pub fn child_main(args: impl Iterator<Item = OsString>) -> ! {
    let Some((parent, options)) = ChildOptions::parse(args) else {
        eprintln!("errata {SUBCOMMAND} is started by `errata serve`, not by hand");
        exit_now(2);
    };
    if let Err(error) = die_with(parent) {
        eprintln!("cannot tie the engine to its parent: {error}");
        exit_now(3);
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = super::confine::confine(&options.directory, &options.library) {
        eprintln!("the engine is not confined to its directory: {error}");
    }
    match serve(&options) {
        Ok(()) => exit_now(0),
        Err(message) => {
            eprintln!("{message}");
            exit_now(1)
        }
    }
}

/// Arms everything that ends this process with its parent.
fn die_with(parent: u32) -> std::io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
        rustix::thread::set_name(c"errata-engine")?;
    }
    if parent_id() != parent {
        // It died before the signal was armed.
        exit_now(0);
    }
    // ClickHouse would read standard input; it gets an empty one, and the pipe moves away.
    let stdin = std::io::stdin();
    let mut lifeline = std::fs::File::from(stdin.as_fd().try_clone_to_owned()?);
    rustix::stdio::dup2_stdin(std::fs::File::open("/dev/null")?)?;
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(move || {
        let mut byte = [0_u8; 1];
        loop {
            match lifeline.read(&mut byte) {
                Ok(1..) => {}
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => exit_now(0),
            }
        }
    })?;
    Ok(())
}

/// Leaves at once, as if killed: ClickHouse's destructors must not run beside its own threads.
fn exit_now(code: c_int) -> ! {
    // SAFETY: `_exit` has no preconditions; it runs no handlers and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// Opens the library and runs ClickHouse in it until it ends.
fn serve(options: &ChildOptions) -> Result<(), String> {
    let arguments = options.clickhouse_arguments().map_err(|_| "a path holds a NUL byte".to_owned())?;
    let mut argv: Vec<*mut c_char> = arguments.iter().map(|argument| argument.as_ptr().cast_mut()).collect();
    argv.push(std::ptr::null_mut());
    let count = c_int::try_from(arguments.len()).map_err(|_| "too many arguments".to_owned())?;

    // SAFETY: opening a library runs its initialisers. This is the libchdb whose hash was checked when it was
    // installed; it expects to be opened this way (DEEPBIND keeps its own allocator and C++ runtime to itself), and this
    // process exists for it alone.
    let library = unsafe { Library::open(Some(&options.library), RTLD_NOW | RTLD_LOCAL | deepbind()) }
        .map_err(|error| format!("cannot open {}: {error}", options.library.display()))?;
    // SAFETY: the signatures are those of chdb.h of the pinned version: `chdb_result *chdb_query_cmdline(int, char **)`
    // and `const char *chdb_result_error(chdb_result *)`.
    let (query, result_error) = unsafe {
        (
            library.get::<QueryCommandLine>(b"chdb_query_cmdline\0").map_err(|error| error.to_string())?,
            library.get::<ResultError>(b"chdb_result_error\0").map_err(|error| error.to_string())?,
        )
    };
    // SAFETY: `argv` points to `count` NUL-terminated strings and a closing null, as `main` gets them; they live in
    // `arguments` until after the call, and clickhouse-local does not write to them.
    let result = unsafe { query(count, argv.as_mut_ptr()) };
    if result.is_null() {
        return Err("ClickHouse ended without a result".to_owned());
    }
    // SAFETY: `result` came from the call above and was not destroyed.
    let message = unsafe { result_error(result) };
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: a non-null message is a NUL-terminated string owned by `result`, which lives until the process ends.
    let message = unsafe { CStr::from_ptr(message) };
    Err(message.to_string_lossy().into_owned())
}

const fn deepbind() -> c_int {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    return libc::RTLD_DEEPBIND;
    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    return 0;
}

/// Asks a child of ours to end (SIGTERM). It must not have been waited for.
pub(super) fn terminate(child: &Child) -> std::io::Result<()> {
    let pid = rustix::process::Pid::from_child(child);
    Ok(rustix::process::kill_process(pid, rustix::process::Signal::TERM)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_supervisor_writes_the_child_reads() {
        for tcp_port in [None, Some(9000)] {
            let options =
                ChildOptions { library: "/l/libchdb.so".into(), directory: "/c d".into(), http_port: 8123, tcp_port };
            let command = options.command(Path::new("errata"));
            let args = command.get_args().map(OsStr::to_owned).skip(1);
            assert_eq!(ChildOptions::parse(args), Some((std::process::id(), options)));
        }
        assert_eq!(ChildOptions::parse(["x".into()].into_iter()), None);
    }
}
