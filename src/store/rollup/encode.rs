//! Rollups as Arrow streams: one record batch a table, in the table's order (field errors by the day and their counts: in that of the hours, and ClickHouse sorts them); its last row is the marker of the group.

use std::{iter::once, sync::Arc};

use arrow_array::{
    ArrayRef, Date32Array, DictionaryArray, FixedSizeBinaryArray, Int8Array, Int32Array, RecordBatch, StringArray,
    StructArray, TimestampMillisecondArray, TimestampSecondArray, UInt16Array, UInt32Array, UInt64Array,
    builder::{ListBuilder, StringBuilder},
};
use arrow_schema::{ArrowError, DataType, Field, Fields, TimeUnit};
use bytes::Bytes;

use super::{
    Group, RollupTable, Rollups,
    aggregate::{DAY_S, FailureCell, FailureCount, FailurePer, HOUR_S, Per},
    issues::{IssueCell, Seen},
    known::ReleaseHour,
    names::{Name, Names},
};
use crate::store::rows::whole;

/// A group's rollups as one block of a table: its cells and the marker.
///
/// # Errors
/// When Arrow refuses the columns, which are always alike.
pub fn encode(group: &Group, table: RollupTable, rollups: &Rollups) -> Result<Vec<Bytes>, ArrowError> {
    let columns = match table {
        RollupTable::Counts => counts(group, rollups)?,
        RollupTable::Failures => failures(group, rollups, HOUR_S)?,
        RollupTable::FailureDays => failures(group, rollups, DAY_S)?,
        RollupTable::FailureCounts => failure_counts(group, rollups)?,
        RollupTable::Accounts => accounts(group, rollups)?,
        RollupTable::Issues => issue_cells(group, rollups)?,
    };
    let names = table.columns().split(", ");
    let columns = names.zip(columns).map(|(name, column)| (name, column, false));
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    whole(&batch)
}

fn counts(group: &Group, rollups: &Rollups) -> Result<Vec<ArrayRef>, ArrowError> {
    let cells = rollups.counts();
    let per = cells.iter().map(|cell| cell.per as i8).chain(once(Per::Minute as i8));
    let mut columns = identity(group, cells.len())?;
    let [project, labels @ ..] = labels(rollups, || cells.iter().map(|cell| cell.series))?;
    columns.extend([project, Arc::new(Int8Array::from_iter_values(per)), times(cells.iter().map(|cell| cell.at))]);
    columns.extend(labels);
    columns.push(sums(1, cells.iter().map(|cell| cell.count)));
    Ok(columns)
}

fn accounts(group: &Group, rollups: &Rollups) -> Result<Vec<ArrayRef>, ArrowError> {
    let cells = rollups.accounts();
    let accounts = cells.iter().map(|cell| rollups.names().text(cell.account)).chain(once(""));
    let mut columns = identity(group, cells.len())?;
    let [project, labels @ ..] = labels(rollups, || cells.iter().map(|cell| cell.series))?;
    let accounts = Arc::new(StringArray::from_iter_values(accounts));
    columns.extend([project, accounts, times(cells.iter().map(|cell| cell.at))]);
    columns.extend(labels);
    columns.push(sums(1, cells.iter().map(|cell| cell.count)));
    Ok(columns)
}

