//! Stacked columns over time, by kind of error.

use std::fmt::Write;

use super::scale::{Scale, ticks, time_ticks};
use crate::console::view::{
    Column, Explore, Family, Markup, compact, escape, moment, number, scroll,
    time::{Format, utc},
};

/// A drawing for wide screens and one for narrow ones, of which the stylesheet shows one: letters do not shrink with it.
const SIZES: [Size; 2] = [
    Size { class: "wide", width: 1120.0, height: 236.0, left: 44.0, right: 104.0, labels: true },
    Size { class: "narrow", width: 340.0, height: 200.0, left: 34.0, right: 6.0, labels: false },
];

/// Above the columns (the unit), and below (the times).
const TOP: f64 = 24.0;
const BOTTOM: f64 = 22.0;

/// Between two labels at the right, at least.
const LINE: f64 = 15.0;

/// Pixels that a time at the axis needs.
const TIME_WIDTH: f64 = 88.0;

#[derive(Clone, Copy, Debug)]
struct Size {
    class: &'static str,
    width: f64,
    height: f64,
    left: f64,
    right: f64,
    /// Whether there is room for names at the right.
    labels: bool,
}

/// Counts per step of time, by kind.
#[derive(Clone, Debug, Default)]
pub struct Stacked {
    /// Unique on the page; letters and digits.
    pub id: &'static str,
    pub title: String,
    /// What one sees, in a sentence.
    pub description: String,
    /// What is counted, without a time: a step's number leads to its events.
    pub events: Explore,
    /// `errors per 15 min`
    pub unit: String,
    /// Begin of the first step, milliseconds since the Unix epoch.
    pub from_ms: i64,
    pub step_ms: i64,
    /// From when to when is counted, milliseconds since the Unix epoch, if that is less than the steps: the first and the last number lead to
    /// what they count.
    pub counted_ms: Option<(i64, i64)>,
    /// The lowest first; each has a value for each step.
    pub bands: Vec<Band>,
    /// Of each step: whether anything is known of it. What is not is a gap and no zero.
    pub known: Vec<bool>,
    /// What a gap is, if it is not that there is no data.
    pub gaps_are: Option<&'static str>,
    /// Periods to be seen behind: alerts.
    pub shades: Vec<Shade>,
    /// Moments: changes of release.
    pub marks: Vec<Mark>,
}

/// One kind of error.
#[derive(Clone, Debug)]
pub struct Band {
    pub family: Family,
    pub counts: Vec<u64>,
}

#[derive(Clone, Debug)]
pub struct Shade {
    pub from_ms: i64,
    pub to_ms: i64,
    pub label: String,
}

#[derive(Clone, Debug)]
pub struct Mark {
    pub at_ms: i64,
    pub label: String,
}

/// The axes of one drawing.
struct Axes {
    size: Size,
    x: Scale,
    y: Scale,
    values: Vec<u64>,
}

impl Stacked {
    /// The chart and its table.
    #[must_use]
    pub fn html(&self) -> Markup {
        let drawings: String = SIZES.iter().map(|size| self.svg(*size)).collect();
        let steps = self.known.len();
        Markup::new(format!(
            "<figure class=\"chart\" id=\"{id}\" data-from=\"{from}\" data-step=\"{step}\" data-steps=\"{steps}\">{drawings}<details><summary>The \
             numbers as a table</summary>{table}</details></figure>",
            id = self.id,
            from = self.from_ms,
            step = self.step_ms,
            table = self.table(),
        ))
    }

    fn to_ms(&self) -> i64 {
        self.from_ms.saturating_add(self.step_ms.saturating_mul(self.known.len() as i64))
    }

    /// Of each step, all kinds together.
    fn totals(&self) -> Vec<u64> {
        let total = |step: usize| self.bands.iter().map(|band| band.counts.get(step).copied().unwrap_or(0)).sum();
        (0..self.known.len()).map(total).collect()
    }

    fn axes(&self, size: Size) -> Axes {
        let values = ticks(self.totals().into_iter().max().unwrap_or(0), 4);
        let largest = values.last().copied().unwrap_or(1) as f64;
        Axes {
            size,
            x: Scale {
                domain: (self.from_ms as f64, self.to_ms() as f64),
                range: (size.left, size.width - size.right),
            },
            y: Scale { domain: (0.0, largest), range: (size.height - BOTTOM, TOP) },
            values,
        }
    }

