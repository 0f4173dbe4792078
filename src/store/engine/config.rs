//! The engine's configuration file: limits, log, and users with as few rights as their duty needs.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::store::client::{Database, Login, Secret};

/// The users the collector logs in as; their passwords are made anew for each engine and live in memory only.
#[derive(Clone, Debug)]
pub(super) struct Users {
    pub admin: Login,
    pub writer: Login,
    pub reader: Login,
}

impl Users {
    /// Users with random 256-bit passwords.
    pub fn generate() -> Result<Self, getrandom::Error> {
        Ok(Self { admin: login("errata_admin")?, writer: login("errata_writer")?, reader: login("errata_reader")? })
    }
}

fn login(user: &str) -> Result<Login, getrandom::Error> {
    let mut random = [0_u8; 32];
    getrandom::fill(&mut random)?;
    Ok(Login { user: user.to_owned(), password: Secret::new(hex(&random)) })
}

pub(in crate::store) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write;
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The file's text. It holds hashes of the passwords, never the passwords.
///
/// * `default` is whom the engine's own session runs as, and it cannot have a password. It may do nothing but start
///   the listener, and it may hold one session only: its own. So nobody logs in as `default` over HTTP.
///   (In a profile of its own: every profile inherits from the one named `default`.)
/// * The log level stands in `log-level`: clickhouse-local ignores `logger.level` (26.7).
/// * `http_handlers` leaves the query endpoint only: no `/play`, `/dashboard`, `/replicas_status`.
/// * `users_config` names this very file: without it the users below are not read, and `default` may do everything.
///
/// `path` is where the text will stand; the log goes beside it.
pub(super) fn render(users: &Users, database: &Database, memory_limit: u64, path: &Path) -> String {
    let log = escape(&path.with_file_name("engine.log").to_string_lossy());
    let path = escape(&path.to_string_lossy());
    // A person's query must leave the inserts room.
    let read_memory = memory_limit / 2;
    let admin = user(
        &users.admin,
        "default",
        &[&format!("GRANT ALL ON {database}.*"), "GRANT TABLE ENGINE ON *", "GRANT SELECT ON system.*"],
    );
    // The writer sees and kills its own queries: what an insert without an answer has become.
    let writer = user(
        &users.writer,
        "default",
        &[&format!("GRANT SELECT, INSERT ON {database}.*"), "GRANT SELECT ON system.processes"],
    );
    let reader = user(&users.reader, "reader", &[&format!("GRANT SELECT ON {database}.*")]);
    format!(
        "<clickhouse>
  <log-level>warning</log-level>
  <logger><log>{log}</log><size>10M</size><count>2</count><console>0</console></logger>
  <users_config>{path}</users_config>
  <timezone>UTC</timezone>
  <keep_alive_timeout>60</keep_alive_timeout>
  <max_server_memory_usage>{memory_limit}</max_server_memory_usage>
  <mark_cache_size>67108864</mark_cache_size>
  <primary_index_cache_size>67108864</primary_index_cache_size>
  <uncompressed_cache_size>0</uncompressed_cache_size>
  <index_mark_cache_size>8388608</index_mark_cache_size>
  <index_uncompressed_cache_size>0</index_uncompressed_cache_size>
  <query_condition_cache_size>8388608</query_condition_cache_size>
  <mmap_cache_size>100</mmap_cache_size>
  <compiled_expression_cache_size>8388608</compiled_expression_cache_size>
  <max_concurrent_queries>100</max_concurrent_queries>
  <http_handlers>
    <rule>
      <url>/</url><methods>POST,GET</methods>
      <handler><type>dynamic_query_handler</type><query_param_name>query</query_param_name></handler>
    </rule>
  </http_handlers>
  <profiles>
    <default/>
    <listener>
      <max_sessions_for_user>1</max_sessions_for_user>
      <constraints><max_sessions_for_user><const/></max_sessions_for_user></constraints>
    </listener>
    <reader>
      <readonly>2</readonly>
      <max_memory_usage>{read_memory}</max_memory_usage>
      <constraints><max_memory_usage><min>1</min><max>{read_memory}</max></max_memory_usage></constraints>
    </reader>
  </profiles>
  <quotas><default/></quotas>
  <users>
    <default>
      <password></password>
      <networks><ip>127.0.0.1</ip></networks><profile>listener</profile><quota>default</quota>
      <grants><query>GRANT SYSTEM LISTEN ON *.*</query></grants>
    </default>
{admin}{writer}{reader}  </users>
</clickhouse>
"
    )
}

fn user(login: &Login, profile: &str, grants: &[&str]) -> String {
    let name = &login.user;
    let hash = hex(&Sha256::digest(login.password.expose().as_bytes()));
    let grants = format!("<query>{}</query>", grants.join("</query><query>"));
    format!(
        "    <{name}>
      <password_sha256_hex>{hash}</password_sha256_hex>
      <networks><ip>127.0.0.1</ip></networks><profile>{profile}</profile><quota>default</quota>
      <grants>{grants}</grants>
    </{name}>
"
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_holds_no_password_and_escapes_the_path() {
        let users = Users::generate().unwrap();
        let text = render(&users, &Database::parse("errata").unwrap(), 1 << 30, Path::new("/d&<x>/config.xml"));
        for login in [&users.admin, &users.writer, &users.reader] {
            assert_eq!(login.password.expose().len(), 64);
            assert!(!text.contains(login.password.expose()));
        }
        assert!(text.contains("/d&amp;&lt;x&gt;/engine.log"));
        assert_ne!(users.admin.password, users.reader.password);
    }
}
