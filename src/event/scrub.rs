//! Scrubbing: secrets and personal values are replaced before anything is stored.

/// What to replace, as configured.
#[derive(Clone, Debug, Default, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScrubConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hash_key: Option<String>,
}

/// What to replace. Made once from configuration.
#[derive(Debug, Default)]
pub struct Scrubber {}
