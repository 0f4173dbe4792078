//! Route templates from paths, for events that carry none: ids become `{id}`, dates `{date}`.
//!
//! A template is a guess that must not split statistics: what looks like an id is one. What looks like a word (`keywords`,
//! `auto_cluster`, `v1`, a slug) stays.

/// Longest template, in bytes.
pub const MAX_LEN: usize = 256;

/// Most segments of a template; the rest becomes one `…`.
const MAX_SEGMENTS: usize = 24;

/// Longest segment that is kept as it stands, in bytes.
const MAX_SEGMENT: usize = 64;

/// The route template of a path. Query string and fragment are dropped, as are scheme and host of a whole URL; versions and the
/// trailing slash are kept. What is a template already comes back unchanged.
#[must_use]
pub fn template(path: &str) -> String {
    let path = path.trim();
    let path = path.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map_or(path, |(_, rest)| {
        let end_of_host = rest.find('/');
        end_of_host.map_or("/", |start| &rest[start..])
    });
    let path = path.find(['?', '#']).map_or(path, |end| &path[..end]);
    let mut out = String::with_capacity(path.len().min(MAX_LEN));
    for (n, segment) in path.split('/').enumerate() {
        let (part, extension) = segment_template(segment.split(';').next().unwrap_or_default().trim());
        if n > 0 {
            out.push('/');
        }
        if n > MAX_SEGMENTS || out.len() + part.len() + extension.len() + "/…".len() > MAX_LEN {
            out.push('…');
            break;
        }
        out.push_str(part);
        out.push_str(extension);
    }
    out
}

/// What a segment becomes: itself, `{id}` or `{date}`; and the extension that is kept after these.
fn segment_template(segment: &str) -> (&str, &str) {
    if segment.is_empty() || is_placeholder(segment) || is_version(segment) {
        return (segment, "");
    }
    let (stem, extension) = file_name(segment).unwrap_or((segment, ""));
    if is_date(segment) {
        ("{date}", "")
    } else if segment.len() > MAX_SEGMENT || segment.contains(char::is_control) {
        ("{id}", "")
    } else if is_date(stem) {
        ("{date}", extension)
    } else if is_id(stem) {
        ("{id}", extension)
    } else if is_id(segment) {
        ("{id}", "")
    } else {
        (segment, "")
    }
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+.-".contains(&byte))
}

/// Whether a text is a token that no person made up: a ULID, a prefixed id (`req_…`), long hexadecimal, or a long mix of
/// letters and digits.
#[must_use]
pub fn is_token(text: &str) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() < 8 || !bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-=.~".contains(byte)) {
        return false;
    }
    // Words of a slug are judged one by one: "top-10-tips-for-2026" is none, "req_8f3k2m9x" ends in one.
    text.split(['_', '-', '.', '~', '=']).any(is_random)
}

/// Whether a run of letters and digits looks random: digits inside of letters, often, or in a long run.
fn is_random(run: &str) -> bool {
    let digits = run.bytes().filter(u8::is_ascii_digit).count();
    let letters = run.len() - digits;
    if digits == 0 || letters == 0 {
        return false;
    }
    let changes = run.as_bytes().windows(2).filter(|pair| pair[0].is_ascii_digit() != pair[1].is_ascii_digit()).count();
    let has_both_cases = run.bytes().any(|b| b.is_ascii_lowercase()) && run.bytes().any(|b| b.is_ascii_uppercase());
    match run.len() {
        0..=7 => false,
        8..=11 => changes >= 3 || (changes >= 2 && has_both_cases),
        12..=15 => changes >= 2 || digits >= 4,
        _ => true,
    }
}

fn is_id(segment: &str) -> bool {
    let is_ascii_digit = |c: char| c.is_ascii_digit();
    // 17, -1, +49170, 1,2,3, 17-my-title, 198.51.100.7 (but not 1.0, a version)
    let digits = segment.trim_start_matches(['-', '+']);
    let number_end = digits.find(|c| !is_ascii_digit(c)).unwrap_or(digits.len());
    if number_end > 0 {
        let rest = &digits[number_end..];
        let is_dotted_or_listed = rest.chars().all(|c| is_ascii_digit(c) || matches!(c, '.' | ',' | ':' | '-'));
        let is_numbered_slug = rest.starts_with(['-', '_', ':']);
        if is_dotted_or_listed || is_numbered_slug {
            return true;
        }
    }
    // order-12345, but not top-10-tips-for-2026
    let is_numbered = segment.split(['_', '-', '.']).any(|run| run.len() >= 5 && is_digits(run, MAX_SEGMENT));
    let is_uuid = matches!(segment.len(), 32 | 36 | 38) && uuid::Uuid::try_parse(segment).is_ok();
    is_numbered || is_uuid || is_address(segment) || is_token(segment) || is_long_secret(segment)
}

/// An e-mail address, its `@` escaped or not.
fn is_address(segment: &str) -> bool {
    let at = segment.find('@').map(|at| (at, 1)).or_else(|| segment.find("%40").map(|at| (at, 3)));
    at.is_some_and(|(at, length)| at > 0 && segment[at + length..].contains('.'))
}

/// Base64 without a digit, or any other long run of both cases: 20 characters or more without a separator.
fn is_long_secret(segment: &str) -> bool {
    let changes = segment
        .as_bytes()
        .windows(2)
        .filter(|pair| pair[0].is_ascii_uppercase() != pair[1].is_ascii_uppercase())
        .count();
    segment.len() >= 20 && segment.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'=') && changes >= 8
}

