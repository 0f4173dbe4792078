//! One process a data directory.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use crate::collector::{Collector, event};

use super::without_clickhouse;

/// What a program says that ends by itself; one that does not within a while is ended, and fails.
fn ended(program: &mut Command) -> Output {
    let mut child = program.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > Duration::from_secs(20) {
            child.kill().unwrap();
            panic!("the second collector runs: {:?}", child.wait_with_output());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    child.wait_with_output().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_collector_on_a_data_directory_refuses_and_the_first_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    assert_eq!(collector.ship(&[event("req_1", 400)]).await.0, 202);
    let mut serve = Command::new(env!("CARGO_BIN_EXE_errata"));
    serve.arg("serve").current_dir(dir.path());
    for (name, value) in [
        ("ERRATA_DATA_DIR", dir.path().to_str().unwrap()),
        ("ERRATA_LISTEN", "127.0.0.1:0"),
        ("ERRATA_CLICKHOUSE__URL", "http://127.0.0.1:1"),
    ] {
        serve.env(name, value);
    }
    let second = tokio::task::spawn_blocking(move || ended(&mut serve)).await.unwrap();
    let said = String::from_utf8_lossy(&second.stderr).into_owned() + &String::from_utf8_lossy(&second.stdout);
    assert!(!second.status.success(), "{said}");
    let expected = format!("is in use by another errata (process {})", std::process::id());
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains(dir.path().to_str().unwrap()) && said.contains("ERRATA_DATA_DIR"), "{said}");
    let (status, body) = collector.ship(&[event("req_1", 400), event("req_2", 400)]).await;
    assert_eq!((status.as_u16(), body["data"]["duplicates"].as_u64()), (202, Some(1)), "{body}");
    collector.stop().await.unwrap();
    // The lock has gone with its owner.
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    assert_eq!(collector.metric("errata_spool_events").await, 2.0);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_file_of_the_data_directory_is_for_other_users_to_read() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    assert_eq!(collector.ship(&[event("req_1", 400)]).await.0, 202);
    let (mut folders, mut files) = (vec![dir.path().to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let mode = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{}: {mode:o}", path.display());
            files += 1;
            if path.is_dir() {
                folders.push(path);
            }
        }
    }
    assert!(files > 5, "{files}");
    collector.stop().await.unwrap();
}
