//! Signing in and out: cookies, forms, attempts, and where one comes out.

use errata::state::{Role, State};
use reqwest::{Method, header::HeaderValue};

use super::{Browser, Page};
use crate::{
    collector::{Collector, NOW_MS},
    contract::{token, without_clickhouse},
};

const HOUR_MS: i64 = 3_600_000;

fn cookie_line(page: &Page, name: &str) -> String {
    let mut lines = page.headers.get_all("set-cookie").iter().map(|line| line.to_str().unwrap().to_owned());
    lines.find(|line| line.starts_with(&format!("{name}="))).unwrap_or_else(|| panic!("no {name}: {:?}", page.headers))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_opens_a_session_that_leads_to_the_page_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::new(&collector);
    let page = browser.get("/lookup?id=a%20b").await;
    assert_eq!((page.status.as_u16(), page.location()), (303, Some("/sign-in?next=%2Flookup%3Fid%3Da%2520b")));
    let page = browser.follow("/lookup?id=a%20b").await;
    page.check("sign in");
    assert!(page.text.contains("name=\"next\" value=\"/lookup?id=a%20b\""), "{}", page.text);
    let page =
        browser.send("/sign-in", &[("token", &format!(" {} \n", collector.token)), ("next", "/lookup?id=a%20b")]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, Some("/lookup?id=a%20b")), "{}", page.text);
    let cookie = cookie_line(&page, "errata_session");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict"), "{cookie}");
    assert!(!cookie.contains(&collector.token));
    let page = browser.get("/lookup").await;
    page.check("lookup");
    assert!(page.text.contains("Signed in by the token"), "{}", page.text);
    let page = browser.send("/sign-out", &[]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, Some("/sign-in")));
    let page = browser.get("/sign-in").await;
    assert!(page.words().contains("You have signed out."), "{}", page.text);
    assert!(!browser.get("/sign-in").await.words().contains("You have signed out."), "a message is shown once");
    assert_eq!(browser.get("/lookup").await.status, 303);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_on_another_site_finds_who_has_signed_in() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    let session = browser.cookies.clone();
    for site in ["cross-site", "same-site"] {
        // As a browser asks: without the cookies, which are SameSite=Strict.
        browser.cookies.clear();
        browser.headers.insert("sec-fetch-site", HeaderValue::from_str(site).unwrap());
        let page = browser.get("/lookup?id=a%20b&x=%22%3E").await;
        assert_eq!((page.status.as_u16(), page.location()), (200, None), "{site}");
        let refresh = "http-equiv=\"refresh\" content=\"0;url=/lookup?id=a%20b&#38;x=%22%3E\"";
        assert!(page.text.contains(refresh), "{site}: {}", page.text);
        assert!(!page.text.contains("sign-in") && page.header("cache-control") == "no-store", "{site}");
        browser.headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
        assert_eq!(browser.get("/lookup").await.status, 303, "our own page's question is not sent round in a circle");
        browser.cookies.clone_from(&session);
        assert_eq!(browser.get("/lookup").await.status, 200);
    }
    // A link to the sign-in page itself: shown without the session, its form sent with it.
    browser.cookies.clear();
    browser.headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
    assert_eq!(browser.get("/sign-in").await.status, 200);
    browser.headers.insert("sec-fetch-site", HeaderValue::from_static("same-origin"));
    // The page has set the visitor's cookie anew; the session's is sent beside it again.
    browser.cookies.extend(session.into_iter().filter(|(name, _)| name == "errata_session"));
    assert_eq!(browser.cookies.len(), 2, "{:?}", browser.cookies);
    let of_visitor = browser.form_token.clone();
    let page = browser.send("/lookup", &[("text", "req_1")]).await;
    assert_eq!(page.status, 403, "other forms need the session's own token");
    // The refusal was a page of the session, with its token.
    browser.form_token = of_visitor;
    let page = browser.send("/sign-in", &[("token", &collector.token), ("next", "/lookup")]).await;
    assert_eq!((page.status.as_u16(), page.location()), (303, Some("/lookup")), "{}", page.text);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_with_its_time_and_its_token() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let [revoked, expiring] =
        [None, Some(NOW_MS + HOUR_MS)].map(|at| token(dir.path(), "default", &[Role::Support], None, at));
    let mut of_revoked = Browser::signed_in(&collector, &revoked).await;
    let mut of_expiring = Browser::signed_in(&collector, &expiring).await;
    let mut of_admin = Browser::signed_in(&collector, &collector.token).await;
    assert_eq!(of_revoked.get("/lookup").await.status, 200);
    let state = State::open(dir.path()).unwrap();
    let name = state.find_token(&revoked, NOW_MS).unwrap().unwrap().name;
    state.revoke_token(&name, 0).unwrap();
    assert_eq!(of_revoked.get("/lookup").await.status, 303);
    assert_eq!(of_expiring.get("/lookup").await.status, 200);
    collector.now_ms.fetch_add(HOUR_MS, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(of_expiring.get("/lookup").await.status, 303);
    assert_eq!(of_admin.get("/lookup").await.status, 200);
    collector.now_ms.fetch_add(11 * HOUR_MS, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(of_admin.get("/lookup").await.status, 303);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_attempts_are_told_counted_and_stopped() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::new(&collector);
    let ingest = token(dir.path(), "default", &[Role::Ingest], None, None);
    let page = browser.sign_in(&ingest, "/").await;
    assert_eq!(page.status, 403);
    assert!(page.words().contains("may only ship events"), "{}", page.text);
    for attempt in 0..10 {
        let page = browser.sign_in("errata_0000", "/").await;
        assert_eq!(page.status, 422, "{attempt}");
        page.check("a failed attempt");
        assert!(page.words().contains("This token is not known"), "{}", page.text);
        assert!(!page.text.contains("errata_0000"), "what was typed is not repeated");
    }
    let page = browser.sign_in("errata_0000", "/").await;
    assert_eq!((page.status.as_u16(), page.header("retry-after")), (429, "300"));
    page.check("an attempt too many");
    // Somebody else behind the proxy of this machine is not kept waiting.
    browser.headers.insert("x-forwarded-for", HeaderValue::from_static("192.0.2.9"));
    assert_eq!(browser.sign_in("errata_0000", "/").await.status, 422);
    browser.headers.remove("x-forwarded-for");
    assert_eq!(browser.sign_in("errata_0000", "/").await.status, 429);
    let page = browser.sign_in(&collector.token, "/").await;
    assert_eq!(
        page.status, 303,
        "who has a token is not locked out by who has none: behind a proxy they are one address"
    );
    // And what failed before is forgotten.
    assert_eq!(browser.sign_in("errata_0000", "/").await.status, 422);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn forms_are_taken_from_our_own_pages_alone() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::signed_in(&collector, &collector.token).await;
    browser.get("/lookup").await;
    let send = async |browser: &mut Browser| browser.send("/lookup", &[("text", "req_1")]).await.status.as_u16();
    assert_eq!(send(&mut browser).await, 303);
    browser.headers.insert("sec-fetch-site", HeaderValue::from_static("cross-site"));
    assert_eq!(send(&mut browser).await, 403);
    browser.headers.remove("sec-fetch-site");
    browser.headers.insert("origin", HeaderValue::from_static("https://evil.example"));
    assert_eq!(send(&mut browser).await, 403);
    browser.headers.insert("origin", HeaderValue::from_static("null"));
    assert_eq!(send(&mut browser).await, 303);
    let page = browser.ask(Method::POST, "/lookup", &[("text", "req_1")]).await;
    assert_eq!(page.status, 403, "without its token");
    let mut other = Browser::signed_in(&collector, &collector.token).await;
    other.get("/lookup").await;
    let of_other = other.form_token.clone();
    let page = browser.ask(Method::POST, "/lookup", &[("text", "req_1"), ("form_token", &of_other)]).await;
    assert_eq!(page.status, 403, "with the token of another session");
    page.check("a refused form");
    // The form to sign in is bound too, to a browser that has none.
    let mut fresh = Browser::new(&collector);
    let page = fresh.ask(Method::POST, "/sign-in", &[("token", &collector.token)]).await;
    assert_eq!(page.status, 403);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_another_site() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::new(&collector);
    for next in ["//evil.example", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"] {
        let page = browser.sign_in(&collector.token, next).await;
        assert_eq!(page.location(), Some("/"), "{next}");
        browser.get("/lookup").await;
        let page = browser.send("/theme", &[("theme", "dark"), ("next", next)]).await;
        assert_eq!(page.location(), Some("/"), "{next}");
        let page = browser.get(&format!("/sign-in?next={}", next.replace('\\', "%5C"))).await;
        assert!(page.text.contains("name=\"next\" value=\"/\""), "{next}: {}", page.text);
        assert!(!page.text.contains(&format!("\"{next}\"")), "{next}");
    }
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_cookies_are_for_https_and_this_host_alone() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let mut browser = Browser::new(&collector);
    browser.headers.insert("x-forwarded-proto", HeaderValue::from_static("https"));
    let page = browser.sign_in(&collector.token, "/").await;
    let cookie = cookie_line(&page, "__Host-errata_session");
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    assert_eq!(browser.get("/lookup").await.status, 200);
    // A cookie that another host of the domain may have set is not taken.
    let value = browser.cookies.remove("__Host-errata_session").unwrap();
    browser.cookies.insert("errata_session".into(), value);
    assert_eq!(browser.get("/lookup").await.status, 303);
    collector.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_changes_between_the_projects_of_its_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let collector = Collector::with(without_clickhouse(dir.path())).await;
    let [alpha, beta] = ["alpha", "beta"].map(|project| token(dir.path(), project, &[Role::Support], None, None));
    let mut browser = Browser::signed_in(&collector, &alpha).await;
    let page = browser.sign_in(&beta, "/lookup").await;
    assert_eq!(page.location(), Some("/lookup"), "{}", page.text);
    let page = browser.get("/lookup").await;
    assert!(page.text.contains("<span class=\"hidden\">Project: </span>beta"), "{}", page.text);
    let id = State::open(dir.path()).unwrap().find_token(&alpha, NOW_MS).unwrap().unwrap().id;
    assert_eq!(browser.send("/project", &[("token", &id)]).await.status, 303);
    let page = browser.get("/lookup").await;
    assert!(page.text.contains("<span class=\"hidden\">Project: </span>alpha"), "{}", page.text);
    assert!(page.words().contains("You now see the project alpha."), "{}", page.text);
    collector.stop().await.unwrap();
}
