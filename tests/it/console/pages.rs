//! Every page, to everybody.

use std::collections::{BTreeMap, BTreeSet};

use errata::{
    http::{Access, routes},
    state::Role,
};
use reqwest::{Method, header::HeaderValue};

use super::Browser;
use crate::{
    collector::{Collector, event},
    contract::{LESSER, token, without_clickhouse},
};

/// A path of the table with values for its parameters.
fn filled(path: &str) -> String {
    path.replace("{request_id}", "req_unknown1").replace("{fingerprint}", "00000000000000ff").replace("{id}", "17")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_for_its_roles_and_the_navigation_shows_those() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let pages: Vec<_> = routes().into_iter().filter(|route| matches!(route.access, Access::Page(_))).collect();
    assert!(pages.len() >= 4, "{pages:?}");
    let mut nobody = Browser::new(&collector);
    for page in &pages {
        let about = format!("{} {}", page.method, page.path);
        let answer = nobody.ask(page.method.clone(), &filled(page.path), &[]).await;
        assert_eq!(answer.status, 303, "{about}");
        assert!(answer.location().unwrap().starts_with("/sign-in"), "{about}");
    }
    let admin = (Role::Admin, collector.token.clone());
    let roles = LESSER.map(|role| (role, token(dir.path(), "default", &[role], None, None)));
    for (role, token) in roles.iter().filter(|(role, _)| *role != Role::Ingest).chain([&admin]) {
        let mut browser = Browser::signed_in(&collector, token).await;
        let mut reached = BTreeSet::new();
        for page in &pages {
            let Access::Page(allowed) = page.access else { unreachable!() };
            let about = format!("{} {} as {}", page.method, page.path, role.as_str());
            // A form without its token is refused to everybody; who lacks the role is told of that first.
            let answer = browser.ask(page.method.clone(), &filled(page.path), &[]).await;
            let may = *role == Role::Admin || allowed.contains(role);
            assert_eq!(answer.status == 403, !may || page.method == Method::POST, "{about}: {}", answer.status);
            assert_eq!(answer.text.contains("this page needs a token with the role"), !may, "{about}: {}", answer.text);
            assert!(matches!(answer.status.as_u16(), 200 | 303 | 403 | 404 | 503), "{about}: {}", answer.status);
            if answer.status != 303 {
                answer.check(&about);
            }
            // What lies below a place is a part of it, and so is its file.
            let is_place = page.path.rfind('/') == Some(0) && !page.path.contains(['{', '.']);
            if may && page.method == Method::GET && is_place {
                reached.insert(page.path.to_owned());
            }
        }
        let home = browser.follow("/").await;
        let nav = home.text.split("<nav class=\"places\"").nth(1).unwrap().split("</nav>").next().unwrap();
        let shown: BTreeSet<_> =
            nav.split("href=\"").skip(1).map(|part| part.split('"').next().unwrap().to_owned()).collect();
        assert_eq!(shown, reached, "{}", role.as_str());
    }
    collector.stop().await.unwrap();
}

