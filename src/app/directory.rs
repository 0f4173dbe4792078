//! The data directory: one process at a time, and the first token in it.

use std::{
    fs,
    io::{Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use super::AppError;
use crate::state::{NewToken, Role, State};

/// File in the data directory that holds the first admin token, mode 0600.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";

/// Project of the first admin token.
const FIRST_PROJECT: &str = "default";

/// Takes the data directory for this process; the lock goes with the process, however it ends.
pub(super) fn take_directory(data_dir: &Path) -> Result<fs::File, AppError> {
    let path = data_dir.join("lock");
    let io = |action| {
        let path = path.clone();
        move |source| AppError::Io { action, path, source }
    };
    let mut file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(io("cannot open"))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => {
            let mut pid = String::new();
            let known = file.read_to_string(&mut pid).is_ok_and(|read| read > 0);
            let pid = if known { pid.trim().to_owned() } else { "unknown".to_owned() };
            return Err(AppError::InUse { path: data_dir.to_owned(), pid });
        }
        Err(fs::TryLockError::Error(source)) => return Err(io("cannot lock")(source)),
    }
    file.set_len(0).map_err(io("cannot write"))?;
    file.write_all(std::process::id().to_string().as_bytes()).map_err(io("cannot write"))?;
    Ok(file)
}

/// On a start without any token, makes an admin token and writes it to a file only the owner can read.
pub(super) fn first_token(state: &State, data_dir: &Path, now_ms: i64) -> Result<Option<PathBuf>, AppError> {
    if !state.tokens()?.is_empty() {
        return Ok(None);
    }
    let path = data_dir.join(ADMIN_TOKEN_FILE);
    let new = NewToken {
        name: "admin".into(),
        project: FIRST_PROJECT.into(),
        roles: vec![Role::Admin],
        expires_ms: None,
        limit: None,
    };
    let token = state.create_token(&new, now_ms)?;
    // Made anew: an old file would keep its own mode.
    let written = match fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).and_then(|mut file| {
            file.write_all(format!("{token}\n").as_bytes())?;
            // The token is durable in the database: after a power cut it must not be there alone, known to nobody.
            file.sync_all()?;
            fs::File::open(data_dir)?.sync_all()
        }),
    };
    if let Err(source) = written {
        // A token nobody can read is none: the next start makes another.
        state.revoke_token("admin", now_ms)?;
        return Err(AppError::Io { action: "cannot write", path, source });
    }
    Ok(Some(path))
}
