//! `[[receiver]]`.

use std::{cell::RefCell, path::PathBuf};

use toml::Table;

use crate::alerts::{
    keys::Keys,
    receiver::{Email, MailTls, Network, Receiver, ReceiverKind, SecretText, http_url},
    rule::HOUR_MS,
};

const KINDS: &str = "alertmanager, webhook, slack, email";

/// Reads one receiver; none where it has no type, which is a problem.
pub(super) fn receiver(index: usize, table: Table, problems: &RefCell<Vec<String>>) -> Option<Receiver> {
    let named = table.get("name").and_then(toml::Value::as_str).map(|name| format!("receiver {name:?}"));
    let place = named.unwrap_or_else(|| format!("receiver {} (without a name)", index + 1));
    let mut keys = Keys::new(place, table, problems);
    let name = keys.required("name", "\"on-call\"");
    let kind = keys.required("type", "\"alertmanager\"");
    let kind = match kind.as_str() {
        "alertmanager" => ReceiverKind::Alertmanager { url: url(&mut keys) },
        "webhook" => ReceiverKind::Webhook { url: url(&mut keys), secret: secret(&mut keys, "secret", "secret_file") },
        "slack" => ReceiverKind::Slack { url: url(&mut keys) },
        "email" => ReceiverKind::Email(email(&mut keys)),
        other => {
            if !other.is_empty() {
                keys.problem("type", &format!("expected one of {KINDS}, got {other:?}"));
            }
            return None;
        }
    };
    let expected = "addresses or networks such as 127.0.0.1 or 10.0.0.0/8";
    let allow = keys.list("allow", expected, Vec::new(), |text| text.parse::<Network>().ok());
    let repeat_ms = match kind {
        ReceiverKind::Alertmanager { .. } => 0,
        _ => keys.duration("repeat", 4 * HOUR_MS, 0),
    };
    keys.finish();
    Some(Receiver { name, kind, allow, repeat_ms })
}

/// A text, or the file it is in.
fn secret(keys: &mut Keys<'_>, here: &'static str, file: &'static str) -> Option<SecretText> {
    match (keys.text(here), keys.text(file)) {
        (Some(_), Some(_)) => {
            keys.problem(file, &format!("is given beside {here}; remove one of the two"));
            None
        }
        (Some(text), None) => Some(SecretText::Here(text)),
        (None, Some(path)) => Some(SecretText::File(PathBuf::from(path))),
        (None, None) => None,
    }
}

fn url(keys: &mut Keys<'_>) -> SecretText {
    let url = secret(keys, "url", "url_file");
    match &url {
        None => keys
            .problem("url", "is missing; write url = \"https://…\", or url_file = \"…\" to keep it out of this file"),
        Some(SecretText::Here(text)) => {
            if let Err(problem) = http_url(text) {
                keys.problem("url", &problem);
            }
        }
        Some(SecretText::File(_)) => {}
    }
    url.unwrap_or(SecretText::Here(String::new()))
}