/// By hours or days: the cells are those of hours, which are summed where they are of one day.
fn failures(group: &Group, rollups: &Rollups, unit_s: u32) -> Result<Vec<ArrayRef>, ArrowError> {
    let cells = rollups.failures();
    let word = |of: &dyn Fn(&FailureCell<'_>) -> Name| words(rollups.names(), cells.iter().map(of));
    let mut columns = identity(group, cells.len())?;
    columns.extend([
        word(&|cell| cell.place[0])?,
        times(cells.iter().map(|cell| cell.at - cell.at % unit_s)),
        word(&|cell| cell.place[1])?,
        word(&|cell| cell.place[2])?,
        word(&|cell| cell.place[3])?,
        word(&|cell| cell.field)?,
        word(&|cell| cell.rule)?,
        sums(1, cells.iter().map(|cell| cell.sums.count)),
        sums(0, cells.iter().map(|cell| cell.sums.events)),
        sums(0, cells.iter().map(|cell| cell.sums.field_repeats)),
        sums(0, cells.iter().map(|cell| cell.sums.rule_repeats)),
        sums(0, cells.iter().map(|cell| cell.sums.any_repeats)),
        lists(rollups.names(), &cells),
        milliseconds(cells.iter().map(|cell| cell.first_ms)),
        last_seen(&cells)?,
    ]);
    Ok(columns)
}

/// By days, then by weeks.
fn failure_counts(group: &Group, rollups: &Rollups) -> Result<Vec<ArrayRef>, ArrowError> {
    let cells = rollups.failure_counts();
    let per = cells.iter().map(|cell| cell.per as i8).chain(once(FailurePer::Day as i8));
    let word = |of: &dyn Fn(&FailureCount) -> Name| words(rollups.names(), cells.iter().map(of));
    let mut columns = identity(group, cells.len())?;
    columns.extend([
        word(&|cell| cell.place[0])?,
        Arc::new(Int8Array::from_iter_values(per)),
        times(cells.iter().map(|cell| cell.at)),
        word(&|cell| cell.place[1])?,
        word(&|cell| cell.place[2])?,
        word(&|cell| cell.place[3])?,
        word(&|cell| cell.field)?,
        word(&|cell| cell.rule)?,
        sums(1, cells.iter().map(|cell| cell.count)),
    ]);
    Ok(columns)
}

fn issue_cells(group: &Group, rollups: &Rollups) -> Result<Vec<ArrayRef>, ArrowError> {
    let cells = rollups.issue_cells();
    let word = |of: &dyn Fn(&IssueCell) -> Name| words(rollups.names(), cells.iter().map(|cell| of(cell)));
    let mut columns = identity(group, cells.len())?;
    columns.extend([
        word(&|cell| cell.project)?,
        times(cells.iter().map(|cell| cell.at)),
        sums(0, cells.iter().map(|cell| cell.fingerprint)),
        word(&|cell| cell.environment)?,
        word(&|cell| cell.release)?,
        sums(1, cells.iter().map(|cell| cell.count)),
        Arc::new(UInt32Array::from_iter_values(cells.iter().map(|cell| cell.last_in_hour()).chain(once(0)))),
    ]);
    Ok(columns)
}

/// What issues are, as a block of the table `issues`: it has no marker, because a row too many changes nothing.
pub(super) fn encode_issues(names: &Names, issues: &[Seen<'_>]) -> Result<Vec<Bytes>, ArrowError> {
    let kinds = || issues.iter().map(|(issue, _)| *issue);
    let time = |of: fn(&Seen<'_>) -> i64| -> ArrayRef {
        let times = TimestampMillisecondArray::from_iter_values(issues.iter().map(of));
        Arc::new(times.with_timezone("UTC"))
    };
    let columns: Vec<ArrayRef> = vec![
        texts(kinds().map(|issue| names.text(issue.project))),
        Arc::new(UInt64Array::from_iter_values(kinds().map(|issue| issue.fingerprint))),
        texts(kinds().map(|issue| names.text(issue.service))),
        texts(kinds().map(|issue| names.text(issue.route))),
        Arc::new(UInt16Array::from_iter_values(kinds().map(|issue| issue.status))),
        texts(kinds().map(|issue| &*issue.error_template)),
        text_lists(issues, |(field, _)| field),
        text_lists(issues, |(_, rule)| rule),
        texts(kinds().map(|issue| &*issue.exception_type)),
        time(|(_, (first_ms, _))| *first_ms),
        time(|(_, (_, last_ms))| *last_ms),
    ];
    let columns = super::ISSUE_COLUMNS.split(", ").zip(columns).map(|(name, column)| (name, column, false));
    whole(&RecordBatch::try_from_iter_with_nullable(columns)?)
}

/// Hours of releases, as a block of the table `release_hours`, without a marker as [`encode_issues`] has it.
pub(super) fn encode_releases(hours: &[ReleaseHour]) -> Result<Vec<Bytes>, ArrowError> {
    let times = TimestampSecondArray::from_iter_values(hours.iter().map(|hour| i64::from(hour.at)));
    let columns: Vec<ArrayRef> = vec![
        texts(hours.iter().map(|hour| hour.project.as_str())),
        Arc::new(times.with_timezone("UTC")),
        texts(hours.iter().map(|hour| hour.environment.as_str())),
        texts(hours.iter().map(|hour| hour.release.as_str())),
    ];
    let columns = super::RELEASE_COLUMNS.split(", ").zip(columns).map(|(name, column)| (name, column, false));
    whole(&RecordBatch::try_from_iter_with_nullable(columns)?)
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(texts))
}

fn text_lists(issues: &[Seen<'_>], of: impl Fn(&(Box<str>, Box<str>)) -> &str) -> ArrayRef {
    let mut lists = ListBuilder::with_capacity(StringBuilder::new(), issues.len());
    for (issue, _) in issues {
        for pair in &issue.errors {
            lists.values().append_value(of(pair));
        }
        lists.append(true);
    }
    Arc::new(lists.finish())
}

/// Week and batch.
fn identity(group: &Group, cells: usize) -> Result<Vec<ArrayRef>, ArrowError> {
    let batches = std::iter::repeat_n([0; 16], cells).chain(once(group.id.into_bytes()));
    Ok(vec![
        Arc::new(Date32Array::from_iter_values(std::iter::repeat_n(group.week, cells + 1))),
        Arc::new(FixedSizeBinaryArray::try_from_iter(batches)?),
    ])
}

/// Project, service, environment, route, method and status of series.
fn labels<I: Iterator<Item = u32>>(rollups: &Rollups, series: impl Fn() -> I) -> Result<[ArrayRef; 6], ArrowError> {
    let word = |at: usize| words(rollups.names(), series().map(|series| rollups.labels(series).0[at]));
    let statuses = series().map(|series| rollups.labels(series).1).chain(once(0));
    let statuses = Arc::new(UInt16Array::from_iter_values(statuses));
    Ok([word(0)?, word(1)?, word(2)?, word(3)?, word(4)?, statuses])
}

/// A dictionary of the texts that occur, and the empty one of the marker.
fn words(names: &Names, column: impl Iterator<Item = Name>) -> Result<ArrayRef, ArrowError> {
    const NONE: i32 = -1;
    let mut entries = vec![NONE; names.len()];
    let mut texts = Vec::new();
    let mut keys: Vec<i32> = column
        .map(|name| {
            let entry = &mut entries[name as usize];
            if *entry == NONE {
                *entry = texts.len() as i32;
                texts.push(names.text(name));
            }
            *entry
        })
        .collect();
    // A dictionary must not hold a text twice.
    let empty = texts.iter().position(|text| text.is_empty()).unwrap_or_else(|| {
        texts.push("");
        texts.len() - 1
    });
    keys.push(empty as i32);
    Ok(Arc::new(DictionaryArray::try_new(Int32Array::from(keys), Arc::new(StringArray::from_iter_values(texts)))?))
}

fn times(seconds: impl Iterator<Item = u32>) -> ArrayRef {
    Arc::new(TimestampSecondArray::from_iter_values(seconds.map(i64::from).chain(once(0))).with_timezone("UTC"))
}

fn milliseconds(times: impl Iterator<Item = i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from_iter_values(times.chain(once(0))).with_timezone("UTC"))
}

fn sums(of_marker: u64, sums: impl Iterator<Item = u64>) -> ArrayRef {
    Arc::new(UInt64Array::from_iter_values(sums.chain(once(of_marker))))
}

fn lists(names: &Names, cells: &[FailureCell<'_>]) -> ArrayRef {
    let mut lists = ListBuilder::with_capacity(StringBuilder::new(), cells.len() + 1);
    for cell in cells {
        for account in &cell.accounts {
            lists.values().append_value(names.text(*account));
        }
        lists.append(true);
    }
    lists.append(true);
    Arc::new(lists.finish())
}

fn last_seen(cells: &[FailureCell<'_>]) -> Result<ArrayRef, ArrowError> {
    let fields = Fields::from(vec![
        Field::new("at", DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false),
        Field::new("request_id", DataType::Utf8, false),
    ]);
    let ids = StringArray::from_iter_values(cells.iter().map(|cell| cell.last_id).chain(once("")));
    let columns = vec![milliseconds(cells.iter().map(|cell| cell.last_ms)), Arc::new(ids)];
    Ok(Arc::new(StructArray::try_new(fields, columns, None)?))
}
