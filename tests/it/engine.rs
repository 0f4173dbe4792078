//! The embedded engine as a whole: a real ClickHouse in a real child process.

use std::{
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::{Duration, Instant},
};

use clickhouse::Client;
use errata::store::{
    client::{Clients, Database},
    engine::{Engine, EngineError, EngineOptions, EngineState, Stopped, install},
};

/// The library: installed once per user, by the first test that needs it.
pub(crate) fn library() -> PathBuf {
    static LIBRARY: OnceLock<PathBuf> = OnceLock::new();
    LIBRARY.get_or_init(|| install::install(&install::InstallOptions::default()).expect("install the engine")).clone()
}

fn options(data_dir: &Path, database: &str) -> EngineOptions {
    let database = Database::parse(database).unwrap();
    let mut options = EngineOptions::new(library(), data_dir.to_owned(), database).unwrap();
    options.executable = PathBuf::from(env!("CARGO_BIN_EXE_errata"));
    options
}

/// Starts an engine off the async threads, as the collector does.
pub(crate) async fn start(data_dir: &Path) -> Result<Engine, EngineError> {
    start_on(data_dir, "errata_it").await
}

/// [`start`] for a database of another name.
pub(crate) async fn start_on(data_dir: &Path, database: &str) -> Result<Engine, EngineError> {
    let options = options(data_dir, database);
    tokio::task::spawn_blocking(move || Engine::start(options)).await.unwrap()
}

async fn stop(engine: Engine, deadline: Duration) -> Stopped {
    tokio::task::spawn_blocking(move || engine.stop(deadline)).await.unwrap()
}

/// An engine with our database and a table of two rows in it.
async fn started_with_rows(data_dir: &Path) -> (Engine, Clients) {
    let engine = start(data_dir).await.unwrap();
    let clients = engine.access().first_reachable().await.unwrap();
    run(&clients.admin, "CREATE DATABASE IF NOT EXISTS errata_it ENGINE = Atomic").await.unwrap();
    run(
        &clients.admin,
        "CREATE TABLE IF NOT EXISTS errata_it.t (a UInt32) ENGINE = MergeTree ORDER BY a SETTINGS fsync_after_insert = 1",
    )
    .await
    .unwrap();
    run(&clients.write, "INSERT INTO t VALUES (1), (2)").await.unwrap();
    (engine, clients)
}

async fn run(client: &Client, sql: &str) -> Result<(), String> {
    client.query(sql).execute().await.map_err(|error| error.to_string())
}

async fn count(client: &Client) -> Result<u64, String> {
    client.query("SELECT count() FROM errata_it.t").fetch_one().await.map_err(|error| error.to_string())
}

fn pid(engine: &Engine) -> u32 {
    match *engine.state().borrow() {
        EngineState::Ready { pid, .. } => pid,
        ref other => panic!("not ready: {other:?}"),
    }
}

