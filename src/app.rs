//! The whole collector: the only module that knows every room. [`App::build`] and [`App::run`] are separate; listener, clock and
//! shutdown are passed in or made in one place.

use std::{
    convert::Infallible,
    fs,
    future::Future,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use axum::{ServiceExt, extract::Request};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot, watch},
    task::JoinHandle,
};
use tower::Layer;

use crate::{
    clock::Clock,
    config::{Config, EMBEDDED},
    decode::Limits,
    deliver::{
        self, Books, DeliverError, Deliverer,
        quarantine::{Quarantine, QuarantineError},
    },
    event::{
        catalog::Catalog,
        scrub::{ScrubError, Scrubber},
    },
    http::{self, Health, Parts},
    memory,
    metrics::Metrics,
    spool::{self, SpoolError},
    state::{NewToken, Role, State, StateError},
    store::{
        Store,
        client::{Access, AccessError, Database},
        engine::{self, Engine, EngineError, EngineOptions, install::InstallError},
        migrate::MigrateError,
    },
};

/// File in the data directory that holds the first admin token, mode 0600.
pub const ADMIN_TOKEN_FILE: &str = "admin.token";

/// Project of the first admin token.
const FIRST_PROJECT: &str = "default";

/// How long open requests may take to end after the shutdown began, and then how long delivery may go on.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the engine may take to end by itself.
const ENGINE_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the tables are looked after.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(3600);

/// How often ClickHouse is asked whether it is there.
const HEALTH_INTERVAL: Duration = Duration::from_secs(2);

