//! Showing how far an install is: a bar on a terminal, a line now and then elsewhere. All of it goes to standard error.

use std::{
    cell::Cell,
    io::IsTerminal,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Pause between two plain lines about one stage.
const LINE_PAUSE: Duration = Duration::from_secs(5);

/// Whether progress is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// A bar if standard error is a terminal, lines if not.
    #[default]
    Auto,
    Nothing,
}

#[derive(Clone, Copy)]
enum Style {
    Bar,
    Lines,
    Nothing,
}

pub(super) struct Progress(Style);

/// One stage of known size.
pub(super) struct Stage {
    name: &'static str,
    total: u64,
    bar: Option<ProgressBar>,
    /// When the next plain line is due; `None` if none ever is.
    next_line: Cell<Option<Instant>>,
}

impl Progress {
    pub fn new(show: Show) -> Self {
        Self(match show {
            Show::Nothing => Style::Nothing,
            Show::Auto if std::io::stderr().is_terminal() => Style::Bar,
            Show::Auto => Style::Lines,
        })
    }

    pub fn stage(&self, name: &'static str, total: u64) -> Stage {
        let (bar, next_line) = match self.0 {
            Style::Bar => (Some(bar(name, total)), None),
            Style::Lines => {
                eprintln!("engine: {name} ({} MB)", total / 1_000_000);
                (None, Some(Instant::now() + LINE_PAUSE))
            }
            Style::Nothing => (None, None),
        };
        Stage { name, total, bar, next_line: Cell::new(next_line) }
    }

    pub fn note(&self, text: &str) {
        if !matches!(self.0, Style::Nothing) {
            eprintln!("engine: {text}");
        }
    }

    pub fn done(&self, text: &str) {
        self.note(text);
    }
}

impl Stage {
    /// `bytes` of the total are done.
    pub fn at(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(bytes);
        }
        if let Some(due) = self.next_line.get()
            && Instant::now() >= due
        {
            eprintln!("engine: {} {} of {} MB", self.name, bytes / 1_000_000, self.total / 1_000_000);
            self.next_line.set(Some(Instant::now() + LINE_PAUSE));
        }
    }

    pub fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

impl Drop for Stage {
    /// A stage that failed must not leave its bar on the screen.
    fn drop(&mut self) {
        self.finish();
    }
}

fn bar(name: &'static str, total: u64) -> ProgressBar {
    let template = "engine: {msg:<12} [{bar:30}] {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    // A template that does not parse would be our own mistake; the plain bar does as well.
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::new(total).with_style(style.progress_chars("=> "));
    bar.set_message(name);
    bar
}
