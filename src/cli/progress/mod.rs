//! What long work shows: a bar on a terminal, a line every ten seconds elsewhere, or JSON lines for programs.
//!
//! While the bar is there, everything else that goes to the standard error is written above it, through [`Stderr`] or
//! [`say`].

mod json;

use std::io::{self, IsTerminal, Write};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat};
use clap::{Args, ValueEnum};
use engine::metrics::Metrics;
use engine::pipeline::Job;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::json::{Facts, Lines};

/// How often the bar is drawn: smooth for the eye.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// How often a line is written where no one watches.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// How often JSON lines are written at most: as often as results are put out by default.
const JSON_INTERVAL: Duration = Duration::from_secs(1);

/// The bar that is on the terminal, if any.
static BAR: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// The work's name, and how its progress is shown.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    title: String,
    form: Form,
}

/// How the progress of a job is shown.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct ProgressArguments {
    /// How progress is shown on the standard error: text for people, or json, an object a line with the names of Spark's
    /// StreamingQueryProgress
    #[arg(long, value_name = "HOW", value_enum, default_value_t = Shown::Text)]
    progress: Shown,
}

impl ProgressArguments {
    /// Returns the progress of `job`, which is called `title`.
    pub(super) fn of(self, title: &str, job: &Job) -> Progress {
        self.with(title, || Facts::new(title, job))
    }

    /// Returns the progress of work that is no job, from `source` to `sink`.
    pub(super) fn of_work(self, title: &str, source: &str, sink: &str) -> Progress {
        self.with(title, || Facts::of_work(title, source, sink))
    }

    fn with(self, title: &str, facts: impl FnOnce() -> Facts) -> Progress {
        match self.progress {
            Shown::Text => Progress::new(title),
            Shown::Json => Progress {
                title: title.to_owned(),
                form: Form::Json(Box::new(facts())),
            },
        }
    }
}

/// How progress is shown, as the command line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shown {
    Text,
    Json,
}

#[derive(Clone, Debug)]
enum Form {
    Live,
    AtTheEnd,
    Json(Box<Facts>),
}

/// Progress being shown by a thread of its own.
pub(super) struct Running {
    stop: Sender<bool>,
    thread: JoinHandle<()>,
}

/// The standard error, above the bar.
pub(super) struct Stderr;