fn email(keys: &mut Keys<'_>) -> Email {
    let tls = keys.text("tls").unwrap_or_else(|| "starttls".to_owned());
    let (tls, usual) = match tls.as_str() {
        "starttls" => (MailTls::StartTls, 587),
        "tls" => (MailTls::Tls, 465),
        "none" => (MailTls::None, 25),
        other => {
            keys.problem("tls", &format!("expected starttls, tls or none, got {other:?}"));
            (MailTls::StartTls, 587)
        }
    };
    let server = keys.required("server", "\"smtp.example:587\"");
    let (host, port) = match server.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.starts_with('[') => (host, port.parse().ok()),
        _ => (server.as_str(), Some(usual)),
    };
    let port = port.unwrap_or_else(|| {
        keys.problem("server", &format!("expected host:port, got {server:?}"));
        usual
    });
    let user = keys.text("user");
    let password = secret(keys, "password", "password_file");
    let login = match (user, password) {
        (Some(user), Some(password)) => Some((user, password)),
        (None, None) => None,
        _ => {
            keys.problem("user", "needs a password (or password_file), and a password a user");
            None
        }
    };
    if login.is_some() && tls == MailTls::None {
        keys.problem("tls", "a password is not sent in clear; use starttls or tls");
    }
    let from = keys.required("from", "\"errata@example.com\"");
    let to = keys.texts("to");
    if to.is_empty() {
        keys.problem("to", "is missing; write to = [\"on-call@example.com\"]");
    }
    for (key, address) in std::iter::once(("from", &from)).chain(to.iter().map(|address| ("to", address))) {
        if !address.is_empty() && address.parse::<lettre::message::Mailbox>().is_err() {
            keys.problem(key, &format!("{address:?} is no mail address"));
        }
    }
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Email { host, port, tls, login, from, to }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alerts::RuleSet;

    #[test]
    fn every_type_is_read() {
        let text = "
            [[receiver]]
            name = 'am'
            type = 'alertmanager'
            url = 'http://127.0.0.1:9093'
            allow = ['127.0.0.0/8']
            [[receiver]]
            name = 'hook'
            type = 'webhook'
            url_file = '/run/hook'
            secret = 's'
            [[receiver]]
            name = 'chat'
            type = 'slack'
            url = 'https://hooks.example/T/B/x'
            repeat = '0s'
            [[receiver]]
            name = 'mail'
            type = 'email'
            server = 'smtp.example'
            tls = 'tls'
            from = 'Errata <errata@example.com>'
            to = 'on-call@example.com'";
        let set = RuleSet::parse(text).unwrap();
        let kinds: Vec<_> = set.receivers.iter().map(|receiver| receiver.kind.as_str()).collect();
        assert_eq!(kinds.join(", "), KINDS);
        assert_eq!(set.receivers.iter().map(|receiver| receiver.repeat_ms / HOUR_MS).collect::<Vec<_>>(), [0, 4, 0, 4]);
        let ReceiverKind::Email(mail) = &set.receivers[3].kind else { panic!() };
        assert_eq!((mail.host.as_str(), mail.port), ("smtp.example", 465));
    }

    #[test]
    fn a_problem_names_the_receiver_the_key_and_what_to_write() {
        for (text, expected) in [
            (
                "type = 'pager'",
                "receiver \"r\": type: expected one of alertmanager, webhook, slack, email, got \"pager\"",
            ),
            ("type = 'slack'", "receiver \"r\": url: is missing"),
            ("type = 'slack'\nurl = 'ftp://h'", "receiver \"r\": url: must begin with https://"),
            (
                "type = 'webhook'\nurl = 'https://h'\nallow = 'localhost'",
                "receiver \"r\": allow: expected one or more of addresses or networks",
            ),
            (
                "type = 'webhook'\nurl = 'https://h'\nsecret = 'a'\nsecret_file = 'b'",
                "secret_file: is given beside secret",
            ),
            ("type = 'email'\nserver = 'h:x'\nfrom = 'a'\nto = []", "server: expected host:port"),
            ("type = 'email'\nserver = 'h'\nfrom = 'a'\nto = ['b@c']", "from: \"a\" is no mail address"),
            (
                "type = 'email'\nserver = 'h'\ntls = 'none'\nuser = 'u'\npassword = 'p'\nfrom = 'a@b'\nto = ['b@c']",
                "not sent in clear",
            ),
            ("type = 'alertmanager'\nurl = 'http://h'\nrepeat = '1h'", "repeat: there is no such key"),
        ] {
            let problems = RuleSet::parse(&format!("[[receiver]]\nname = 'r'\n{text}")).unwrap_err().to_string();
            assert!(problems.contains(expected), "{text}: {problems}");
        }
        let unknown = "[[rule]]\nname = 'x'\nkind = 'silence'\nseverity = 'page'\nreceivers = ['nobody']";
        let problems = RuleSet::parse(unknown).unwrap_err().to_string();
        assert!(problems.contains("rule \"x\": receivers: there is no receiver \"nobody\""), "{problems}");
    }

    /// Promise: whatever is wrong with a file, what it says of it goes to logs and terminals, and holds no secret.
    #[test]
    fn no_secret_is_in_an_error_or_a_debug_output() {
        let word = "hunter2";
        let values = [
            "'hunter2'",
            "'https://h/hunter2'",
            "'https://user:hunter2@h'",
            "'ftp://h/hunter2'",
            "'https://h:hunter2/'",
            "'hunter2://['",
            "['https://h/hunter2']",
            "{ token = 'hunter2' }",
            "'hunter2",
            "\"\\xhunter2\"",
            "'a' hunter2",
        ];
        let kinds =
            ["type = 'alertmanager'", "type = 'webhook'", "type = 'slack'", "type = 'email'", "type = 'pager'", ""];
        let keys = ["url", "secret", "password", "url_file", "secret_file", "password_file", "pasword", "Secret"];
        let mut wrong = 0;
        for (kind, key, value) in
            kinds.iter().flat_map(|kind| keys.map(|key| values.map(|value| (kind, key, value)))).flatten()
        {
            for other in ["", "url = 'https://h'\n", "server = 'h'\nuser = 'u'\n", "secret_file = '/x'\n"] {
                let text = format!("[[receiver]]\nname = 'r'\n{kind}\n{other}{key} = {value}\n");
                let said = match RuleSet::parse(&text) {
                    // The path of a file may be read by anybody; that somebody took it for the secret itself, we cannot know.
                    Ok(_) if key.ends_with("_file") => String::new(),
                    Ok(set) => format!("{set:?}"),
                    Err(problems) => {
                        wrong += 1;
                        format!("{problems} {problems:?}")
                    }
                };
                assert!(!said.contains(word), "{text}: {said}");
            }
        }
        assert!(wrong > 1000, "{wrong}");
    }
}
