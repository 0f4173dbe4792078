//! What a process has used, from `/proc`.

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

/// Unit of the times in `/proc/…/stat`: `USER_HZ`, the same on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// How often a process is looked at that is to become idle, and for how long it must be.
const LOOK: Duration = Duration::from_millis(100);
const QUIET: usize = 10;
/// An engine that has nothing to do uses about this share of a core; CPU seconds in `LOOK * QUIET`.
const QUIET_CPU: f64 = 0.035;

/// CPU seconds, in user and kernel mode.
pub fn cpu(pid: u32) -> anyhow::Result<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("process {pid} has ended"))?;
    // The name in brackets may hold anything; utime and stime are the 14th and 15th fields.
    let (_, fields) = stat.rsplit_once(") ").context("/proc/…/stat")?;
    let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
    match (times.next(), times.next()) {
        (Some(Ok(user)), Some(Ok(system))) => Ok((user + system) as f64 / TICKS_PER_SECOND),
        _ => bail!("/proc/{pid}/stat is not understood"),
    }
}

/// Peak of the resident memory, bytes.
pub fn peak_memory(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

/// Bytes that the process has caused to be written to disk, in whole pages.
pub fn written(pid: u32) -> anyhow::Result<u64> {
    let io = fs::read_to_string(format!("/proc/{pid}/io"))?;
    let value = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).context("write_bytes")?;
    Ok(value.parse()?)
}

/// The first child of a process.
pub fn child(pid: u32) -> Option<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    let children = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("children")).ok());
    children.flat_map(|list| list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()).next()?.parse().ok()
}

/// Waits until the process does nothing any more (merges included) and returns its CPU seconds when that began.
pub fn cpu_when_idle(pid: u32, limit: Duration) -> anyhow::Result<f64> {
    let began = Instant::now();
    let mut seen = vec![cpu(pid)?];
    loop {
        std::thread::sleep(LOOK);
        seen.push(cpu(pid)?);
        let then = seen[seen.len().saturating_sub(QUIET + 1)];
        if seen.len() > QUIET && seen[seen.len() - 1] - then <= QUIET_CPU {
            return Ok(then);
        }
        if began.elapsed() > limit {
            eprintln!("warning: the engine is still busy after {limit:?}");
            return cpu(pid);
        }
    }
}

/// CPU model, cores, kernel and memory of this machine.
pub fn machine() -> String {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let cpus = text("/proc/cpuinfo");
    let model =
        cpus.lines().find_map(|line| line.strip_prefix("model name")?.split(": ").nth(1)).unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let memory = text("/proc/meminfo");
    let kib: u64 = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.trim().trim_end_matches(" kB").parse().ok())
        .unwrap_or_default();
    let kernel = text("/proc/sys/kernel/osrelease");
    format!("{model}, {cores} cores, {} GiB, Linux {}", (kib + (1 << 19)) >> 20, kernel.trim())
}

/// The commit that was measured, with `+` when files (other than where the figures go) differ from it.
pub fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = std::process::Command::new("git").args(arguments).output();
        output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
    };
    let differs = !git(&["status", "--porcelain", "--untracked-files=no", "--", ".", ":!benches/README.md"]).is_empty();
    format!("{}{}", git(&["rev-parse", "--short", "HEAD"]), if differs { "+" } else { "" })
}
