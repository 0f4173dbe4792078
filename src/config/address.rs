//! Addresses to listen on, with an error that teaches.

use std::net::SocketAddr;

use serde::{Deserialize, Deserializer, de};

/// Reads `127.0.0.1:8080`.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    // As any value, so that a bare port in the file is told in the same words.
    let (text, got) = match toml::Value::deserialize(deserializer)? {
        toml::Value::String(text) => (text.clone(), format!("{text:?}")),
        other => (String::new(), other.to_string()),
    };
    text.trim().parse().map_err(|_| {
        de::Error::custom(format!(
            "expected ADDRESS:PORT such as 127.0.0.1:8080 (an IP address, not a name), got {got}"
        ))
    })
}
