//! What the tests ask of the machine: tools, rights, loop-mounted disks, strace, signals.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    os::fd::AsRawFd,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

/// How long anything may take on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Whether the long version was asked for (`make faults`).
pub fn is_long() -> bool {
    std::env::var_os("ERRATA_FAULTS").is_some_and(|value| value == "long")
}

/// How often something is done: few times in `make test`, often in `make faults`.
pub fn times(short: usize, long: usize) -> usize {
    if is_long() { long } else { short }
}

/// A seed: printed, and taken from `ERRATA_FAULTS_SEED` to run the same again.
pub fn random() -> Random {
    let given = std::env::var("ERRATA_FAULTS_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(|| getrandom::u64().unwrap());
    println!("ERRATA_FAULTS_SEED={seed}");
    Random(seed)
}

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }

    pub fn millis(&mut self, from: u64, to: u64) -> Duration {
        Duration::from_millis(from + self.below(to - from))
    }
}

/// Waits for what another process does, by looking often.
pub async fn eventually(what: &str, limit: Duration, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < limit, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A port that nobody listens on, from below the range of outgoing connections, so that it stays free over a restart.
pub fn free_port() -> u16 {
    loop {
        let port = 20_000 + (getrandom::u32().unwrap() % 12_000) as u16;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

pub fn signal(pid: u32, signal: rustix::process::Signal) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    rustix::process::kill_process(pid, signal).unwrap();
}

/// Says loudly that a test does not run here.
pub fn skip(what: &str, why: &str) {
    println!("*** SKIPPED: {what}: {why} ***");
    eprintln!("*** SKIPPED: {what}: {why} ***");
}

/// A program, wherever administrators have it. In CI it must be there.
pub fn tool(name: &str, package: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    let found = folders.map(|folder| folder.join(name)).find(|file| file.is_file());
    if found.is_none() {
        let why = format!("{name} is missing: apt-get install {package}");
        assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{why}");
        skip("a test of faults", &why);
    }
    found
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr).trim()))
}

/// A file system of its own, in a file.
pub struct Disk {
    image: PathBuf,
    path: PathBuf,
    options: &'static str,
    mount: PathBuf,
    umount: PathBuf,
}

impl Disk {
    /// Makes and mounts an ext4 of so many MiB, or says why that cannot be done here.
    pub fn make(dir: &Path, mib: u64, options: &'static str) -> Option<Self> {
        let what = "a test that needs a disk of its own";
        let mkfs = tool("mkfs.ext4", "e2fsprogs")?;
        let (mount, umount) = (tool("mount", "mount")?, tool("umount", "mount")?);
        if !rustix::process::geteuid().is_root() {
            skip(what, "only root can mount; run the tests as root");
            return None;
        }
        let disk = Self { image: dir.join("disk.img"), path: dir.join("disk"), options, mount, umount };
        fs::create_dir_all(&disk.path).unwrap();
        fs::File::create(&disk.image).unwrap().set_len(mib << 20).unwrap();
        run(Command::new(mkfs).args(["-q", "-F", "-m", "0"]).arg(&disk.image)).unwrap();
        if let Err(why) = disk.attach() {
            // A container without loop devices, or without the right to mount: nothing the machine's owner could install.
            skip(what, &why);
            return None;
        }
        Some(disk)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    fn attach(&self) -> Result<(), String> {
        let options = format!("loop{}", self.options);
        run(Command::new(&self.mount).args(["-o", &options]).arg(&self.image).arg(&self.path))
    }

    /// What was not synced is gone, as when the power is cut: nothing more reaches the image, and every access fails.
    pub fn cut(&self) {
        // `EXT4_IOC_SHUTDOWN` = _IOR('X', 125, __u32), without flushing the journal.
        const SHUTDOWN: libc::c_ulong = 0x8004_587d;
        let no_log_flush = 2_u32;
        let root = fs::File::open(&self.path).unwrap();
        // SAFETY: the descriptor is open, and the argument points to the one `u32` that this call reads.
        let failed = unsafe { libc::ioctl(root.as_raw_fd(), SHUTDOWN, &raw const no_log_flush) };
        assert_eq!(failed, 0, "{}", std::io::Error::last_os_error());
    }

    /// The machine starts again: the journal is replayed. Nobody may have a file open.
    pub fn restart(&self) {
        self.detach().unwrap();
        self.attach().unwrap();
    }

    fn detach(&self) -> Result<(), String> {
        // A process that was killed a moment ago may still be closing its files.
        let began = Instant::now();
        loop {
            match run(Command::new(&self.umount).arg(&self.path)) {
                Err(_) if began.elapsed() < Duration::from_secs(5) => std::thread::sleep(Duration::from_millis(20)),
                result => return result,
            }
        }
    }

    /// Its block device: `loop3`.
    pub fn device(&self) -> String {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let line = mounts.lines().find(|line| line.split(' ').nth(1) == self.path.to_str()).unwrap();
        line.split(' ').next().unwrap().rsplit('/').next().unwrap().to_owned()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = run(Command::new(&self.umount).arg("-l").arg(&self.path)); // nothing is left to do about it
    }
}

/// The arguments with which strace does what is said to the system calls of one process from its start; `None` without strace.
pub fn strace(inject: &[&str]) -> Option<Vec<String>> {
    let strace = tool("strace", "strace")?;
    let fixed = ["-D", "-f", "--seccomp-bpf", "-qqq", "-o", "/dev/null"].map(str::to_owned);
    let calls: Vec<&str> = inject.iter().map(|rule| rule.split(':').next().unwrap()).collect();
    let mut command = vec![strace.to_str().unwrap().to_owned()];
    command.extend(fixed);
    command.extend(["-e".to_owned(), format!("trace={}", calls.join(","))]);
    command.extend(inject.iter().flat_map(|rule| ["-e".to_owned(), format!("inject={rule}")]));
    Some(command)
}

/// strace on one thread of a running process, until it is dropped.
pub struct Tracer(Child);

impl Tracer {
    /// Attaches; system calls fail from then on as the rules say. `None`, and loudly, where this cannot be done.
    pub fn attach(pid: u32, thread: &str, inject: &[&str]) -> Option<Self> {
        let command = strace(inject)?;
        let thread_id = threads(pid).into_iter().find(|(_, name)| name == thread).expect("the thread is there").0;
        // `-q` less, so that it says when it has attached; without `-f`, so that it is this thread alone.
        let rules = command.iter().skip_while(|argument| *argument != "-e");
        let mut child = Command::new(&command[0])
            .args(["-o", "/dev/null", "-p", &thread_id.to_string()])
            .args(rules)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let said = BufReader::new(child.stderr.take().unwrap()).lines().next().and_then(Result::ok).unwrap_or_default();
        let tracer = Self(child);
        if said.contains("attached") {
            return Some(tracer);
        }
        skip("a test that injects failing system calls", &format!("strace cannot attach here: {said}"));
        None
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        signal_if_there(self.0.id());
        let _ = self.0.wait();
    }
}

fn signal_if_there(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid as i32).unwrap();
    let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM); // its process may have ended, and it with it
}

/// Threads of a process: id and name.
pub fn threads(pid: u32) -> Vec<(u32, String)> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks
        .filter_map(|task| {
            let name = fs::read_to_string(task.path().join("comm")).ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
        })
        .collect()
}
