//! Who else can reach what the collector holds: over the network, and in its files. Nothing here refuses a start; it says so loudly.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use rustix::fs::Mode;

use crate::config::Config;

/// Makes every file of this process and of its children private to its user.
pub(super) fn make_files_private() {
    rustix::process::umask(Mode::RWXG | Mode::RWXO);
}

/// What is open to others. Asked before the data directory is made.
pub(super) fn warnings(config: &Config) -> Vec<String> {
    [of_listener(config), of_directory(&config.data_dir)].into_iter().flatten().collect()
}

fn of_listener(config: &Config) -> Option<String> {
    let is_tls = config.public_url.starts_with("https://");
    if config.listen.ip().to_canonical().is_loopback() || is_tls {
        return None;
    }
    Some(format!(
        "errata listens on {}, where other machines reach it, and speaks plain HTTP: tokens and events can be read on the way. Put a \
         proxy with TLS before it and set public_url to its https:// address, or listen on 127.0.0.1",
        config.listen
    ))
}

fn of_directory(data_dir: &Path) -> Option<String> {
    // A directory that is not there, or cannot be read, is said of elsewhere.
    let mode = fs::metadata(data_dir).ok()?.permissions().mode();
    // Its files are as open as they are: earlier versions made them for all to read. Who may not enter reads none of them.
    (mode & 0o077 != 0).then(|| {
        format!(
            "the data directory {path} is open to other users of this machine (mode {mode:o}), and events may be in it in files they can \
             read: chmod -R go= {path}",
            path = data_dir.display(),
            mode = mode & 0o777
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_that_others_reach_without_tls_is_warned_of() {
        for (listen, public_url, warns) in [
            ("127.0.0.1:8080", "", false),
            ("[::1]:8080", "", false),
            ("[::ffff:127.0.0.1]:8080", "", false),
            ("0.0.0.0:8080", "", true),
            ("[::]:8080", "", true),
            ("10.0.0.1:8080", "http://errata.example", true),
            ("10.0.0.1:8080", "https://errata.example", false),
        ] {
            let config = Config { listen: listen.parse().unwrap(), public_url: public_url.into(), ..Config::default() };
            assert_eq!(of_listener(&config).is_some(), warns, "{listen} {public_url}");
        }
    }

    #[test]
    fn a_directory_that_other_users_can_enter_is_warned_of() {
        let dir = tempfile::tempdir().unwrap();
        for (mode, warns) in [(0o700, false), (0o750, true), (0o755, true), (0o701, true)] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(of_directory(dir.path()).is_some(), warns, "{mode:o}");
        }
        assert_eq!(of_directory(&dir.path().join("none")), None);
    }
}
