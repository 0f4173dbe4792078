//! Request totals: inserting them so that a repetition replaces, and counting their hours anew.
//!
//! At least once is enough here: what is inserted twice, or in another order, is told by its time of receipt, which the
//! tables keep the latest of (`migrations/0004_request_totals.sql`).

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use arrow_array::{
    ArrayRef, RecordBatch, StringArray, TimestampMicrosecondArray, TimestampSecondArray, UInt16Array, UInt64Array,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::ArrowError;
use bytes::Bytes;
use uuid::Uuid;

use super::{
    Store, StoreError,
    insert::{SETTINGS, within},
    rows::{EncodeError, week_of},
};
use crate::event::RequestTotal;

/// The columns that are filled, as they stand in an INSERT.
const COLUMNS: &str =
    "project, minute, service, environment, release, route, method, status, reporter, count, received_at";

/// A touched hour is some ten thousand rows, a week of an import some millions.
const HOURS_TIMEOUT: Duration = Duration::from_secs(300);

const HOUR_SECONDS: u32 = 3600;

/// Hours of request totals, by project and week: what is counted anew by one statement goes to one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hours(BTreeMap<(String, i32), BTreeSet<u32>>);

impl Hours {
    /// The hours that these totals are in.
    pub fn of<'a>(totals: impl IntoIterator<Item = &'a RequestTotal>) -> Self {
        let mut hours = Self::default();
        for total in totals {
            let hour = total.minute / HOUR_SECONDS * HOUR_SECONDS;
            hours.0.entry((total.project.clone(), week(total))).or_default().insert(hour);
        }
        hours
    }
}

fn week(total: &RequestTotal) -> i32 {
    week_of(i64::from(total.minute) * 1000)
}

impl Store {
    /// Inserts totals, one block a week of their minutes. What failed half-way is inserted again as a whole: that does no harm.
    ///
    /// # Errors
    /// [`StoreError`], whose class says what to do next.
    pub async fn insert_totals(&self, totals: impl IntoIterator<Item = &RequestTotal>) -> Result<(), StoreError> {
        let mut weeks: BTreeMap<i32, Vec<&RequestTotal>> = BTreeMap::new();
        for total in totals {
            weeks.entry(week(total)).or_default().push(total);
        }
        for totals in weeks.values() {
            self.insert_block(totals).await?;
        }
        Ok(())
    }

    /// Inserts no totals: fails where the table does not fit the rows this build writes.
    ///
    /// # Errors
    /// As [`Store::insert_totals`].
    pub async fn probe_totals(&self) -> Result<(), StoreError> {
        self.insert_block(&[]).await
    }

    async fn insert_block(&self, totals: &[&RequestTotal]) -> Result<(), StoreError> {
        let data = encode(totals).map_err(EncodeError::from)?;
        let sql = format!("INSERT INTO {}.request_totals ({COLUMNS}) FORMAT ArrowStream", self.database);
        let id = Uuid::new_v4().to_string();
        self.insert_stream(&sql, &id, &id, &data).await
    }

    /// Counts hours anew from the minutes that are stored, and replaces what was counted of them before.
    ///
    /// # Errors
    /// [`StoreError`], whose class says what to do next.
    pub async fn count_hours(&self, Hours(hours): &Hours) -> Result<(), StoreError> {
        // The latest receipt decides which count of an hour stays: whoever has seen more reports has seen later ones.
        let sql = format!(
            "INSERT INTO {0}.request_totals_hours (project, hour, service, environment, release, route, method, status, count, \
             received_at) SELECT project, toStartOfHour(minute) AS hour, service, environment, release, route, method, status, \
             sum(count), max(received_at) FROM {0}.request_totals FINAL WHERE project = {{project:String}} \
             AND minute >= toDateTime({{first:UInt32}}, 'UTC') AND minute < toDateTime({{end:UInt32}}, 'UTC') \
             AND has({{hours:Array(UInt32)}}, toUnixTimestamp(toStartOfHour(minute))) \
             GROUP BY project, hour, service, environment, release, route, method, status",
            self.database
        );
        for ((project, _), hours) in hours {
            let (Some(first), Some(last)) = (hours.first(), hours.last()) else { continue };
            let mut query = self
                .write
                .query(&sql)
                .param("project", project)
                .param("first", first)
                .param("end", last.saturating_add(HOUR_SECONDS))
                .param("hours", hours);
            for (name, value) in SETTINGS {
                query = query.with_setting(name, value);
            }
            within(HOURS_TIMEOUT, "counting hours of request totals", query.execute()).await?;
        }
        Ok(())
    }
}

/// Totals as an Arrow stream, one record batch in the table's order.
fn encode(totals: &[&RequestTotal]) -> Result<Bytes, ArrowError> {
    let texts = |of: fn(&RequestTotal) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(totals.iter().map(|total| of(total))))
    };
    let minutes = TimestampSecondArray::from_iter_values(totals.iter().map(|total| i64::from(total.minute)));
    let received = TimestampMicrosecondArray::from_iter_values(totals.iter().map(|total| total.received_us));
    let columns: [ArrayRef; 11] = [
        texts(|total| &total.project),
        Arc::new(minutes.with_timezone("UTC")),
        texts(|total| &total.service),
        texts(|total| &total.environment),
        texts(|total| &total.release),
        texts(|total| &total.route),
        texts(|total| &total.method),
        Arc::new(UInt16Array::from_iter_values(totals.iter().map(|total| total.status))),
        texts(|total| &total.reporter),
        Arc::new(UInt64Array::from_iter_values(totals.iter().map(|total| total.count))),
        Arc::new(received.with_timezone("UTC")),
    ];
    let columns = COLUMNS.split(", ").zip(columns).map(|(name, column)| (name, column, false));
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    let mut writer = StreamWriter::try_new(Vec::with_capacity(batch.get_array_memory_size()), &batch.schema())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}
