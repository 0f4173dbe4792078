//! A ClickHouse that the test owns: the same embedded engine, run as an external server, so that it can be killed, stopped and
//! changed behind the collector's back, and comes back at the same address with the same login.

use std::{
    fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
    time::Duration,
};

use super::machine::{PATIENCE, eventually, free_port, signal};

/// As somebody who runs a server for Errata would set it up, and `SYSTEM` rights for the tests' own tricks.
const CONFIG: &str = r"<clickhouse>
  <log-level>warning</log-level>
  <logger><log>{dir}/engine.log</log><size>10M</size><count>1</count><console>0</console></logger>
  <users_config>{dir}/config.xml</users_config>
  <timezone>UTC</timezone>
  <max_server_memory_usage>1073741824</max_server_memory_usage>
  <mark_cache_size>8388608</mark_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <profiles><default/><listener/></profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password><networks><ip>127.0.0.1</ip></networks><profile>listener</profile><quota>default</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>
    </default>
    <errata>
      <password>faults</password><networks><ip>127.0.0.1</ip></networks><profile>default</profile><quota>default</quota>
      <grants>
        <query>GRANT ALL ON errata.*</query><query>GRANT TABLE ENGINE ON *</query>
        <query>GRANT SELECT ON system.*</query><query>GRANT SYSTEM MERGES ON *.*</query>
      </grants>
    </errata>
  </users>
</clickhouse>
";

/// A running engine, ended with the test.
pub struct Engine {
    dir: PathBuf,
    port: u16,
    kept: Arc<Mutex<Kept>>,
    /// Starts it again when it dies of itself, as whoever runs a server does: clickhouse-local aborts (26.7, an uncaught "broken pipe")
    /// when a client is gone at the wrong moment. The engine ends when the thread that starts it does, so it is this one.
    keeper: Option<JoinHandle<()>>,
}

/// What the keeper looks after.
struct Kept {
    child: Option<Child>,
    /// Whether it is to run.
    wanted: bool,
    over: bool,
}

impl Engine {
    /// Starts one in a directory that may hold the data of a former one.
    pub async fn start(dir: &Path) -> Self {
        crate::engine::library();
        let dir = dir.join("engine");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("config.xml"), CONFIG.replace("{dir}", dir.to_str().unwrap())).unwrap();
        let port = free_port();
        let kept = Arc::new(Mutex::new(Kept { child: None, wanted: true, over: false }));
        let keeper = Some(keep(Arc::clone(&kept), dir.clone(), port));
        let engine = Self { dir, port, kept, keeper };
        engine.until_it_answers().await;
        engine
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a collector is configured with to reach it through `port`: its own, or a proxy's.
    pub fn url_through(port: u16) -> String {
        format!("http://errata:faults@127.0.0.1:{port}")
    }

    /// SIGKILL, and gone when this returns.
    pub fn kill(&self) {
        let mut kept = self.kept.lock().unwrap();
        kept.wanted = false;
        kept.end();
    }

    /// SIGSTOP: connections are open, and nobody answers.
    pub fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, name: rustix::process::Signal) {
        if let Some(child) = &self.kept.lock().unwrap().child {
            signal(child.id(), name);
        }
    }

    /// Starts it again, after [`Engine::kill`].
    pub async fn revive(&self) {
        self.kept.lock().unwrap().wanted = true;
        self.until_it_answers().await;
    }

    /// Removes what it remembers of deduplication tokens, while it is dead.
    pub fn forget_deduplication(&self) -> usize {
        let mut removed = 0;
        let mut folders = vec![self.dir.join("data")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).unwrap().flatten() {
                let path = entry.path();
                if path.file_name().is_some_and(|name| name == "deduplication_logs") {
                    fs::remove_dir_all(&path).unwrap();
                    removed += 1;
                } else if entry.file_type().unwrap().is_dir() {
                    folders.push(path);
                }
            }
        }
        removed
    }

    /// Runs a statement as its owner would.
    pub async fn run(&self, sql: &str) {
        self.client().query_raw(sql).execute().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    /// The one number that a query answers.
    pub async fn number(&self, sql: &str) -> u64 {
        self.client().query(sql).fetch_one().await.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    pub fn client(&self) -> clickhouse::Client {
        let client = clickhouse::Client::default().with_url(format!("http://127.0.0.1:{}", self.port));
        client.with_user("errata").with_password("faults")
    }

    async fn until_it_answers(&self) {
        let client = self.client();
        eventually("the engine answers", PATIENCE, async || client.query("SELECT 1").fetch_one::<u8>().await.is_ok())
            .await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.kept.lock().unwrap().over = true;
        let _ = self.keeper.take().unwrap().join();
    }
}

impl Kept {
    fn end(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill(); // it may have ended
            let _ = child.wait();
        }
    }
}

fn keep(kept: Arc<Mutex<Kept>>, dir: PathBuf, port: u16) -> JoinHandle<()> {
    std::thread::spawn(move || {
        loop {
            let mut state = kept.lock().unwrap();
            if state.over {
                return state.end();
            }
            if let Some(status) = state.child.as_mut().and_then(|child| child.try_wait().unwrap()) {
                println!("ClickHouse died: {status}");
                state.child = None;
            }
            if state.wanted && state.child.is_none() {
                state.child = Some(spawn(&dir, port));
            }
            drop(state);
            std::thread::sleep(Duration::from_millis(20));
        }
    })
}

fn spawn(dir: &Path, port: u16) -> Child {
    let output = fs::OpenOptions::new().create(true).append(true).open(dir.join("output")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_errata"))
        .arg(errata::store::engine::SUBCOMMAND)
        .arg(std::process::id().to_string())
        .arg(crate::engine::library())
        .arg(dir)
        .arg(port.to_string())
        .stdin(Stdio::piped())
        .stdout(output.try_clone().unwrap())
        .stderr(output)
        .process_group(0)
        .env_clear()
        .spawn()
        .unwrap()
}
