//! Sending traces by OTLP over HTTP, protobuf, where OpenTelemetry's own variables say so.
//!
//! `OTEL_EXPORTER_OTLP_ENDPOINT` (or `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`) switches it on. Of the others, these are
//! read: `…_HEADERS`, `OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_TRACES_SAMPLER` and its `_ARG`, `OTEL_BSP_*`,
//! `OTEL_SDK_DISABLED`. Spans wait in a bounded queue; one that is full loses spans, and never makes a request wait.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use opentelemetry::KeyValue;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{Resource, resource::EnvResourceDetector, trace::SdkTracerProvider};

/// How long the receiver may take to answer.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the end of the process waits for the last spans to be sent.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(3);

const ENDPOINTS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];
const PROTOCOLS: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"];

/// The exporter, if one is configured.
///
/// # Errors
/// When a variable holds what is not spoken, or no URL; the text names it.
pub(super) fn provider(runtime: &tokio::runtime::Handle) -> Result<Option<SdkTracerProvider>, String> {
    let disabled = set("OTEL_SDK_DISABLED").is_some_and(|text| text.eq_ignore_ascii_case("true"));
    let Some((variable, endpoint)) = first_set(ENDPOINTS).filter(|_| !disabled) else { return Ok(None) };
    if let Some((variable, protocol)) = first_set(PROTOCOLS).filter(|(_, protocol)| protocol != "http/protobuf") {
        return Err(format!("{variable}={protocol:?}: traces are sent by http/protobuf (port 4318 of most receivers)"));
    }
    let exporter = SpanExporter::builder()
        .with_http()
        .with_protocol(Protocol::HttpBinary)
        .with_http_client(Client::new(runtime.clone())?)
        .build()
        .map_err(|error| format!("{variable}={endpoint:?}: {error}"))?;
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build()))
}

/// Who sends: `errata` and its version, unless OpenTelemetry's variables say otherwise.
fn resource() -> Resource {
    let ours = [KeyValue::new("service.name", "errata"), KeyValue::new("service.version", env!("CARGO_PKG_VERSION"))];
    let resource = Resource::builder_empty().with_attributes(ours).with_detector(Box::new(EnvResourceDetector::new()));
    match set("OTEL_SERVICE_NAME") {
        Some(name) => resource.with_service_name(name),
        None => resource,
    }
    .build()
}

fn set(variable: &str) -> Option<String> {
    std::env::var(variable).ok().filter(|text| !text.trim().is_empty())
}

fn first_set<const N: usize>(variables: [&'static str; N]) -> Option<(&'static str, String)> {
    variables.into_iter().find_map(|variable| Some((variable, set(variable)?)))
}

/// Sends on our runtime with our TLS: the exporter runs on a thread that has neither. Says once when the receiver begins to
/// fail, and once when it is back.
#[derive(Clone, Debug)]
struct Client {
    runtime: tokio::runtime::Handle,
    http: reqwest::Client,
    failing: Arc<AtomicBool>,
}

impl Client {
    fn new(runtime: tokio::runtime::Handle) -> Result<Self, String> {
        // The provider of the process; a second install changes nothing.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .user_agent(concat!("errata/", env!("CARGO_PKG_VERSION")))
            .timeout(EXPORT_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| format!("the exporter of traces: {error}"))?;
        Ok(Self { runtime, http, failing: Arc::default() })
    }

    async fn send(self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let origin = format!("{}://{}", request.uri().scheme_str().unwrap_or_default(), authority(request.uri()));
        let outcome = self.exchange(request).await;
        let failure = match &outcome {
            Ok(response) if response.status().is_success() => None,
            Ok(response) => Some(format!("it answers {}", response.status())),
            Err(error) => Some(error.to_string()),
        };
        let was_failing = self.failing.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(failure) if !was_failing => {
                tracing::warn!("traces do not reach {origin}: {failure}; those of this time are lost, nothing else is");
            }
            None if was_failing => tracing::info!("traces reach {origin} again"),
            _ => {}
        }
        outcome
    }

    async fn exchange(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let answer = self.http.execute(request.try_into()?).await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let mut response = Response::new(answer.bytes().await?);
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        Ok(response)
    }
}

/// Host and port: a URL may hold a password.
fn authority(uri: &hyper::Uri) -> String {
    let port = uri.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", uri.host().unwrap_or_default())
}

impl HttpClient for Client {
    fn send_bytes<'client, 'sent>(
        &'client self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'sent>>
    where
        'client: 'sent,
        Self: 'sent,
    {
        let sending = self.runtime.spawn(self.clone().send(request));
        Box::pin(async move { sending.await? })
    }
}
