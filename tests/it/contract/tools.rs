//! Programs that tests use and that need not be there.

use std::process::{Command, Stdio};

/// A program to run, if this machine has it. In CI it must: there a missing one fails the test, elsewhere the check is skipped
/// loudly.
pub fn program(name: &str, package: &str) -> Option<Command> {
    let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_ok_and(|status| status.success()) {
        return Some(Command::new(name));
    }
    assert!(std::env::var_os("CI").is_none_or(|ci| ci.is_empty()), "{name} is missing: apt-get install {package}");
    eprintln!("*** SKIPPED: a check by {name}, which is missing: apt-get install {package} ***");
    None
}
