//! Where damaged regions of segments are set aside, as they were found.
//!
//! A file is named `SEGMENT-OFFSET-ITEMS.bad`: setting the same region aside again changes nothing, and the count survives
//! restarts without a file of its own.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use super::{
    SpoolError,
    files::{Dir, File, PlaceError, failed, place, read_region},
};

/// Directory in that of the spool.
pub const DIRECTORY: &str = "quarantine";
const SUFFIX: &str = ".bad";

pub struct Quarantine {
    dir: Arc<dyn Dir>,
    /// Items by segment and offset.
    known: Mutex<BTreeMap<(u64, u64), u64>>,
    /// Items that were there when it was opened.
    items_at_open: u64,
}

impl Quarantine {
    pub fn open(spool: &dyn Dir) -> Result<Self, SpoolError> {
        let dir = spool.subdir(DIRECTORY).map_err(failed("open", spool, DIRECTORY))?;
        let names = dir.list().map_err(failed("list", spool, DIRECTORY))?;
        // As of the spool itself: what is known is not set aside again.
        dir.sync().map_err(failed("sync", spool, DIRECTORY))?;
        let known: BTreeMap<(u64, u64), u64> = names.iter().filter_map(|name| parse_name(name)).collect();
        let items_at_open = known.values().sum();
        Ok(Self { dir, known: Mutex::new(known), items_at_open })
    }

    /// Items that an earlier run set aside.
    pub fn items_at_open(&self) -> u64 {
        self.items_at_open
    }

    /// Items set aside, ever; a region in which none can be told counts as one.
    pub fn items(&self) -> u64 {
        self.known().values().sum()
    }

    /// Sets `[offset, end)` of a segment's file aside, durably, unless it was before.
    pub fn set_aside(
        &self,
        segment: u64,
        file: &dyn File,
        offset: u64,
        end: u64,
        items: u64,
    ) -> Result<(), SpoolError> {
        if self.known().contains_key(&(segment, offset)) {
            return Ok(());
        }
        let items = items.max(1);
        let name = format!("{segment:020}-{offset:012}-{items}{SUFFIX}");
        let bytes = read_region(file, offset, end).map_err(failed("read a damaged region for", &*self.dir, &name))?;
        place(&*self.dir, &name, &[&bytes]).map_err(PlaceError::into_io).map_err(failed("write", &*self.dir, &name))?;
        self.known().insert((segment, offset), items);
        tracing::error!(segment, offset, bytes = end - offset, items, file = name, "damage in the spool was set aside");
        Ok(())
    }

    fn known(&self) -> std::sync::MutexGuard<'_, BTreeMap<(u64, u64), u64>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn parse_name(name: &str) -> Option<((u64, u64), u64)> {
    let mut parts = name.strip_suffix(SUFFIX)?.splitn(3, '-');
    let mut number = || parts.next()?.parse().ok();
    Some(((number()?, number()?), number()?))
}
