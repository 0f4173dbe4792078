//! Who is told of alerts, validated.

use std::{fmt, net::IpAddr, path::PathBuf, str::FromStr};

use url::Url;

/// One receiver.
#[derive(Clone, Debug, PartialEq)]
pub struct Receiver {
    /// Unique.
    pub name: String,
    pub kind: ReceiverKind,
    /// Networks that are no part of the internet, and may be reached all the same.
    pub allow: Vec<Network>,
    /// How often a firing alert that nobody has acknowledged is told again, milliseconds; 0: never. (Alertmanager repeats by itself.)
    pub repeat_ms: i64,
}

/// How a receiver is told.
#[derive(Clone, Debug, PartialEq)]
pub enum ReceiverKind {
    /// Alertmanager's API v2, at this base.
    Alertmanager {
        url: SecretText,
    },
    /// A POST of our own JSON, signed where there is a secret.
    Webhook {
        url: SecretText,
        secret: Option<SecretText>,
    },
    /// Slack's incoming webhooks, and what imitates them.
    Slack {
        url: SecretText,
    },
    Email(Email),
}

impl ReceiverKind {
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Alertmanager { .. } => "alertmanager",
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Email(_) => "email",
        }
    }
}

/// Mail by SMTP.
#[derive(Clone, Debug, PartialEq)]
pub struct Email {
    pub host: String,
    pub port: u16,
    pub tls: MailTls,
    pub login: Option<(String, SecretText)>,
    pub from: String,
    pub to: Vec<String>,
}

/// How a mail server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// TLS after a greeting, and never without (port 587).
    StartTls,
    /// TLS from the first byte (port 465).
    Tls,
    /// In clear (port 25), for a relay on this machine.
    None,
}

/// A text that must not be printed, from the file of rules or from a file of its own, read anew for each message.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretText {
    Here(String),
    File(PathBuf),
}

impl SecretText {
    /// The text.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub fn read(&self) -> std::io::Result<String> {
        match self {
            Self::Here(text) => Ok(text.clone()),
            Self::File(path) => Ok(std::fs::read_to_string(path)?.trim().to_owned()),
        }
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here(_) => f.write_str("Here(…)"),
            Self::File(path) => write!(f, "File({})", path.display()),
        }
    }
}

/// Whether a text is an address that a receiver can have.
///
/// # Errors
/// What is wrong with it; never the text itself, which may be secret.
pub fn http_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("is no URL ({error}); write https://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with https:// (or http:// within your own network)".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or password in it, which is not taken; put a token into the path, or sign by `secret`"
            .to_owned());
    }
    Ok(url)
}

/// A range of addresses: `10.1.0.0/16`, `fd00::/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| ())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| ()))?;
        if bits > most { Err(()) } else { Ok(Self { address, bits }) }
    }
}

impl Network {
    #[must_use]
    pub fn contains(&self, other: IpAddr) -> bool {
        match (self.address, other) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                own.to_bits() & mask == other.to_bits() & mask
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_what_begins_as_they_do() {
        for (network, address, expected) in [
            ("10.1.0.0/16", "10.1.255.9", true),
            ("10.1.0.0/16", "10.2.0.1", false),
            ("127.0.0.1", "127.0.0.1", true),
            ("127.0.0.1", "127.0.0.2", false),
            ("0.0.0.0/0", "9.9.9.9", true),
            ("fd00::/8", "fd12::1", true),
            ("::/0", "10.0.0.1", false),
            ("::1", "::1", true),
        ] {
            assert_eq!(
                network.parse::<Network>().unwrap().contains(address.parse().unwrap()),
                expected,
                "{network} {address}"
            );
        }
        for bad in ["", "10.0.0.0/33", "::/129", "localhost", "10.0.0.0/", "10/8"] {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn secrets_are_in_no_debug_output() {
        let webhook = ReceiverKind::Webhook { url: SecretText::Here("https://h/hunter2".into()), secret: None };
        assert!(!format!("{webhook:?}").contains("hunter2"));
        assert!(!http_url("https://u:hunter2@h").unwrap_err().contains("hunter2"));
    }
}
