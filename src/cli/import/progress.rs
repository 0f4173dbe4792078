//! How an import shows that it moves: a bar on a terminal, a line every few seconds elsewhere.

use std::{
    io::IsTerminal,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::terminal::{self, grouped};

/// Between two lines where there is no terminal.
const PLAIN_EVERY: Duration = Duration::from_secs(5);

/// The progress of one input.
pub struct Progress {
    name: String,
    size: Option<u64>,
    started: Instant,
    look: Look,
}

enum Look {
    Bar(ProgressBar),
    Plain { last: Instant },
}

/// The bar that is on the terminal, so that notes do not run through it.
static SHOWN: Mutex<Option<ProgressBar>> = Mutex::new(None);

impl Progress {
    /// Begins to show an input of `size` stored bytes.
    pub fn begin(name: &str, size: Option<u64>) -> Self {
        let started = Instant::now();
        let name = terminal::cut(&terminal::clean(name), 40);
        let look =
            if std::io::stderr().is_terminal() { Look::Bar(bar(&name, size)) } else { Look::Plain { last: started } };
        if let Look::Bar(bar) = &look {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = Some(bar.clone());
        }
        Self { name, size, started, look }
    }

    /// Shows that so many stored bytes and events of this run are done.
    pub fn at(&mut self, position: u64, events: u64) {
        let rate = (events as f64 / self.started.elapsed().as_secs_f64().max(0.001)) as u64;
        let message = format!("{} events, {}/s", grouped(events), grouped(rate));
        match &mut self.look {
            Look::Bar(bar) => {
                bar.set_position(position);
                bar.set_message(message);
            }
            Look::Plain { last } if last.elapsed() >= PLAIN_EVERY => {
                *last = Instant::now();
                let percent = self.size.filter(|size| *size > 0).map(|size| format!("{} %, ", position * 100 / size));
                terminal::note(&format!("{}: {}{message}", self.name, percent.unwrap_or_default()));
            }
            Look::Plain { .. } => {}
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if let Look::Bar(bar) = &self.look {
            *SHOWN.lock().unwrap_or_else(PoisonError::into_inner) = None;
            bar.finish_and_clear();
        }
    }
}

/// A note beside the progress.
pub fn note(text: &str) {
    let text = terminal::clean_text(text);
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner).clone();
    match shown {
        Some(bar) => bar.suspend(|| terminal::note(&text)),
        None => terminal::note(&text),
    }
}

fn bar(name: &str, size: Option<u64>) -> ProgressBar {
    let template = match size {
        Some(_) => "{prefix} {bar:24} {percent:>3} %  {msg}  {eta} left",
        None => "{prefix} {spinner} {bytes}  {msg}",
    };
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    let bar = ProgressBar::with_draw_target(size, ProgressDrawTarget::stderr_with_hz(8));
    bar.set_style(style.progress_chars("━━ "));
    bar.set_prefix(name.to_owned());
    bar
}