    fn svg(&self, size: Size) -> String {
        let axes = self.axes(size);
        let (id, class, Size { width, height, .. }) = (self.id, size.class, size);
        let (title, description) = (escape(&self.title), escape(&self.description));
        let body = [
            axes.grid(&self.unit),
            self.gaps(&axes),
            self.shades(&axes),
            self.bands(&axes),
            self.marks(&axes),
            self.times(&axes),
            if size.labels { self.labels(&axes) } else { String::new() },
        ];
        format!(
            "<svg class=\"{class}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{id}-{class}-title {id}-{class}-text\" \
             data-left=\"{left:.0}\" data-right=\"{right:.0}\"><title id=\"{id}-{class}-title\">{title}</title><desc \
             id=\"{id}-{class}-text\">{description}</desc>{body}</svg>",
            left = axes.x.range.0,
            right = axes.x.range.1,
            body = body.concat()
        )
    }

    /// A path a kind: a column for each step that has some.
    fn bands(&self, axes: &Axes) -> String {
        let mut below = vec![0_u64; self.known.len()];
        let mut html = String::new();
        for band in &self.bands {
            let mut path = String::new();
            for (step, base) in below.iter_mut().enumerate() {
                let count = band.counts.get(step).copied().unwrap_or(0);
                if count > 0 {
                    let (left, right) = self.sides(step, axes);
                    let (low, high) = (axes.y.at(*base as f64), axes.y.at(base.saturating_add(count) as f64));
                    let _ = write!(path, "M{left:.1} {low:.1}V{high:.1}H{right:.1}V{low:.1}z"); // writing to a String cannot fail
                }
                *base = base.saturating_add(count);
            }
            if !path.is_empty() {
                let _ = write!(html, "<path class=\"band {}\" d=\"{path}\"/>", band.family.class());
            }
        }
        html
    }

    /// Left and right of a step's column.
    fn sides(&self, step: usize, axes: &Axes) -> (f64, f64) {
        let begin = |step: usize| axes.x.at((self.from_ms + self.step_ms * step as i64) as f64);
        let (left, right) = (begin(step), begin(step + 1));
        // Thin columns touch, wide ones have a line between them.
        (left, if right - left > 4.0 { right - 1.0 } else { right })
    }

