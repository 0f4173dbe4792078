//! Where pages and commands lead that find nothing in their range.

use std::process::Command;

use errata::state::Role;
use serde_json::json;

use super::Browser;
use crate::{
    collector::{Collector, event},
    contract::token,
};

/// After an import of what is older than a day, no page is a dead end: each leads whom may see it to where the errors of the project are.
#[tokio::test(flavor = "multi_thread")]
async fn a_page_without_errors_leads_to_the_newest_ones() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    let [other, product, support, sre] =
        [("other", Role::Admin), ("default", Role::Product), ("default", Role::Support), ("default", Role::Sre)]
            .map(|(project, role)| token(dir.path(), project, &[role], None, None));
    let mut foreign = Browser::signed_in(&collector, &other).await;
    let events =
        [("req_1", 422, "2026-11-12T09:00:00Z"), ("req_2", 429, "2026-11-18T23:59:12Z")].map(|(id, status, at)| {
            let mut event = event(id, status);
            event["timestamp"] = json!(at);
            event
        });
    collector.ship(&events).await;
    collector.delivered().await;
    let newest = "is of Wed 18 Nov 2026 23:59:12 UTC : show its day , or the week up to it .";
    let pages = ["/", "/explore", "/explore?status=500", "/validation", "/rate-limits", "/issues", "/issues?q=x"];
    let readers: [(&str, &[&str]); 4] = [
        (&collector.token, &pages),
        (&sre, &["/", "/explore", "/rate-limits", "/issues"]),
        (&support, &["/explore"]),
        (&product, &["/explore", "/validation"]),
    ];
    for (token, pages) in readers {
        let mut browser = Browser::signed_in(&collector, token).await;
        for path in pages {
            let page = browser.get(path).await;
            page.check(path);
            assert!(page.words().contains(newest), "{path}: {}", page.words());
            assert_eq!(page.words().contains("whatever"), path.len() > 8 && *path != "/explore", "{path}");
            let here = if path.contains('?') { format!("{path}&") } else { format!("{path}?") };
            for (words, from) in [("its day", "2026-11-18"), ("the week up to it", "2026-11-12")] {
                let link = format!("<a href=\"{here}from={from}&to=2026-11-18\">{words}</a>").replace('&', "&amp;");
                assert!(page.text.contains(&link), "{path}: {link}: {}", page.text);
            }
        }
    }
    // What a page leads to has the errors, and says no more where they are.
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    for path in ["/", "/explore", "/validation", "/rate-limits", "/issues"] {
        let page = browser.get(&format!("{path}?from=2026-11-12&to=2026-11-18")).await;
        assert!(page.status == 200 && !page.words().contains("show its day"), "{path}: {}", page.words());
        // Those of another project are nobody's business.
        let page = foreign.get(path).await;
        assert!(page.status == 200 && !page.words().contains("Nov 2026"), "{path}: {}", page.words());
    }
    // From place to place one goes on with the range, where there is one.
    let places = async |browser: &mut Browser, path: &str| {
        let page = browser.get(path).await;
        let nav =
            page.text.split("<nav").find(|part| part.contains("/rate-limits")).unwrap().split("</nav>").next().unwrap();
        nav.replace("&amp;", "&").replace("&#38;", "&")
    };
    let nav = places(&mut browser, "/issues?from=2026-11-12&to=2026-11-18&state=new").await;
    for link in ["/?from=2026-11-12&to=2026-11-18", "/reference?from=2026-11-12&to=2026-11-18", "/alerts", "/settings"]
    {
        assert!(nav.contains(&format!("href=\"{link}\"")), "{link}: {nav}");
    }
    let nav = places(&mut browser, "/validation").await;
    assert!(nav.contains("href=\"/issues\"") && !nav.contains("from="), "{nav}");
    // Of another kind than the page shows, and within its range, it would lead nowhere new.
    let page = browser.get("/validation?from=2026-11-18&to=2026-11-18&field=none").await;
    assert!(
        page.words().contains("No event with errors") && !page.words().contains("show its day"),
        "{}",
        page.words()
    );
    let page = browser.get("/explore?from=2026-11-18&to=2026-11-18&status=500").await;
    assert!(page.words().contains("The newest error of this project is of Wed 18 Nov"), "{}", page.words());

    for args in [&["search", "--status", "5xx"][..], &["search", "--csv"], &["top", "routes"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_errata"));
        command
            .args(args)
            .args(["--from", "2026-11-19", "--to", "2026-11-20", "--url", &collector.url])
            .env("TZ", "UTC");
        let run = |token: &str| {
            command.env("ERRATA_TOKEN", token);
            command.output().unwrap()
        };
        let [ours, others] = tokio::task::block_in_place(|| [&collector.token, &other].map(String::as_str).map(run));
        let [said, of_others] = [&ours, &others].map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!((ours.status.code(), others.status.code()), (Some(1), Some(1)), "{said}{of_others}");
        assert!(
            said.contains("is of Wed 18 Nov 2026 23:59:12 UTC (")
                && said.contains(": --from 2026-11-18 --to 2026-11-18 is"),
            "{said}"
        );
        assert!(said.contains(" fits from 2026-11-19 to 2026-11-20. The newest"), "{said}");
        assert!(of_others.contains("no event of this project is stored"), "{of_others}");
    }
    collector.stop().await.unwrap();
}