impl Progress {
    /// Returns the progress of `title`.
    pub(super) fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            form: Form::Live,
        }
    }

    /// Shows only the totals at the end.
    pub(super) fn at_the_end(self) -> Self {
        Self {
            form: Form::AtTheEnd,
            ..self
        }
    }

    /// Takes in the id that the job has by its checkpoint.
    #[must_use]
    pub(super) fn of_job(mut self, id: Option<&str>) -> Self {
        if let (Form::Json(facts), Some(id)) = (&mut self.form, id) {
            facts.set_id(id);
        }
        self
    }

    /// Shows `metrics` until [`Running::finish`].
    pub(super) fn start(self, metrics: Arc<Metrics>) -> Running {
        let (stop, stopped) = mpsc::channel();
        let show = move || {
            let mut view = View::new(self, &metrics);
            loop {
                match stopped.recv_timeout(view.interval()) {
                    Err(RecvTimeoutError::Timeout) => view.show(&metrics),
                    Ok(done) => return view.finish(&metrics, done),
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        };
        let thread = thread::spawn(show);
        Running { stop, thread }
    }
}

impl Running {
    /// Shows the totals if the work is done, and ends.
    pub(super) fn finish(self, done: bool) {
        // A view that panicked has nothing more to show.
        let _ = self.stop.send(done);
        let _ = self.thread.join();
    }
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &*bar() {
            Some(bar) => bar.suspend(|| io::stderr().write(bytes)),
            None => io::stderr().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

/// Writes a line to the standard error.
pub(super) fn say(line: &str) {
    // Who closed the standard error does not want to know.
    let _ = Stderr.write_all(format!("{line}\n").as_bytes());
}

/// Removes the bar, for a program that is about to end.
pub(super) fn clear() {
    if let Some(bar) = bar().take() {
        bar.finish_and_clear();
    }
}

struct View {
    title: String,
    start: Instant,
    is_live: bool,
    is_terminal: bool,
    json: Option<Lines>,
}

impl View {
    fn new(progress: Progress, metrics: &Metrics) -> Self {
        Self {
            title: progress.title,
            start: Instant::now(),
            is_live: matches!(progress.form, Form::Live),
            is_terminal: io::stderr().is_terminal(),
            json: match progress.form {
                Form::Json(facts) => Some(Lines::new(*facts, metrics)),
                Form::Live | Form::AtTheEnd => None,
            },
        }
    }

    fn interval(&self) -> Duration {
        match (&self.json, self.is_terminal) {
            (Some(_), _) => JSON_INTERVAL,
            (None, true) => DRAW_INTERVAL,
            (None, false) => LINE_INTERVAL,
        }
    }

    fn show(&mut self, metrics: &Metrics) {
        if let Some(line) = self.json.as_mut().and_then(|lines| lines.next(metrics)) {
            say(&line);
        }
        if !self.is_live {
            return;
        }
        let (text, share) = (self.text(metrics), metrics.share_done());
        if self.is_terminal {
            self.draw(text, share);
        } else {
            let share = share.map(|share| format!("{:.1}%  ", percent(share)));
            say(&format!("{}: {}{text}", self.title, share.unwrap_or_default()));
        }
    }

    /// Draws the bar; work without an end has none, only numbers.
    fn draw(&self, text: String, share: Option<(u64, u64)>) {
        let mut bar = bar();
        let bar = bar.get_or_insert_with(|| {
            let template = match share {
                Some(_) => "{prefix} [{bar:30}] {percent:>3}% {msg}",
                None => "{prefix}: {msg}",
            };
            let style = ProgressStyle::with_template(template).expect("the template is valid");
            let bar = ProgressBar::with_draw_target(share.map(|(_, all)| all), ProgressDrawTarget::hidden());
            bar.with_style(style.progress_chars("=> "))
                .with_prefix(self.title.clone())
        });
        if let Some((done, all)) = share {
            bar.set_length(all);
            bar.set_position(done);
        }
        bar.set_message(text);
        // Shown for the first time when all of it is set.
        if bar.is_hidden() {
            bar.set_draw_target(ProgressDrawTarget::stderr());
            bar.tick();
        }
    }

    fn finish(&mut self, metrics: &Metrics, done: bool) {
        clear();
        if let Some(lines) = &mut self.json {
            if let Some(line) = lines.finish(metrics) {
                say(&line);
            }
        } else if done {
            let seconds = self.start.elapsed().as_secs_f64();
            let (rows, bytes) = (metrics.rows_in.get(), metrics.bytes_in.get());
            let mut text = format!("{}, {} in {seconds:.1} s", rows_of(rows), HumanBytes(bytes));
            if metrics.files_out.get() > 0 {
                let (files, bytes) = (metrics.files_out.get(), metrics.bytes_out.get());
                text.push_str(&format!("; {} of {}", files_of(files), HumanBytes(bytes)));
            }
            for (count, one, many) in [
                (
                    metrics.rows_repaired.get(),
                    "was not UTF-8 and was repaired with U+FFFD",
                    "were not UTF-8 and were repaired with U+FFFD",
                ),
                (metrics.rows_bad.get(), "could not be decoded", "could not be decoded"),
                (metrics.rows_late.get(), "came too late", "came too late"),
            ] {
                match count {
                    0 => {}
                    1 => text.push_str(&format!("; 1 row {one}")),
                    _ => text.push_str(&format!("; {} {many}", rows_of(count))),
                }
            }
            let left_out = left_out(metrics);
            if !left_out.is_empty() {
                text.push_str(&format!("; {left_out}"));
            }
            say(&format!("{}: {text}", self.title));
        }
    }

    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "for the eye"
    )]
    fn text(&self, metrics: &Metrics) -> String {
        let seconds = self.start.elapsed().as_secs_f64().max(0.001);
        let rate = |total: u64| (total as f64 / seconds) as u64;
        let (rows, bytes) = (metrics.rows_in.get(), metrics.bytes_in.get());
        let rows_rate = HumanCount(rate(rows));
        let mut text = format!("{}  {rows_rate} rows/s  {}/s", rows_of(rows), HumanBytes(rate(bytes)));
        if metrics.files_out.get() > 0 {
            let (files, bytes) = (metrics.files_out.get(), metrics.bytes_out.get());
            text.push_str(&format!("  {}, {}/s out", files_of(files), HumanBytes(rate(bytes))));
        }
        if let Some((done, all)) = metrics.share_done().filter(|&(done, all)| 0 < done && done < all) {
            let left = seconds / done as f64 * (all - done) as f64;
            text.push_str(&format!("  {} left", HumanDuration(Duration::from_secs_f64(left))));
        }
        // Of work with an end the share says more.
        if let Some(lag) = metrics.lag().filter(|_| !metrics.is_bounded()) {
            text.push_str(&format!("  {} behind", HumanCount(lag)));
        }
        if metrics.groups.get() > 0 {
            let (groups, bytes) = (metrics.groups.get(), metrics.state_bytes.get());
            text.push_str(&format!("  {} groups in {}", HumanCount(groups), HumanBytes(bytes)));
        }
        if let Some(time) = metrics.watermark_micros().and_then(DateTime::from_timestamp_micros) {
            text.push_str(&format!(
                "  watermark {}",
                time.to_rfc3339_opts(SecondsFormat::Secs, true)
            ));
        }
        let left_out = left_out(metrics);
        if !left_out.is_empty() {
            text.push_str(&format!("  {left_out}"));
        }
        text
    }
}

/// Returns how many rows were bad and how many late, if any were.
fn left_out(metrics: &Metrics) -> String {
    let counts = [("bad", metrics.rows_bad.get()), ("late", metrics.rows_late.get())];
    let some = counts.iter().filter(|(_, count)| *count > 0);
    let some: Vec<_> = some
        .map(|(what, count)| format!("{} {what}", HumanCount(*count)))
        .collect();
    some.join(", ")
}

fn bar() -> MutexGuard<'static, Option<ProgressBar>> {
    BAR.lock().unwrap_or_else(PoisonError::into_inner)
}

fn rows_of(count: u64) -> String {
    let noun = if count == 1 { "row" } else { "rows" };
    format!("{} {noun}", HumanCount(count))
}

fn files_of(count: u64) -> String {
    let noun = if count == 1 { "file" } else { "files" };
    format!("{} {noun}", HumanCount(count))
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn percent((done, all): (u64, u64)) -> f64 {
    if all == 0 {
        100.0
    } else {
        done as f64 / all as f64 * 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_row_is_no_rows() {
        assert_eq!(rows_of(1), "1 row");
        assert_eq!(rows_of(8041), "8,041 rows");
        assert_eq!((percent((1, 4)), percent((0, 0))), (25.0, 100.0));
    }

    #[test]
    fn rows_left_out_are_told_by_their_kind() {
        let metrics = Metrics::default();
        assert_eq!(left_out(&metrics), "");
        metrics.rows_bad.add(1200);
        assert_eq!(left_out(&metrics), "1,200 bad");
        metrics.rows_late.add(3);
        assert_eq!(left_out(&metrics), "1,200 bad, 3 late");
    }
}