    fn gap_words(&self) -> &'static str {
        self.gaps_are.unwrap_or("no data")
    }

    /// Runs of steps of which nothing is known.
    fn gaps(&self, axes: &Axes) -> String {
        let words = self.gap_words();
        let mut html = String::new();
        let mut begin = None;
        for step in 0..=self.known.len() {
            let known = self.known.get(step).copied().unwrap_or(true);
            match (known, begin) {
                (false, None) => begin = Some(step),
                (true, Some(first)) => {
                    let (left, right) = (self.sides(first, axes).0, self.sides(step - 1, axes).1);
                    let (top, bottom) = (axes.y.range.1, axes.y.range.0);
                    let _ = write!(
                        html,
                        "<rect class=\"gap\" x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\"><title>{words}</title></rect>",
                        right - left,
                        bottom - top
                    );
                    if right - left > 56.0 {
                        let _ = write!(
                            html,
                            "<text class=\"faint\" text-anchor=\"middle\" x=\"{:.1}\" y=\"{:.1}\">{words}</text>",
                            f64::midpoint(left, right),
                            bottom - 6.0
                        );
                    }
                    begin = None;
                }
                _ => {}
            }
        }
        html
    }

    fn shades(&self, axes: &Axes) -> String {
        let shown = self.shades.iter().filter(|shade| shade.to_ms > self.from_ms && shade.from_ms < self.to_ms());
        shown.fold(String::new(), |mut html, shade| {
            let left = axes.x.at(shade.from_ms.max(self.from_ms) as f64);
            let right = axes.x.at(shade.to_ms.min(self.to_ms()) as f64);
            let (top, height) = (axes.y.range.1, axes.y.range.0 - axes.y.range.1);
            let _ = write!(
                html,
                "<rect class=\"shade\" x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{height}\"><title>{}</title></rect>",
                (right - left).max(2.0),
                escape(&shade.label)
            );
            html
        })
    }

    fn marks(&self, axes: &Axes) -> String {
        let shown = self.marks.iter().filter(|mark| (self.from_ms..self.to_ms()).contains(&mark.at_ms));
        let mut free_from = f64::MIN;
        shown.fold(String::new(), |mut html, mark| {
            let (x, top, bottom) = (axes.x.at(mark.at_ms as f64), axes.y.range.1, axes.y.range.0);
            let label = escape(&mark.label);
            let _ = write!(html, "<path class=\"mark\" d=\"M{x:.1} {bottom}V{top}\"><title>{label}</title></path>");
            let width = 6.2 * mark.label.chars().count() as f64;
            if x > free_from && x + width < axes.size.width {
                let _ =
                    write!(html, "<text class=\"faint\" x=\"{:.1}\" y=\"{:.1}\">{label}</text>", x + 3.0, top + 8.0);
                free_from = x + width + 8.0;
            }
            html
        })
    }

    fn times(&self, axes: &Axes) -> String {
        let room = (axes.x.range.1 - axes.x.range.0) / TIME_WIDTH;
        let (ticks, are_days) = time_ticks(self.from_ms, self.to_ms(), room as i64);
        let y = axes.size.height - 6.0;
        ticks.into_iter().fold(String::new(), |mut html, at| {
            let x = axes.x.at(at as f64);
            let is_midnight = at.rem_euclid(86_400_000) == 0;
            let text = if are_days || is_midnight { utc(at, Format::Day) } else { utc(at, Format::Clock)[..5].to_owned() };
            let days = if are_days { " data-days" } else { "" };
            let _ = write!(
                html,
                "<path class=\"grid\" d=\"M{x:.1} {bottom}v4\"/><text class=\"tick\" text-anchor=\"middle\" x=\"{x:.1}\" y=\"{y}\" data-tick=\"{at}\"{days}>{text}</text>",
                bottom = axes.y.range.0
            );
            html
        })
    }

    /// The names of the kinds beside their last columns, moved apart where they would touch.
    fn labels(&self, axes: &Axes) -> String {
        let last = self.totals().iter().rposition(|total| *total > 0);
        let mut base = 0;
        let mut labels: Vec<(f64, Family)> = Vec::new();
        for band in self.bands.iter().filter(|band| band.counts.iter().any(|count| *count > 0)) {
            let count = last.and_then(|step| band.counts.get(step)).copied().unwrap_or(0);
            labels.push((axes.y.at(base as f64 + count as f64 / 2.0), band.family));
            base += count;
        }
        let mut lowest = axes.y.range.0;
        for (y, _) in &mut labels {
            *y = y.min(lowest);
            lowest = *y - LINE;
        }
        // Pushed above the top: from there downwards again.
        let mut highest = axes.y.range.1 + 4.0;
        for (y, _) in labels.iter_mut().rev() {
            *y = y.max(highest);
            highest = *y + LINE;
        }
        let x = axes.x.range.1 + 8.0;
        labels.into_iter().fold(String::new(), |mut html, (y, family)| {
            let _ = write!(
                html,
                "<text class=\"name {}\" x=\"{x:.1}\" y=\"{:.1}\">{}</text>",
                family.class(),
                y + 4.0,
                family.words()
            );
            html
        })
    }

    fn table(&self) -> Markup {
        let shown: Vec<_> = self.bands.iter().filter(|band| band.counts.iter().any(|count| *count > 0)).collect();
        let mut columns = vec![Column::Row("From")];
        columns.extend(shown.iter().map(|band| Column::Number(band.family.words())));
        columns.push(Column::Number("Together"));
        let totals = self.totals();
        let row = |step: usize| {
            let at = self.from_ms + self.step_ms * step as i64;
            let mut cells = vec![moment(at, Format::Minute)];
            if self.known[step] {
                cells.extend(shown.iter().map(|band| number(band.counts.get(step).copied().unwrap_or(0)).into()));
                let (first, end) = self.counted_ms.unwrap_or((i64::MIN, i64::MAX));
                let (from_ms, to_ms) = (at.max(first), at.saturating_add(self.step_ms).min(end));
                cells.push(self.events.clone().within(from_ms, to_ms).number(totals[step]));
            } else {
                cells.extend((0..=shown.len()).map(|_| self.gap_words().into()));
            }
            cells
        };
        let told = (0..self.known.len()).filter(|step| totals[*step] > 0 || !self.known[*step]);
        scroll(&format!("{}, {}", self.title, self.unit), &columns, &told.map(row).collect::<Vec<_>>())
    }
}

impl Axes {
    fn grid(&self, unit: &str) -> String {
        let (left, right) = self.x.range;
        let mut html = format!("<text class=\"tick\" x=\"0\" y=\"11\">{}</text>", escape(unit));
        for value in &self.values {
            let y = self.y.at(*value as f64);
            let _ = write!(
                html,
                "<path class=\"grid\" d=\"M{left:.1} {y:.1}H{right:.1}\"/><text class=\"tick\" text-anchor=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                left - 6.0,
                y + 4.0,
                compact(*value as f64)
            );
        }
        html
    }
}

#[cfg(test)]
mod tests;