fn kill(pid: u32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

/// Whether a process lives (a zombie does not).
fn lives(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z') && !rest.starts_with('X'))
}

/// Waits for what another process does, by looking often; the only waiting in these tests.
fn eventually(limit: Duration, mut happened: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    while Instant::now() < until {
        if happened() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    happened()
}

fn assert_denied(result: Result<(), String>, what: &str) {
    let error = result.expect_err(what);
    assert!(error.contains("ACCESS_DENIED") || error.contains("READONLY"), "{what}: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_is_ready_soon_and_stops_in_time() {
    let dir = tempfile::tempdir().unwrap();
    let began = Instant::now();
    let engine = start(dir.path()).await.unwrap();
    let ready = began.elapsed();
    let status = std::fs::read_to_string(format!("/proc/{}/status", pid(&engine))).unwrap();
    let rss: Vec<&str> =
        status.lines().filter(|line| line.starts_with("VmRSS") || line.starts_with("RssAnon")).collect();
    let began = Instant::now();
    assert_eq!(stop(engine, Duration::from_secs(10)).await, Stopped::Gracefully);
    println!("ready in {ready:?}, {rss:?}, stopped in {:?}", began.elapsed());
    // 0.1 s on an idle machine; one that runs tests is not idle.
    assert!(ready < Duration::from_secs(3), "ready only after {ready:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_user_may_do_its_duty_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let (_engine, clients) = started_with_rows(dir.path()).await;

    assert_eq!(count(&clients.write).await, Ok(2));
    assert_eq!(count(&clients.read).await, Ok(2));
    let lean = clients.read.query("SELECT a FROM t WHERE a = {wanted:UInt32}").param("wanted", 2_u32);
    assert_eq!(lean.with_setting("max_threads", "1").fetch_all::<u32>().await.unwrap(), [2]);

    for sql in [
        "INSERT INTO t VALUES (3)",
        "DROP TABLE t",
        "SELECT * FROM system.users",
        "SELECT * FROM system.processes",
        "SELECT * FROM url('http://127.0.0.1:1/', CSV, 'a String')",
        "SELECT * FROM file('/etc/passwd', CSV, 'a String')",
        "SELECT * FROM remote('127.0.0.1:1', 'system.one')",
        "SYSTEM SHUTDOWN",
        "CREATE TEMPORARY TABLE x (a Int8)",
        "SELECT 1 SETTINGS readonly = 0",
    ] {
        assert_denied(run(&clients.read, sql).await, sql);
    }
    for sql in ["DROP TABLE t", "ALTER TABLE t DELETE WHERE 1", "SELECT * FROM system.users"] {
        assert_denied(run(&clients.write, sql).await, sql);
    }
    for sql in ["CREATE DATABASE other ENGINE = Atomic", "CREATE USER x", "SYSTEM SHUTDOWN"] {
        assert_denied(run(&clients.admin, sql).await, sql);
    }
    let greedy = run(&clients.read, "SELECT 1 SETTINGS max_memory_usage = 0").await.unwrap_err();
    assert!(greedy.contains("SETTING_CONSTRAINT_VIOLATION"), "{greedy}");
}

/// Needs a kernel with Landlock (Linux 5.19 or later).
#[tokio::test(flavor = "multi_thread")]
async fn no_user_reads_files_that_are_not_the_engines() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("admin.token"), "hunter2").unwrap();
    let (_engine, clients) = started_with_rows(dir.path()).await;
    let token = format!("SELECT file('{}')", dir.path().join("admin.token").display());
    let environment = format!("SELECT file('/proc/{}/environ')", std::process::id());
    for sql in ["SELECT file('/etc/passwd')", &token, &environment] {
        for client in [&clients.read, &clients.write, &clients.admin] {
            let error = run(client, sql).await.expect_err(sql);
            assert!(error.contains("Permission denied"), "{sql}: {error}");
        }
    }
    // Merges, which rename within the directory, still work.
    run(&clients.write, "INSERT INTO t VALUES (3)").await.unwrap();
    run(&clients.admin, "OPTIMIZE TABLE errata_it.t FINAL").await.unwrap();
    assert_eq!(count(&clients.read).await, Ok(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_without_a_password() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let anybody = Client::default().with_url(format!("http://127.0.0.1:{}", engine.http_port()));

    for client in [anybody.clone(), anybody.clone().with_user("default")] {
        let error = run(&client, "SELECT 1").await.unwrap_err();
        assert!(error.contains("USER_SESSION_LIMIT_EXCEEDED"), "{error}");
    }
    for user in ["errata_admin", "errata_writer", "errata_reader", "nobody"] {
        let error = run(&anybody.clone().with_user(user).with_password("guess"), "SELECT 1").await.unwrap_err();
        assert!(error.contains("AUTHENTICATION_FAILED"), "{error}");
    }

    let directory = dir.path().join("clickhouse");
    let mode = |path: &Path| std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(path).unwrap().permissions());
    assert_eq!(mode(&directory) & 0o777, 0o700);
    assert_eq!(mode(&directory.join("config.xml")) & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_engine_comes_back_with_its_rows_and_the_same_clients_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let (engine, clients) = started_with_rows(dir.path()).await;
    let mut state = engine.state();
    let first = pid(&engine);

    for restarts in 1..=2 {
        kill(pid(&engine));
        let is_back = |state: &EngineState| matches!(state, EngineState::Ready { restarts: n, .. } if *n == restarts);
        let back = tokio::time::timeout(Duration::from_secs(10), state.wait_for(is_back)).await;
        back.expect("it came back").unwrap();
        assert_eq!(count(&clients.read).await, Ok(2));
        run(&clients.write, "INSERT INTO t SELECT 9 WHERE 0").await.unwrap();
    }
    assert_ne!(pid(&engine), first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_collector_on_the_same_directory_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let message = start(dir.path()).await.unwrap_err().to_string();
    assert!(message.contains(&std::process::id().to_string()), "{message}");
    assert!(message.contains("ERRATA_DATA_DIR"), "{message}");
    assert!(engine.access().first_reachable().await.is_ok(), "the first must not be disturbed");

    drop(engine);
    start(dir.path()).await.expect("the directory is free again");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_cannot_start_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let not_a_library = dir.path().join("libchdb.so");
    std::fs::write(&not_a_library, "no ELF").unwrap();
    let mut broken = options(dir.path(), "errata_it");
    broken.library = not_a_library;
    let message = Engine::start(broken).unwrap_err().to_string();
    assert!(message.contains("cannot open") && message.contains("libchdb.so"), "{message}");

    let mut missing = options(dir.path(), "errata_it");
    missing.library = dir.path().join("nowhere.so");
    let message = Engine::start(missing).unwrap_err().to_string();
    assert!(message.contains("errata engine install"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_taken_port_is_left_to_its_owner() {
    let dir = tempfile::tempdir().unwrap();
    let stranger = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let taken = stranger.local_addr().unwrap().port();
    let mut options = options(dir.path(), "errata_it");
    options.http_port = Some(taken);
    let engine = tokio::task::spawn_blocking(move || Engine::start(options)).await.unwrap().unwrap();
    assert_ne!(engine.http_port(), taken);
    assert!(engine.access().first_reachable().await.is_ok());
    stranger.set_nonblocking(true).unwrap();
    assert!(stranger.accept().is_err(), "the password must not be sent to a stranger");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_engine_leaves_no_process() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let child = pid(&engine);
    assert!(lives(child));
    drop(engine);
    assert!(!lives(child));
}

/// What [`an_engine_dies_with_its_collector`] runs as the collector that it kills: starts an engine and says so.
#[test]
#[ignore = "a part of an_engine_dies_with_its_collector, which runs it in a process of its own"]
fn collector_to_be_killed() {
    let dir = PathBuf::from(std::env::var_os("ERRATA_TEST_DIR").expect("run by the other test"));
    // On a thread that ends at once: the child must outlive the thread that asked for it.
    let engine = std::thread::spawn(move || Engine::start(options(&dir, "errata_it")).unwrap()).join().unwrap();
    println!("\nengine {}", pid(&engine));
    loop {
        std::thread::park();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_dies_with_its_collector_and_the_next_one_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    library();
    let mut collector = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "engine::collector_to_be_killed", "--ignored", "--nocapture"])
        .env("ERRATA_TEST_DIR", dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(collector.stdout.take().unwrap()).lines();
    let child: u32 = lines
        .map_while(Result::ok)
        .find_map(|line| line.strip_prefix("engine ").and_then(|pid| pid.parse().ok()))
        .expect("the collector starts an engine");
    assert!(lives(child));

    collector.kill().unwrap();
    collector.wait().unwrap();
    // At once: the engine of the killed collector may still hold the directory.
    let engine = start(dir.path()).await.expect("the next collector takes over");
    assert!(eventually(Duration::from_secs(2), || !lives(child)), "the engine outlived its collector");
    assert!(engine.access().first_reachable().await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_of_the_engine_holds_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let engine = start(dir.path()).await.unwrap();
    let read = |name: &str| std::fs::read(format!("/proc/{}/{name}", pid(&engine))).unwrap();
    let line = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
    assert!(line.starts_with("errata-engine __engine "), "{line}");
    let has_long_hex = line.split(|c: char| !c.is_ascii_hexdigit()).any(|word| word.len() >= 32);
    assert!(!has_long_hex, "{line}");
    let environment = String::from_utf8_lossy(&read("environ")).into_owned();
    assert!(!environment.contains("CARGO"), "the collector's environment was handed on: {environment}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_loopback_address_is_listened_on() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = options(dir.path(), "errata_it");
    options.listen_tcp = true;
    let engine = tokio::task::spawn_blocking(move || Engine::start(options)).await.unwrap().unwrap();
    for port in [engine.http_port(), engine.tcp_port().expect("a port for the native protocol")] {
        assert!(TcpListener::bind(("127.0.0.1", port)).is_err());
        assert!(TcpListener::bind(("127.0.0.2", port)).is_ok());
    }
}
