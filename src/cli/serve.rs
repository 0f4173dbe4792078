//! `errata serve`.

use std::{
    ffi::OsStr,
    future::Future,
    path::{Path, PathBuf},
};

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::{Exit, client::local_url, settings::Settings, terminal};
use crate::{
    app::{ADMIN_TOKEN_FILE, App, Outside},
    telemetry,
};

/// Run the collector: API, its documentation and metrics on one listener, with an embedded ClickHouse unless one is
/// configured
///
/// It starts with no configuration at all. Events and state live in the data directory; the first start writes an admin
/// token there. SIGTERM or Ctrl-C end it; what was acknowledged is kept either way.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata serve
  errata serve --listen 0.0.0.0:8080 --data-dir /var/lib/errata
  ERRATA_CLICKHOUSE__URL=http://errata:secret@db:8123 errata serve
  errata serve --set retention_days=30 --set spool.max_bytes=50GiB

Environment, beside that of the settings (`errata config example`):
  ERRATA_ENGINE_DIR    where the embedded ClickHouse is installed; default: errata/engine in the cache directory
  ERRATA_LOG           what is logged: info, debug, errata::deliver=debug …
  ERRATA_LOG_FORMAT    pretty or json
  OTEL_EXPORTER_OTLP_ENDPOINT   where traces are sent by OTLP over HTTP: http://127.0.0.1:4318")]
pub struct Args {}

pub fn run(_args: &Args, settings: &Settings) -> anyhow::Result<Exit> {
    let config = settings.load()?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("the system gives no event loop")?;
    let telemetry = telemetry::init(runtime.handle()).map_err(anyhow::Error::msg)?;
    let ended = runtime.block_on(async {
        let token_file = std::path::absolute(config.data_dir.join(ADMIN_TOKEN_FILE))?;
        let app = App::build(config, Outside::system()).await?;
        let shutdown = shutdown()?;
        let request_id = format!("first-{}", uuid::Uuid::new_v4().simple());
        let program = program(std::env::current_exe().ok(), std::env::var_os("PATH").as_deref());
        terminal::print(&greeting(&local_url(app.address()?), &token_file, &request_id, &program))?;
        app.run(shutdown).await?;
        Ok(Exit::Done)
    });
    telemetry.end();
    ended
}

/// Completes with the first SIGTERM or Ctrl-C; a second Ctrl-C ends the process at once.
fn shutdown() -> std::io::Result<impl Future<Output = ()> + Send> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
        terminal::note("ending; what is queued is delivered or kept (Ctrl-C again: at once)");
        tokio::spawn(async move {
            interrupted.recv().await;
            std::process::exit(130);
        });
    })
}

/// What a person who has just started a collector does next, ready to paste.
fn greeting(url: &str, token_file: &Path, request_id: &str, program: &str) -> String {
    let file = quote(&token_file.to_string_lossy());
    let bearer = format!("-H \"Authorization: Bearer $(cat {file})\"");
    let event = format!(
        r#"{{"request_id":"{request_id}","status":422,"service":"shop-api","method":"POST","path":"/api/v1/planner/keywords/","account_id":17,"response":{{"success":false,"error":"Validation failed","errors":{{"site_id":["Site must belong to your account"]}}}}}}"#
    );
    format!(
        "\
errata is ready: {url}   (API: {url}/docs)
admin token: {file}   (sign in with it)

Ship an event, then look it up:

  curl -sS {url}/api/v1/events {bearer} \\
    -H 'Content-Type: application/json' -d {event}

  curl -sS {url}/api/v1/requests/{request_id} {bearer}

The same for a person, in another terminal:

  export ERRATA_URL={url} ERRATA_TOKEN=\"$(cat {file})\"
  {program} lookup {request_id}

",
        event = quote(&event),
    )
}

/// What a shell calls this program: its name where `PATH` leads to it, else its path, quoted if need be.
fn program(executable: Option<PathBuf>, search: Option<&OsStr>) -> String {
    let Some((executable, name)) = executable.and_then(|path| Some((path.clone(), path.file_name()?.to_owned())))
    else {
        return "errata".to_owned();
    };
    let first = search.and_then(|search| {
        std::env::split_paths(search).map(|directory| directory.join(&name)).find(|candidate| candidate.is_file())
    });
    let is_this = |found: PathBuf| found.canonicalize().ok() == executable.canonicalize().ok();
    let word = if first.is_some_and(is_this) { Path::new(&name) } else { &executable }.to_string_lossy();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+".contains(&byte);
    if word.bytes().all(is_plain) { word.into_owned() } else { quote(&word) }
}

/// A text as one word of a POSIX shell. Within `\"$(…)\"` the quoting begins anew, so it holds there too.
fn quote(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// Runs the printed lines in a shell where `curl` prints its arguments, one a line.
    #[test]
    fn the_printed_commands_work_as_pasted() {
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("it's a $HOME \"dir\"");
        std::fs::create_dir(&odd).unwrap();
        let token_file = odd.join("admin.token");
        std::fs::write(&token_file, "errata_abc\n").unwrap();
        let errata = odd.join("errata");
        std::fs::write(&errata, "#!/bin/sh\necho \"$ERRATA_URL $ERRATA_TOKEN $*\"\n").unwrap();
        std::fs::set_permissions(&errata, std::fs::Permissions::from_mode(0o700)).unwrap();
        let text = greeting("http://127.0.0.1:1", &token_file, "first-1", &program(Some(errata), None));
        let commands = &text[text.find("curl").unwrap()..];
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}\n{commands}");
        let output = std::process::Command::new("sh").arg("-c").arg(script).output().unwrap();
        let lines: Vec<_> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
        assert_eq!(lines.iter().filter(|line| **line == "Authorization: Bearer errata_abc").count(), 2, "{lines:?}");
        let event = lines.iter().find(|line| line.starts_with('{')).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(event).unwrap()["request_id"], "first-1");
        assert!(lines.contains(&"http://127.0.0.1:1/api/v1/requests/first-1"));
        assert!(lines.contains(&"http://127.0.0.1:1 errata_abc lookup first-1"), "{lines:?}");
    }

    #[test]
    fn the_program_is_named_as_a_shell_finds_it() {
        let dir = tempfile::tempdir().unwrap();
        let (here, other) = (dir.path().join("here"), dir.path().join("other"));
        for directory in [&here, &other] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("errata"), "").unwrap();
        }
        let named = |path: &[&PathBuf]| program(Some(here.join("errata")), Some(&std::env::join_paths(path).unwrap()));
        assert_eq!(named(&[&here, &other]), "errata");
        assert_eq!(named(&[&other, &here]), here.join("errata").to_str().unwrap(), "another one comes first");
        assert_eq!(program(Some("/a b/errata".into()), None), "'/a b/errata'");
    }
}
