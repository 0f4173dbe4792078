use super::{bounded::LABEL_BYTES, *};

fn text(metrics: &Metrics) -> String {
    String::from_utf8(metrics.encode().unwrap()).unwrap()
}

/// Distinct services and routes that clients make up.
const MADE_UP: usize = 100_000;

#[test]
fn a_hundred_thousand_services_and_routes_leave_few_series_and_little_text() {
    let metrics = Metrics::new().unwrap();
    for number in 0..MADE_UP {
        // The first ones fill the families, so they are as long as can be.
        let longest = format!("{number}{}", "\"".repeat(if number < 3000 { LABEL_BYTES } else { 0 }));
        let (status, method) = ((400 + number % 200).to_string(), format!("METHOD{number}"));
        metrics.api_errors.counter([&longest, &longest], [&status]).inc();
        metrics.api_errors_by_route.counter([&longest, &longest, &method], [&status]).inc();
        metrics.rate_limited.counter([&longest, &longest], []).inc();
        metrics.validation_failures.counter([&longest, &longest, "required"], []).inc();
    }
    let text = text(&metrics);
    let series = text.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series > 3000 && series < 5000, "{series} series");
    assert!(text.len() > 1 << 20 && text.len() < 2 << 20, "{} bytes", text.len());
    for family in ["api_errors", "api_errors_by_route", "rate_limited", "validation_failures"] {
        let of_family = text.lines().filter(|line| line.starts_with(&format!("errata_{family}_total{{")));
        let sum: usize = of_family.map(|line| line.rsplit_once(' ').unwrap().1.parse::<usize>().unwrap()).sum();
        assert_eq!(sum, MADE_UP, "{family}");
    }
}

#[test]
fn past_the_limit_free_labels_fold_and_nothing_is_uncounted() {
    let metrics = Metrics::new().unwrap();
    for i in 0..100_000 {
        metrics.rate_limited.counter([&format!("service{i}"), "/"], []).inc();
    }
    let text = text(&metrics);
    let series: Vec<_> = text.lines().filter(|line| line.starts_with("errata_rate_limited_total{")).collect();
    assert_eq!(series.len(), 501);
    assert!(series.contains(&r#"errata_rate_limited_total{route="other",service="other"} 99500"#));
}

#[test]
fn a_series_of_a_bounded_family_is_written_as_the_client_library_would() {
    let metrics = Metrics::new().unwrap();
    for (number, label) in ["plain", "", "quo\"te", "back\\slash", "new\nline", "é{},="].into_iter().enumerate() {
        let labels = [label, "/orders/{id}/", "POST"];
        metrics.api_errors_by_route.counter(labels, ["500"]).inc_by(number as u64);
    }
    let mut expected = String::new();
    TextEncoder::new().encode_utf8(&metrics.api_errors_by_route.vec.collect(), &mut expected).unwrap();
    let text = text(&metrics);
    let of_family = |text: &str| -> Vec<String> {
        let mut lines: Vec<_> =
            text.lines().filter(|line| line.contains("errors_by_route")).map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(of_family(&text), of_family(&expected));
    assert_eq!(of_family(&text).len(), 8);
}

#[test]
fn every_bounded_family_is_written() {
    let metrics = Metrics::new().unwrap();
    let bounded = metrics.registry.bounded.lock().unwrap();
    assert!(bounded.keys().all(|name| metrics.later.iter().any(|(desc, _)| desc.fq_name == *name)));
    assert!(bounded.len() > 3);
}

#[test]
fn a_long_label_is_cut_at_a_character() {
    let metrics = Metrics::new().unwrap();
    metrics.rate_limited.counter([&"é".repeat(1000), "/"], []).inc();
    assert!(text(&metrics).contains(&format!("service=\"{}\"", "é".repeat(LABEL_BYTES / 2))));
    metrics.rate_limited.counter([&"\n".repeat(1000), "/"], []).inc();
    assert!(text(&metrics).contains(&format!("service=\"{}\"", "\\n".repeat(LABEL_BYTES / 2))));
}

/// Promise: a 5xx of a service that came past the limit is still told from its successes.
#[test]
fn past_the_limit_the_statuses_of_request_totals_fold_to_their_class() {
    let metrics = Metrics::new().unwrap();
    for number in 0..10_000 {
        let (status, class) = if number % 10 == 0 { ("503", "5xx") } else { ("200", "2xx") };
        metrics.api_requests.counter_or([&format!("service{number}"), "production"], [status], [class]).inc();
    }
    let text = text(&metrics);
    let of = |status: &str| -> u64 {
        let lines = text.lines().filter(|line| line.starts_with("errata_api_requests_total{"));
        let own = lines.filter(|line| line.contains(&format!("status=\"{status}")));
        own.map(|line| line.rsplit_once(' ').unwrap().1.parse::<u64>().unwrap()).sum()
    };
    assert_eq!((of("5"), of("2")), (1000, 9000));
    assert!(text.contains(r#"errata_api_requests_total{environment="other",service="other",status="5xx"}"#));
}