/// `v1`, `v2.1`, `v1beta2`, `1.0`.
fn is_version(segment: &str) -> bool {
    let (number, named) = match segment.strip_prefix(['v', 'V']) {
        Some(number) => (number, true),
        None => (segment, false),
    };
    if !named {
        return number.len() <= 5
            && number.split_once('.').is_some_and(|(major, minor)| is_digits(major, 2) && is_digits(minor, 2));
    }
    let digits = number.len() - number.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (1..=4).contains(&digits)
        && number.len() <= 12
        && number[digits..].bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'.')
}

/// `2026-11-17`, `2026-11`, `2026-11-17T10:00:00Z`.
fn is_date(segment: &str) -> bool {
    let day = segment.split_once(['T', '_']).map_or(segment, |(day, _)| day);
    let mut parts = day.split('-');
    let (year, month, day) = (parts.next(), parts.next(), parts.next());
    let in_range = |text: &str, max: u8| text.len() == 2 && text.parse().is_ok_and(|n: u8| (1..=max).contains(&n));
    segment.len() <= 35
        && parts.next().is_none()
        && year.is_some_and(|year| {
            year.len() == 4 && (year.starts_with("19") || year.starts_with("20")) && is_digits(year, 4)
        })
        && month.is_some_and(|month| in_range(month, 12))
        && day.is_none_or(|day| in_range(day, 31))
}

fn is_digits(text: &str, most: usize) -> bool {
    !text.is_empty() && text.len() <= most && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// `{id}`, `<int:pk>`, `:id`, `[id]`, `*`.
fn is_placeholder(segment: &str) -> bool {
    let is_in = |open, close| segment.starts_with(open) && segment.ends_with(close);
    let is_readable = segment.len() <= MAX_SEGMENT && !segment.contains(char::is_control);
    is_readable && (is_in('{', '}') || is_in('<', '>') || is_in('[', ']') || segment.starts_with(':'))
}

/// Stem, and extension with its dot, of a file name.
fn file_name(segment: &str) -> Option<(&str, &str)> {
    let (stem, extension) = segment.split_at(segment.rfind('.')?);
    let is_extension =
        (2..=5).contains(&extension.len()) && extension[1..].bytes().all(|byte| byte.is_ascii_alphanumeric());
    (is_extension && extension.bytes().any(|byte| byte.is_ascii_alphabetic()) && !stem.is_empty())
        .then_some((stem, extension))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ids_become_placeholders() {
        let ids = [
            "17",
            "0",
            "-1",
            "99999999999999999999",
            "550e8400-e29b-41d4-a716-446655440000",
            "550E8400E29B41D4A716446655440000",
            "01M7KE1BA6MR36ZXJN6Q6ZD31W",
            "507f1f77bcf86cd799439011",
            "req_8f3k2m9xQ1",
            "cus_NffrFeUfNV2Hib",
            "igk_live_9c14f0f63ab01eff0e10ff08",
            "dQw4w9WgXcQ",
            "ab12cd34ef56ab78cd90",
            "ines@example.com",
            "ines%40example.com",
            "1,2,3",
            "17-my-first-post",
            "198.51.100.7",
            "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ==",
            "+4917012345",
        ];
        for id in ids {
            assert_eq!(template(&format!("/api/{id}/x/")), "/api/{id}/x/", "{id}");
        }
    }

    #[test]
    fn words_versions_and_templates_stay() {
        let paths = [
            "/",
            "",
            "*",
            "/api/v1/planner/keywords/",
            "/api/v1/planner/clusters/auto_cluster/",
            "/api/v2.1/x",
            "/v1beta2/x",
            "/api/1.0/x",
            "/api/v1/wp-login.php",
            "/api/v1/../../.env",
            "/users/me",
            "/oauth2/token",
            "/s3/bucket",
            "/how-to-build-a-house",
            "/api/v1/writer/tasks/<int:pk>/generate_content/",
            "/users/{id}",
            "/users/:id",
            "/.well-known/openid-configuration",
            "/api//double",
            "/internationalization",
            "/GetUserAccountDetails",
            "/base64/encode",
            "/top-10-tips-for-2026",
            "/keywords/export.csv",
        ];
        for path in paths {
            assert_eq!(template(path), path);
        }
    }

    #[test]
    fn dates_files_and_urls_are_known() {
        let cases = [
            ("/reports/2026-11-17/", "/reports/{date}/"),
            ("/reports/2026-11", "/reports/{date}"),
            ("/reports/2026-11-17T10:00:00Z", "/reports/{date}"),
            ("/reports/2026-13-01", "/reports/{id}"),
            ("/invoices/1234.pdf", "/invoices/{id}.pdf"),
            ("/img/550e8400-e29b-41d4-a716-446655440000.png", "/img/{id}.png"),
            ("https://api.example.com/users/17?x=1", "/users/{id}"),
            ("https://api.example.com", "/"),
            ("/users/17?token=/x/18", "/users/{id}"),
            ("/users/17#top", "/users/{id}"),
            ("/users;jsessionid=4F/17", "/users/{id}"),
            (" /users/17 ", "/users/{id}"),
        ];
        for (path, expected) in cases {
            assert_eq!(template(path), expected, "{path}");
        }
    }

    #[test]
    fn hostile_paths_are_bounded() {
        for path in
            ["/a".repeat(100_000), format!("/{}", "é".repeat(100_000)), "/".repeat(100_000), "\0\u{7f}/\n".into()]
        {
            assert!(template(&path).len() <= MAX_LEN, "{}", template(&path));
        }
    }

    proptest! {
        #[test]
        fn a_template_is_its_own_template(path in "(/([a-z0-9._@;-]{0,12}|[A-Za-z0-9=_-]{0,40}|\\PC{0,8})){0,30}") {
            let once = template(&path);
            prop_assert!(once.len() <= MAX_LEN);
            prop_assert_eq!(template(&once), once);
        }
    }
}
