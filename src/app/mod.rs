//! The whole collector: the only module that knows every room. [`App::build`] and [`App::run`] are separate; listener, clock and
//! shutdown are passed in or made in one place.

mod directory;
mod error;
mod exposure;
mod tasks;

use std::{
    fs,
    future::Future,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use tokio::{
    net::TcpListener,
    sync::{Semaphore, oneshot, watch},
};
use tower::Layer;

use crate::{
    alerts::{RuleSet, notify::OUTCOMES, status::Status},
    clock::Clock,
    config::{Config, EMBEDDED},
    console,
    decode::Limits,
    deliver::{Books, quarantine::Quarantine},
    erase::{self, Eraser},
    event::{catalog::Catalog, pseudonym::Pseudonyms, scrub::Scrubber},
    http::{self, Health, Parts, audit::Trail, privacy::Privacy},
    memory,
    metrics::Metrics,
    spool,
    state::State,
    store::{
        Store,
        client::{Access, Database},
        engine::{self, Engine, EngineOptions},
    },
};

pub use directory::ADMIN_TOKEN_FILE;
use directory::{first_token, take_directory};
pub use error::AppError;
use tasks::{Running, deliver_events, deliver_totals, mind_clickhouse, notify};

/// How long open requests may take to end after the shutdown began, and then how long delivery may go on.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the engine may take to end by itself.
const ENGINE_STOP_TIMEOUT: Duration = Duration::from_secs(5);

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
    totals_reader: spool::Reader,
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
        for warning in exposure::warnings(&config) {
            tracing::warn!("{warning}");
        }
        exposure::make_files_private();
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
        let rules = Arc::new(load_rules(&config)?);
        begin_series(&metrics, &rules);
        let (writer, reader) = spool::open(spool_options(&config))?;
        let (totals_writer, totals_reader) = spool::open(totals_options(&config))?;
        let fsync = metrics.spool_fsync.clone();
        writer.observe_syncs(move |took| fsync.observe(took.as_secs_f64()));
        let (access, engine) = reach_clickhouse(&config, executable).await?;
        let admin_token = first_token(&state, &config.data_dir, clock.now_ms())?;
        // With several servers, one that answers; if none does, events queue until the first one is back.
        let clients = match access.first_reachable().await {
            Ok(clients) => clients,
            Err(_) => access.clients()?,
        };
        let store = Store::new(clients)
            .with_clock(clock.clone())
            .with_retention(config.retention_days)
            .with_slow_log(config.clickhouse.slow_query_ms);
        let quarantine = Quarantine::open(config.data_dir.join("quarantine"))?;
        let pseudonyms = Pseudonyms::new(&state.secret("pseudonyms")?);
        let parts = Parts {
            eraser: Eraser {
                state: state.clone(),
                store: store.clone(),
                quarantine: quarantine.clone(),
                // Before anything is delivered.
                tombstones: Arc::new(erase::tombstones(&state, &pseudonyms, &clock)?),
                pseudonyms: pseudonyms.clone(),
                metrics: Arc::clone(&metrics),
                clock: clock.clone(),
                arrivals: Arc::default(),
                evaluation: Arc::default(),
                begun: Arc::default(),
            },
            limits: Limits {
                items: Limits::default().items,
                body: config.ingest.max_body.as_usize(),
                decompressed: config.ingest.max_decompressed.as_usize(),
                event: config.ingest.max_event.as_usize(),
            },
            workbenches: http::ingest::Workbenches::default(),
            streams: http::events::Streams::default(),
            sign_ins: console::Attempts::default(),
            receiving: http::body::Budget::new(config.ingest.max_in_flight.as_usize()),
            in_flight: Arc::new(Semaphore::new(
                (config.ingest.max_in_flight.as_usize() / 1024).min(Semaphore::MAX_PERMITS),
            )),
            quarantine,
            books: Arc::new(Books::default()),
            health: Health::default(),
            origins: Arc::default(),
            audit: Trail::start(state.clone(), clock.clone(), Arc::clone(&metrics)).map_err(AppError::Serve)?,
            privacy: Privacy::new(pseudonyms),
            quota: http::quota::Quota::default(),
            swagger: Arc::new(
                utoipa_swagger_ui::Config::from("/api/v1/openapi.json")
                    // The default asks a server on the internet.
                    .validator_url("none"),
            ),
            spool: writer,
            totals: http::ingest::totals::Intake::new(totals_writer),
            config,
            clock,
            state,
            metrics,
            catalog,
            rules,
            alerts: Status::default(),
            scrubber,
            store,
        };
        Ok(Self { listener, shared: Arc::new(parts), reader, totals_reader, access, engine, _lock: lock, admin_token })
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
        let Self { listener, shared, reader, totals_reader, access, engine, _lock, .. } = self;
        let (stop_serving, serving_stops) = oneshot::channel::<()>();
        let (stop_delivery, delivery_stops) = watch::channel(false);
        let (migrated, when_migrated) = watch::channel(false);
        let clickhouse = tokio::spawn(mind_clickhouse(access, Arc::clone(&shared), migrated));
        let mut notifying = tokio::spawn(notify(Arc::clone(&shared)));
        let totals = deliver_totals(&shared, totals_reader, when_migrated.clone(), delivery_stops.clone())?;
        let delivery = deliver_events(&shared, reader, when_migrated, delivery_stops)?;
        let router =
            tower::util::MapRequestLayer::new(http::trim_trailing_slash).layer(http::router(Arc::clone(&shared)));
        let bounds = http::serve::Bounds::of_process();
        let mut server = tokio::spawn(http::serve::serve(listener, router, bounds, async {
            let _ = serving_stops.await; // a dropped sender is a shutdown too
        }));
        let mut parts = Running { delivery, totals, clickhouse };
        let mut result = tokio::select! {
            () = shutdown => Ok(()),
            reason = shared.spool.failed() => Err(AppError::SpoolFailed(reason)),
            reason = shared.totals.spool.failed() => Err(AppError::SpoolFailed(reason)),
            error = parts.first_failure() => Err(error),
            ended = &mut notifying => match ended {
                Ok(never) => match never {},
                Err(error) => Err(AppError::Panicked(error.to_string())),
            },
            ended = &mut server => Err(match ended {
                Ok(()) => AppError::Panicked("the HTTP server ended by itself".into()),
                Err(error) => AppError::Panicked(error.to_string()),
            }),
        };
        notifying.abort();
        drop(stop_serving);
        // Answers without an end would hold the server until its deadline.
        shared.streams.close();
        if tokio::time::timeout(DRAIN_TIMEOUT, &mut server).await.is_err() {
            tracing::warn!("open requests did not end within {DRAIN_TIMEOUT:?} and are cut");
            server.abort();
        }
        let audited = Arc::clone(&shared);
        if let Err(error) = tokio::task::spawn_blocking(move || audited.audit.close()).await {
            tracing::error!(%error, "ending the audit log");
        }
        tokio::join!(shared.spool.close(), shared.totals.spool.close());
        let _ = stop_delivery.send(true); // no receiver: delivery has ended
        parts.end(&mut result).await;
        if let Some(engine) = engine {
            let stopped = tokio::task::spawn_blocking(move || engine.stop(ENGINE_STOP_TIMEOUT)).await;
            let how = match stopped {
                Ok(engine::Stopped::Gracefully) => "in time",
                Ok(engine::Stopped::Killed) => "killed, as it did not end in time",
                Ok(engine::Stopped::WasDown) => "it was down already",
                Err(_) => "its supervision panicked",
            };
            tracing::info!(how, "the embedded ClickHouse has ended");
        }
        result
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

/// The spool of request totals: some bytes a minute and series, so that a tenth of the room lasts longer. No total is a duplicate.
fn totals_options(config: &Config) -> spool::Options {
    spool::Options {
        dir: config.data_dir.join("totals/spool"),
        segment_bytes: config.spool.segment_bytes.0,
        max_bytes: config.spool.max_bytes.0 / 10,
        reserve_bytes: config.spool.reserve_bytes.0,
        remembered_keys: 1,
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

/// Reads the configured alert rules, or takes the built-in ones.
///
/// # Errors
/// When the file cannot be read, or a rule is bad: each problem names its rule and key.
pub fn load_rules(config: &Config) -> Result<RuleSet, AppError> {
    let path = PathBuf::from(&config.alerts);
    let text = if config.alerts.is_empty() {
        String::new()
    } else {
        let unreadable = |source| AppError::Io { action: "cannot read the alert rules", path: path.clone(), source };
        fs::read_to_string(&path).map_err(unreadable)?
    };
    RuleSet::parse(&text).map_err(|problems| AppError::Rules { path, problems })
}

/// Makes the series of rules and receivers, so that what has not happened yet is counted as 0.
fn begin_series(metrics: &Metrics, rules: &RuleSet) {
    for rule in &rules.rules {
        metrics.alerts_firing.with_label_values(&[&rule.name]);
        metrics.alert_failures.with_label_values(&[&rule.name]);
    }
    for receiver in &rules.receivers {
        for outcome in OUTCOMES {
            metrics.notifications.with_label_values(&[receiver.name.as_str(), outcome]);
        }
    }
}