/// Who works on which page, written down once more: a slip in the table of pages is seen here.
#[test]
fn roles_reach_the_pages_of_their_work() {
    const READERS: &[Role] = &[Role::Support, Role::Sre, Role::Product];
    const MENDERS: &[Role] = &[Role::Support, Role::Sre];
    let expected: [(&[Role], &[&str]); 6] = [
        (
            READERS,
            &[
                "GET /",
                "GET /explore",
                "GET /explore/export",
                "GET /explore/tail",
                "GET /issues",
                "GET /issues/{fingerprint}",
                "GET /reference",
                "POST /project",
                "POST /sign-out",
            ],
        ),
        (MENDERS, &["POST /issues/{fingerprint}/reopen", "POST /issues/{fingerprint}/resolve"]),
        (&[Role::Support], &["GET /lookup", "GET /requests/{request_id}", "POST /lookup"]),
        (
            &[Role::Sre],
            &[
                "GET /overview/accounts",
                "GET /alerts",
                "GET /rate-limits",
                "GET /rate-limits.csv",
                "POST /alerts/acknowledge",
                "POST /alerts/end-silence",
                "POST /alerts/silence",
            ],
        ),
        (
            &[Role::Product],
            &[
                "GET /validation",
                "GET /validation.csv",
                "GET /validation/accounts",
                "GET /validation/accounts.csv",
                "GET /validation/failure",
                "GET /validation/friction",
            ],
        ),
        (&[], &["GET /settings", "GET /settings/audit"]),
    ];
    let pages: BTreeMap<String, Vec<Role>> = routes()
        .into_iter()
        .filter_map(|route| match route.access {
            Access::Page(roles) => Some((format!("{} {}", route.method, route.path), roles.to_vec())),
            _ => None,
        })
        .collect();
    let expected: BTreeMap<String, Vec<Role>> = expected
        .iter()
        .flat_map(|(roles, pages)| pages.iter().map(|page| ((*page).to_owned(), roles.to_vec())))
        .collect();
    assert_eq!(pages, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn errors_are_pages_for_browsers_and_envelopes_for_programs() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    for (path, status, words) in [
        ("/nothing/here", 404, "There is nothing here"),
        ("/?from=soon", 400, "expected RFC 3339"),
        ("/?day=2026-02-30", 400, "there is no 2026-02-30 in the calendar"),
        ("/requests/%FF", 400, "Something in the address does not fit"),
        ("/requests/req_unknown1", 503, "The store does not answer at the moment"),
        ("/assets/console.0.css", 404, "There is nothing here"),
    ] {
        let page = browser.get(path).await;
        assert_eq!(page.status, status, "{path}");
        page.check(path);
        assert!(page.words().contains(words), "{path}: {}", page.text);
        assert!(page.words().contains(page.header("x-request-id")), "{path}: its id, for whom to tell");
    }
    let page = browser.ask(Method::POST, "/requests/a", &[]).await;
    assert_eq!((page.status.as_u16(), page.header("allow")), (405, "GET,HEAD"));
    page.check("a wrong method");
    browser.headers.insert("accept", HeaderValue::from_static("application/json"));
    let page = browser.get("/nothing/here").await;
    assert_eq!((page.status.as_u16(), page.header("content-type")), (404, "application/json"), "{}", page.text);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn styles_and_scripts_are_kept_for_good_and_compressed() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::new(&collector);
    let page = browser.get("/sign-in").await;
    let paths: BTreeSet<_> =
        page.text.split('"').filter(|part| part.starts_with("/assets/")).map(str::to_owned).collect();
    assert_eq!(paths.len(), 3, "{paths:?}");
    let mut together = 0;
    for path in &paths {
        let plain = browser.get(path).await;
        assert_eq!(
            (plain.status.as_u16(), plain.header("cache-control")),
            (200, "public, max-age=31536000, immutable")
        );
        assert_eq!(plain.header("x-content-type-options"), "nosniff");
        browser.headers.insert("accept-encoding", HeaderValue::from_static("gzip"));
        let response =
            browser.client.get(format!("{}{path}", browser.url)).header("accept-encoding", "gzip").send().await;
        let response = response.unwrap();
        let is_zipped = response.headers().contains_key("content-encoding");
        let bytes = response.bytes().await.unwrap();
        assert_eq!(is_zipped, !path.contains("/icon."), "{path}");
        assert!(!is_zipped || bytes.len() < plain.text.len() / 2, "{path}");
        together += bytes.len();
        browser.headers.remove("accept-encoding");
    }
    assert!(together < 20_000, "{together} bytes before the first page");
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_theme_is_kept_without_scripts() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::new(&collector);
    assert!(browser.get("/sign-in").await.text.contains("data-theme=\"auto\""));
    for theme in ["dark", "light", "auto"] {
        let page = browser.send("/theme", &[("theme", theme), ("next", "/lookup?x=1")]).await;
        assert_eq!((page.status.as_u16(), page.location()), (303, Some("/lookup?x=1")));
        assert!(browser.get("/sign-in").await.text.contains(&format!("data-theme=\"{theme}\"")), "{theme}");
    }
    collector.stop().await.unwrap();
}

/// The form of the time picker, where no script adds the zone.
#[tokio::test(flavor = "multi_thread")]
async fn times_without_a_zone_are_of_utc_on_pages_alone() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::start(dir.path()).await;
    collector.ship(&[event("req_1", 422)]).await;
    collector.delivered().await;
    let admin = collector.token.clone();
    let mut browser = Browser::signed_in(&collector, &admin).await;
    let span = "from=2026-11-22T11%3A59&to=2026-11-22T12%3A00%3A00";
    let page = browser.get(&format!("/explore?{span}")).await;
    assert_eq!(page.status, 200, "{}", page.words());
    assert!(page.words().contains("1 error from 22 Nov 11:59 to 22 Nov 12:00"), "{}", page.words());
    for path in [
        "/",
        "/validation",
        "/issues",
        "/rate-limits",
        "/reference",
        "/explore/export",
        "/validation.csv",
        "/rate-limits.csv",
    ] {
        let page = browser.get(&format!("{path}?{span}")).await;
        assert_eq!(page.status, 200, "{path}: {}", page.words());
    }
    // A day of the picker is that date at both ends.
    for (span, words) in [
        ("day=2026-11-22", "1 error on 22 Nov 2026 (UTC)"),
        ("day=2026-11-21", "0 errors on 21 Nov 2026 (UTC)"),
        ("from=2026-11-21&to=now", "1 error since 21 Nov 00:00"),
    ] {
        let page = browser.get(&format!("/explore?{span}")).await;
        assert!(page.words().contains(words), "{span}: {}", page.words());
    }
    let (status, _) = collector.get(&format!("/api/v1/events?{span}")).await;
    assert_eq!(status, 400, "the API takes no time without a zone");
    collector.stop().await.unwrap();
}
