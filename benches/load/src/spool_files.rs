//! What lies in a spool's segments, read by their specification (`src/spool/mod.rs`).

use std::{fs, path::Path};

use anyhow::{Context, ensure};

const SEGMENT_HEADER: usize = 32;
const RECORD_HEADER: usize = 52;
const RECORD_MAGIC: [u8; 4] = *b"\xE5rec";
/// Key, tag and length of an item.
const ITEM_HEADER: usize = 28;

#[derive(Debug, Default)]
pub struct Held {
    pub items: u64,
    /// Bytes of the items: the events as the spool is given them.
    pub payload: u64,
    /// Bytes of every file.
    pub files: u64,
}

/// Reads the spool of a collector that does not run.
pub fn held(data_dir: &Path) -> anyhow::Result<Held> {
    let mut held = Held::default();
    for entry in fs::read_dir(data_dir.join("spool"))? {
        let entry = entry?;
        held.files += entry.metadata()?.len();
        if entry.path().extension().is_some_and(|extension| extension == "seg") {
            segment(&fs::read(entry.path())?, &mut held).with_context(|| format!("{}", entry.path().display()))?;
        }
    }
    Ok(held)
}

fn segment(bytes: &[u8], held: &mut Held) -> anyhow::Result<()> {
    let mut at = SEGMENT_HEADER;
    while at < bytes.len() {
        ensure!(bytes.get(at..at + 4) == Some(&RECORD_MAGIC[..]), "no record at byte {at}: has the format changed?");
        let length = number(bytes, at + 4)?;
        let end = at + RECORD_HEADER + length;
        at += RECORD_HEADER;
        while at < end {
            let payload = number(bytes, at + ITEM_HEADER - 4)?;
            held.items += 1;
            held.payload += payload as u64;
            at += ITEM_HEADER + payload;
        }
        ensure!(at == end, "items do not end with their record: has the format changed?");
    }
    Ok(())
}

fn number(bytes: &[u8], at: usize) -> anyhow::Result<usize> {
    let bytes = bytes.get(at..at + 4).context("it ends within a header")?;
    Ok(u32::from_le_bytes(bytes.try_into()?) as usize)
}
