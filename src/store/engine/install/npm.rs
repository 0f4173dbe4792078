//! The ordinary npm client as a child process. Registry, proxy, certificates and credentials are its user's business.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::Duration,
};

use super::{InstallError, PACKAGE, Progress, TARBALL_BYTES, VERSION, io_error, size_of_tree};

/// How often the growing download is measured.
const LOOK: Duration = Duration::from_millis(200);

/// Runs `npm pack` in `directory`, with a cache of its own there, so that its growth can be watched and nothing of the
/// user's cache is touched. Returns the tarball's path.
pub(super) fn pack(directory: &Path, progress: &Progress) -> Result<PathBuf, InstallError> {
    pack_with(Path::new("npm"), directory, progress)
}

pub(super) fn pack_with(npm: &Path, directory: &Path, progress: &Progress) -> Result<PathBuf, InstallError> {
    let (cache, destination) = (directory.join("cache"), directory.join("package"));
    for path in [&cache, &destination] {
        fs::create_dir_all(path).map_err(io_error("make the directory", path))?;
    }
    let child = Command::new(npm)
        .args(["pack", &format!("{PACKAGE}@{VERSION}"), "--ignore-scripts", "--loglevel=error", "--no-update-notifier"])
        .args(["--fetch-retries=8", "--fetch-retry-mintimeout=1000", "--fetch-retry-maxtimeout=20000"])
        .arg("--cache")
        .arg(&cache)
        .arg("--pack-destination")
        .arg(&destination)
        // Not the directory of some project with an .npmrc of its own.
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => InstallError::NpmMissing,
            _ => io_error("run", npm)(error),
        })?;
    let output = watch(child, &cache, progress).map_err(io_error("wait for", npm))?;
    if !output.status.success() {
        return Err(classify(&format!(
            "{}{}",
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        )));
    }
    let packed = fs::read_dir(&destination).map_err(io_error("read", &destination))?;
    packed
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"))
        .ok_or_else(|| InstallError::Npm(format!("it left no tarball in {}", destination.display())))
}

/// Waits for npm and shows how its cache grows meanwhile.
fn watch(child: std::process::Child, cache: &Path, progress: &Progress) -> std::io::Result<Output> {
    let stage = progress.stage("downloading", TARBALL_BYTES);
    let (done, waiting) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // The receiver lives until after this.
            let _ = done.send(child.wait_with_output());
        });
        loop {
            match waiting.recv_timeout(LOOK) {
                Ok(output) => {
                    stage.finish();
                    return output;
                }
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => stage.at(size_of_tree(cache).min(TARBALL_BYTES)),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {
                    return Err(std::io::Error::other("the waiting thread ended"));
                }
            }
        }
    })
}

/// What npm's output means to the person before it.
pub(super) fn classify(output: &str) -> InstallError {
    const NETWORK: [&str; 12] = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENETUNREACH",
        "EHOSTUNREACH",
        "EPROTO",
        "ERR_SOCKET_TIMEOUT",
        "ENOTCACHED",
        "CERT",
        "SELF_SIGNED",
    ];
    let said = last_lines(output);
    let holds = |codes: &[&str]| codes.iter().any(|code| output.contains(code));
    if holds(&["E404", "ETARGET", "ENOVERSIONS"]) {
        InstallError::NotInRegistry(said)
    } else if holds(&NETWORK) {
        InstallError::Offline(said)
    } else {
        InstallError::Npm(said)
    }
}

/// The telling lines: npm repeats a hint about its log file at the end.
fn last_lines(output: &str) -> String {
    let telling = |line: &&str| !line.is_empty() && !line.contains("A complete log of this run");
    let lines: Vec<&str> =
        output.lines().map(|line| line.trim_start_matches("npm error").trim()).filter(telling).take(8).collect();
    if lines.is_empty() { "nothing".to_owned() } else { lines.join(" | ") }
}