/// Why the collector did not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("cannot listen on {address}: {source}; is another collector running? Set ERRATA_LISTEN to another address")]
    Listen { address: SocketAddr, source: std::io::Error },
    #[error("the data directory {path} is in use by another errata (process {pid}); stop that one, or set ERRATA_DATA_DIR to another directory", path = path.display())]
    InUse { path: PathBuf, pid: String },
    #[error("{action} {path}: {source}", path = path.display())]
    Io { action: &'static str, path: PathBuf, source: std::io::Error },
    #[error("the catalog {path}:\n{problems}", path = path.display())]
    Catalog { path: PathBuf, problems: String },
    #[error(transparent)]
    Scrub(#[from] ScrubError),
    #[error(transparent)]
    State(#[from] StateError),
    #[error(transparent)]
    Spool(#[from] SpoolError),
    #[error(transparent)]
    Quarantine(#[from] QuarantineError),
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Install(#[from] InstallError),
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    #[error("delivery ended: {0}; nothing is lost, it goes on after the next start")]
    Deliver(#[from] DeliverError),
    #[error("the spool failed: {0}; every acknowledged event is safe, start the collector again when the disk is well")]
    SpoolFailed(String),
    #[error("the metrics cannot be registered: {0}")]
    Metrics(#[from] prometheus::Error),
    #[error("a part of the collector panicked: {0}")]
    Panicked(String),
    #[error("the HTTP server: {0}")]
    Serve(std::io::Error),
}

/// What the collector takes from outside.
#[derive(Clone, Debug)]
pub struct Outside {
    pub clock: Clock,
    /// The binary that runs the embedded engine as its child: ours, except in tests.
    pub executable: Option<PathBuf>,
}

impl Outside {
    /// The system's clock and our own binary.
    #[must_use]
    pub const fn system() -> Self {
        Self { clock: Clock::system(), executable: None }
    }
}

/// A collector that is built and not yet serving.
pub struct App {
    listener: TcpListener,
    shared: http::Shared,
    reader: spool::Reader,
    access: Access,
    engine: Option<Engine>,
    /// Held for the life of the collector: one process a data directory.
    _lock: fs::File,
    admin_token: Option<PathBuf>,
}

impl App {
    /// Builds every room: takes the data directory, recovers the spool, starts the engine, binds the listener.
    ///
    /// # Errors
    /// [`AppError`]; nothing keeps running then.
    pub async fn build(mut config: Config, outside: Outside) -> Result<Self, AppError> {
        let Outside { clock, executable } = outside;
        memory::tune();
        // The tokens' database makes the directory, so it comes first.
        let state = State::open(&config.data_dir)?;
        let lock = take_directory(&config.data_dir)?;
        let listener = TcpListener::bind(config.listen)
            .await
            .map_err(|source| AppError::Listen { address: config.listen, source })?;
        // Links in answers name it: with port 0 the system has chosen one.
        config.listen = listener.local_addr().map_err(AppError::Serve)?;
        let catalog = load_catalog(&config)?;
        let scrubber = Scrubber::new(&config.scrub)?;
        let metrics = Arc::new(Metrics::new()?);
        let (writer, reader) = spool::open(spool_options(&config))?;
        let fsync = metrics.spool_fsync.clone();
        writer.observe_syncs(move |took| fsync.observe(took.as_secs_f64()));
        let (access, engine) = reach_clickhouse(&config, executable).await?;
        let admin_token = first_token(&state, &config.data_dir, clock.now_ms())?;
        let store = Store::new(access.clients()?);
        let parts = Parts {
            limits: Limits {
                items: Limits::default().items,
                body: config.ingest.max_body.as_usize(),
                decompressed: config.ingest.max_decompressed.as_usize(),
                event: config.ingest.max_event.as_usize(),
            },
            in_flight: Arc::new(Semaphore::new(
                (config.ingest.max_in_flight.as_usize() / 1024).min(Semaphore::MAX_PERMITS),
            )),
            quarantine: Quarantine::open(config.data_dir.join("quarantine"))?,
            books: Arc::new(Books::default()),
            health: Health::default(),
            quota: http::quota::Quota::default(),
            swagger: Arc::new(
                utoipa_swagger_ui::Config::from("/api/v1/openapi.json")
                    // The default asks a server on the internet.
                    .validator_url("none"),
            ),
            spool: writer,
            config,
            clock,
            state,
            metrics,
            catalog,
            scrubber,
            store,
        };
        Ok(Self { listener, shared: Arc::new(parts), reader, access, engine, _lock: lock, admin_token })
    }

    /// The address that was bound.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn address(&self) -> Result<SocketAddr, AppError> {
        self.listener.local_addr().map_err(AppError::Serve)
    }

    /// The file with the first admin token, if this start made it.
    #[must_use]
    pub fn admin_token(&self) -> Option<&Path> {
        self.admin_token.as_deref()
    }

    /// Serves until `shutdown` completes or a part fails; then drains, each step with a deadline.
    ///
    /// # Errors
    /// When a part failed: the caller exits non-zero. What was acknowledged is safe in either case.
    pub async fn run(self, shutdown: impl Future<Output = ()> + Send) -> Result<(), AppError> {
        let Self { listener, shared, reader, access, engine, _lock, .. } = self;
        let (stop_serving, serving_stops) = oneshot::channel::<()>();
        let (stop_delivery, delivery_stops) = watch::channel(false);
        let (migrated, when_migrated) = oneshot::channel();
        let clickhouse = tokio::spawn(mind_clickhouse(access, Arc::clone(&shared), migrated));
        let delivery = deliver_on_own_thread(&shared, reader, when_migrated, delivery_stops)?;
        let router =
            tower::util::MapRequestLayer::new(http::trim_trailing_slash).layer(http::router(Arc::clone(&shared)));
        let service = ServiceExt::<Request>::into_make_service(router);
        let mut server = tokio::spawn(
            axum::serve(listener, service)
                .with_graceful_shutdown(async {
                    let _ = serving_stops.await; // a dropped sender is a shutdown too
                })
                .into_future(),
        );
        let mut parts = Running { delivery, clickhouse };
        let spool_failed = shared.spool.failed();
        let mut result = tokio::select! {
            () = shutdown => Ok(()),
            reason = spool_failed => Err(AppError::SpoolFailed(reason)),
            error = parts.first_failure() => Err(error),
            ended = &mut server => Err(match ended {
                Ok(Ok(())) => AppError::Panicked("the HTTP server ended by itself".into()),
                Ok(Err(error)) => AppError::Serve(error),
                Err(error) => AppError::Panicked(error.to_string()),
            }),
        };
        drop(stop_serving);
        if tokio::time::timeout(DRAIN_TIMEOUT, &mut server).await.is_err() {
            tracing::warn!("open requests did not end within {DRAIN_TIMEOUT:?} and are cut");
            server.abort();
        }
        shared.spool.close().await;
        let _ = stop_delivery.send(true); // no receiver: delivery has ended
        parts.end(&mut result).await;
        if let Some(engine) = engine {
            let stopped = tokio::task::spawn_blocking(move || engine.stop(ENGINE_STOP_TIMEOUT)).await;
            tracing::info!(?stopped, "the embedded ClickHouse has ended");
        }
        result
    }
}

/// The tasks that end only when something failed, or when they are told to.
struct Running {
    delivery: oneshot::Receiver<Result<(), DeliverError>>,
    clickhouse: JoinHandle<Result<Infallible, MigrateError>>,
}

impl Running {
    async fn first_failure(&mut self) -> AppError {
        tokio::select! {
            ended = &mut self.clickhouse => match ended {
                Ok(Err(error)) => AppError::Migrate(error),
                Err(error) => AppError::Panicked(error.to_string()),
            },
            ended = &mut self.delivery => match ended {
                Ok(Ok(())) => AppError::Panicked("delivery ended by itself".into()),
                Ok(Err(error)) => AppError::Deliver(error),
                Err(_) => AppError::Panicked("the delivery thread".into()),
            },
        }
    }

    /// Lets delivery send what is queued, within the deadline. What is left stays in the spool.
    async fn end(&mut self, result: &mut Result<(), AppError>) {
        self.clickhouse.abort();
        if matches!(result, Err(AppError::Deliver(_) | AppError::Panicked(_))) {
            return;
        }
        match tokio::time::timeout(DRAIN_TIMEOUT, &mut self.delivery).await {
            Ok(Ok(Err(error))) if result.is_ok() => *result = Err(error.into()),
            Ok(_) => {}
            Err(_) => tracing::info!("events are left in the spool; they are delivered after the next start"),
        }
    }
}

/// Delivery blocks on files and encodes batches, so it has a thread and a runtime of its own.
fn deliver_on_own_thread(
    shared: &http::Shared,
    reader: spool::Reader,
    when_migrated: oneshot::Receiver<()>,
    stop: watch::Receiver<bool>,
) -> Result<oneshot::Receiver<Result<(), DeliverError>>, AppError> {
    let deliverer = Deliverer {
        options: deliver::Options::new(shared.config.data_dir.join("deliver")),
        reader,
        writer: shared.spool.clone(),
        destination: shared.store.clone(),
        quarantine: shared.quarantine.clone(),
        books: Arc::clone(&shared.books),
        metrics: Arc::clone(&shared.metrics),
        clock: shared.clock.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(AppError::Serve)?;
    let (sender, receiver) = oneshot::channel();
    let mut stopped = stop.clone();
    std::thread::Builder::new()
        .name("deliver".into())
        .spawn(move || {
            let ended = runtime.block_on(async {
                let migrated = tokio::select! {
                    migrated = when_migrated => migrated.is_ok(), // else the migration failed: the collector is ending
                    _ = stopped.wait_for(|stop| *stop) => false,
                };
                if migrated { deliverer.run(stop).await } else { Ok(()) }
            });
            let _ = sender.send(ended); // nobody waits: the collector has ended
        })
        .map_err(AppError::Serve)?;
    Ok(receiver)
}

/// Migrates as soon as ClickHouse answers (until then events queue in the spool), then watches whether it still does.
async fn mind_clickhouse(
    access: Access,
    shared: http::Shared,
    migrated: oneshot::Sender<()>,
) -> Result<Infallible, MigrateError> {
    loop {
        let attempt = async {
            access.first_reachable().await?;
            shared.store.migrate().await?;
            shared.store.apply_retention(shared.config.retention_days).await
        };
        match attempt.await {
            Ok(()) => break,
            Err(error) if error.is_transient() => {
                tracing::warn!("ClickHouse is not ready: {error}; events are taken and queue in the spool");
                shared.health.set(Err(error.to_string()));
                tokio::time::sleep(HEALTH_INTERVAL).await;
            }
            Err(error) => return Err(error),
        }
    }
    let _ = migrated.send(()); // nobody waits: the collector is ending
    let upkeep = keep_up(Arc::clone(&shared));
    tokio::pin!(upkeep);
    loop {
        let state = shared.store.ping().await.map_err(|error| error.to_string());
        shared.metrics.clickhouse_up.set(i64::from(state.is_ok()));
        shared.health.set(state);
        tokio::select! {
            never = &mut upkeep => match never {},
            () = tokio::time::sleep(HEALTH_INTERVAL) => {}
        }
    }
}

/// Does what the tables need from time to time.
async fn keep_up(shared: http::Shared) -> Infallible {
    loop {
        match shared.store.merge_closed_weeks(shared.clock.now_ms()).await {
            Ok(weeks) if weeks.is_empty() => {}
            Ok(weeks) => tracing::info!(?weeks, "merged closed weeks of the lookup index"),
            Err(error) => tracing::warn!("merging closed weeks of the lookup index: {error}; trying again later"),
        }
        tokio::time::sleep(UPKEEP_INTERVAL).await;
    }
}

/// Starts the embedded engine, or reads the address of the configured ClickHouse. Dropping the engine ends it.
///
/// # Errors
/// When the engine cannot start (it is not installed, or another collector has the directory), or the address is bad.
pub async fn reach_clickhouse(
    config: &Config,
    executable: Option<PathBuf>,
) -> Result<(Access, Option<Engine>), AppError> {
    let database = Database::parse(&config.clickhouse.database)?;
    if config.clickhouse.url != EMBEDDED {
        return Ok((Access::external(&config.clickhouse.url, database)?, None));
    }
    let library = engine::status()?.library;
    let data_dir = std::path::absolute(&config.data_dir).map_err(|source| AppError::Io {
        action: "cannot find",
        path: config.data_dir.clone(),
        source,
    })?;
    let mut options = EngineOptions::new(library, data_dir, database)?;
    options.memory_limit_bytes = config.clickhouse.memory_limit.0;
    if let Some(executable) = executable {
        options.executable = executable;
    }
    let engine = tokio::task::spawn_blocking(move || Engine::start(options))
        .await
        .map_err(|error| AppError::Panicked(error.to_string()))??;
    Ok((engine.access(), Some(engine)))
}

fn spool_options(config: &Config) -> spool::Options {
    spool::Options {
        dir: config.data_dir.join("spool"),
        segment_bytes: config.spool.segment_bytes.0,
        max_bytes: config.spool.max_bytes.0,
        reserve_bytes: config.spool.reserve_bytes.0,
        remembered_keys: config.spool.remembered_keys,
    }
}

/// Reads the configured catalog, or takes the built-in one.
///
/// # Errors
/// When the file cannot be read, or an entry is bad: each is named with its line.
pub fn load_catalog(config: &Config) -> Result<&'static Catalog, AppError> {
    if config.catalog.is_empty() {
        return Ok(Catalog::builtin());
    }
    let path = PathBuf::from(&config.catalog);
    let text = fs::read_to_string(&path).map_err(|source| AppError::Io {
        action: "cannot read the catalog",
        path: path.clone(),
        source,
    })?;
    // Read once in the life of a collector, and used until its end.
    Catalog::parse(&text).map(|catalog| &*Box::leak(Box::new(catalog))).map_err(|problems| {
        let lines: Vec<_> = problems.iter().map(|problem| format!("  {problem}")).collect();
        AppError::Catalog { path, problems: lines.join("\n") }
    })
}

/// Takes the data directory for this process; the lock goes with the process, however it ends.
fn take_directory(data_dir: &Path) -> Result<fs::File, AppError> {
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
fn first_token(state: &State, data_dir: &Path, now_ms: i64) -> Result<Option<PathBuf>, AppError> {
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
        _ => fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .and_then(|mut file| file.write_all(format!("{token}\n").as_bytes())),
    };
    if let Err(source) = written {
        // A token nobody can read is none: the next start makes another.
        state.revoke_token("admin")?;
        return Err(AppError::Io { action: "cannot write", path, source });
    }
    Ok(Some(path))
}
