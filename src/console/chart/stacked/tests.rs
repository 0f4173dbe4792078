use super::*;

const HOUR: i64 = 3_600_000;

fn chart() -> Stacked {
    Stacked {
        id: "errors",
        title: "Errors & more".into(),
        description: "<b>".into(),
        unit: "errors per hour".into(),
        from_ms: 0,
        step_ms: HOUR,
        bands: vec![
            Band { family: Family::Server, counts: vec![10, 0, 0, 30] },
            Band { family: Family::Limit, counts: vec![10, 0, 0, 10] },
        ],
        known: vec![true, false, false, true],
        ..Stacked::default()
    }
}

/// The path of a kind in the wide drawing.
fn path(html: &str, class: &str) -> String {
    html.split(&format!("class=\"band {class}\" d=\"")).nth(1).unwrap().split('"').next().unwrap().to_owned()
}

#[test]
fn a_kind_stands_on_the_one_below_it() {
    let html = chart().html();
    let html = html.as_str();
    // 40 at the top (24), 0 at the bottom (214); four steps over 972 pixels from 44.
    assert_eq!(path(html, "server"), "M44.0 214.0V166.5H286.0V214.0zM773.0 214.0V71.5H1015.0V214.0z");
    assert_eq!(path(html, "limit"), "M44.0 166.5V119.0H286.0V166.5zM773.0 71.5V24.0H1015.0V71.5z");
    assert_eq!(html.matches("<svg").count(), 2);
}

#[test]
fn a_number_of_the_table_leads_to_the_events_that_it_counts() {
    let html = Stacked { events: Explore::default().with("status", "5xx"), ..chart() }.html();
    let link = "/explore?status=5xx&amp;from=1970-01-01T00%3A00%3A00.000Z&amp;to=1970-01-01T01%3A00%3A00.000Z";
    assert!(html.as_str().contains(&format!("<a href=\"{link}\">20</a>")), "{html}");
    let counted_ms = Some((HOUR / 2, 4 * HOUR - 1000));
    let html = Stacked { counted_ms, ..chart() }.html();
    for (span, count) in [
        ("00%3A30%3A00.000Z&amp;to=1970-01-01T01%3A00%3A00", 20),
        ("03%3A00%3A00.000Z&amp;to=1970-01-01T03%3A59%3A59", 40),
    ] {
        let link = format!("<a href=\"/explore?from=1970-01-01T{span}.000Z\">{count}</a>");
        assert!(html.as_str().contains(&link), "{link}: {html}");
    }
}

#[test]
fn what_is_not_known_is_a_gap_and_no_zero() {
    let html = chart().html();
    let html = html.as_str();
    assert!(html.contains("<rect class=\"gap\" x=\"287.0\" y=\"24\" width=\"485.0\" height=\"190\">"), "{html}");
    assert_eq!(html.matches("class=\"gap\"").count(), 2, "one run a drawing");
    assert!(html.contains(">no data</td>"), "{html}");
    let mut whole = chart();
    whole.known = vec![true; 4];
    assert!(!whole.html().as_str().contains("no data"));
}

#[test]
fn alerts_are_shaded_and_releases_marked_within_the_range() {
    let mut chart = chart();
    chart.shades = vec![
        Shade { from_ms: -HOUR, to_ms: HOUR, label: "a<b".into() },
        Shade { from_ms: 9 * HOUR, to_ms: 10 * HOUR, label: "later".into() },
    ];
    chart.marks =
        vec![Mark { at_ms: 2 * HOUR, label: "2026.11.2 <i>".into() }, Mark { at_ms: 4 * HOUR, label: "out".into() }];
    let html = chart.html();
    let html = html.as_str();
    assert!(html.contains("<rect class=\"shade\" x=\"44.0\" y=\"24\" width=\"243.0\""), "{html}");
    assert!(html.contains("M530.0 214V24"), "{html}");
    assert!(html.contains("2026.11.2 &lt;i&gt;") && !html.contains("<i>") && !html.contains("later"), "{html}");
    assert!(!html.contains(">out<"), "{html}");
}

#[test]
fn titles_and_descriptions_are_escaped_and_named_once() {
    let html = chart().html();
    let html = html.as_str();
    assert!(html.contains(">Errors &amp; more</title>") && html.contains(">&lt;b&gt;</desc>"), "{html}");
    for id in ["errors", "errors-wide-title", "errors-narrow-title", "errors-wide-text"] {
        assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{id}");
    }
}

#[test]
fn labels_stand_apart_within_the_drawing() {
    let mut chart = chart();
    chart.bands = Family::ALL.map(|family| Band { family, counts: vec![1, 0, 0, 0] }).into();
    let html = chart.html();
    let mut last = f64::MAX;
    for part in html.as_str().split("class=\"name ").skip(1) {
        let y: f64 = part.split("y=\"").nth(1).unwrap().split('"').next().unwrap().parse().unwrap();
        assert!((24.0..=220.0).contains(&y) && last - y >= LINE - 0.2, "{y} after {last}");
        last = y;
    }
}

#[test]
fn no_steps_and_huge_numbers_are_drawn_too() {
    let empty = Stacked { id: "x", ..Stacked::default() };
    assert!(empty.html().as_str().contains("</svg>"));
    let mut huge = chart();
    huge.bands[0].counts = vec![u64::MAX / 4; 4];
    assert!(!huge.html().as_str().contains("NaN"));
    huge.from_ms = i64::MAX / 4;
    assert!(huge.html().as_str().contains("</svg>"));
}
