//! From the text of a migration file to the statements that are sent.

use sha2::{Digest, Sha256};

use super::Migration;
use crate::store::{client::Database, engine::hex};

/// The file's statements, with `{database}` filled in. A statement ends with a `;` at the end of a line; lines that
/// begin with `--` are comments and may hold anything.
pub(super) fn statements(migration: &Migration, database: &Database) -> Vec<String> {
    let mut statements = Vec::new();
    let mut current = String::new();
    for line in migration.sql.lines() {
        if line.trim_start().starts_with("--") {
            continue;
        }
        if let Some(last) = line.trim_end().strip_suffix(';') {
            current.push_str(last);
            push(&mut statements, &current, database);
            current.clear();
        } else {
            current.push_str(line);
            current.push('\n');
        }
    }
    push(&mut statements, &current, database);
    statements
}

fn push(statements: &mut Vec<String>, text: &str, database: &Database) {
    let text = text.trim();
    if !text.is_empty() {
        statements.push(text.replace("{database}", database.as_str()));
    }
}

/// SHA-256 of the file, in hex. Line ends do not count: a checkout may have changed them.
pub(super) fn checksum(migration: &Migration) -> String {
    hex(&Sha256::digest(migration.sql.replace("\r\n", "\n").as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(sql: &'static str) -> Vec<String> {
        statements(&Migration { version: 1, name: "0001_x", sql }, &Database::parse("errata").unwrap())
    }

    #[test]
    fn statements_end_with_a_semicolon_at_the_end_of_a_line() {
        assert_eq!(split("SELECT 1;\n\nSELECT ';' ,\n 2 ;  \nSELECT 3"), ["SELECT 1", "SELECT ';' ,\n 2", "SELECT 3"]);
    }

    #[test]
    fn comments_are_no_statements_whatever_they_hold() {
        assert_eq!(split("-- a; b;\n  -- {database};\nSELECT 1;\n-- the end;\n"), ["SELECT 1"]);
        assert!(split("-- nothing;\n\n;\n").is_empty());
    }

    #[test]
    fn the_database_is_filled_in_and_server_parameters_are_left_alone() {
        assert_eq!(split("SELECT {id:UInt8} FROM {database}.t;"), ["SELECT {id:UInt8} FROM errata.t"]);
    }

    #[test]
    fn the_checksum_sees_every_character_but_the_kind_of_line_end() {
        let of = |sql| checksum(&Migration { version: 1, name: "0001_x", sql });
        assert_eq!(of("a\nb\n"), of("a\r\nb\r\n"));
        assert_ne!(of("a\nb\n"), of("a\nb \n"));
    }
}
