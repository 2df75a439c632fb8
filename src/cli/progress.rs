//! What long work shows: a bar on a terminal, a line every ten seconds elsewhere.

use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use engine::metrics::Metrics;
use indicatif::{HumanBytes, HumanCount, HumanDuration, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often the bar is drawn: smooth for the eye.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);

/// How often a line is written where no one watches.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

/// The work's name, as the progress shows it.
#[derive(Clone, Debug)]
pub(super) struct Progress {
    pub(super) title: String,
}

/// Progress being shown by a thread of its own.
pub(super) struct Running {
    stop: Sender<bool>,
    thread: JoinHandle<()>,
}

impl Progress {
    /// Shows `metrics` until [`Running::finish`].
    pub(super) fn start(self, metrics: Arc<Metrics>) -> Running {
        let (stop, stopped) = mpsc::channel();
        let show = move || {
            let view = View::new(self.title);
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

struct View {
    title: String,
    start: Instant,
    bar: Option<ProgressBar>,
}

impl View {
    fn new(title: String) -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let style = ProgressStyle::with_template("{prefix} [{bar:30}] {percent:>3}% {msg}");
            let style = style.expect("the template is valid").progress_chars("=> ");
            ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr()).with_style(style)
        });
        if let Some(bar) = &bar {
            bar.set_prefix(title.clone());
        }
        Self {
            title,
            start: Instant::now(),
            bar,
        }
    }

    fn interval(&self) -> Duration {
        if self.bar.is_some() {
            DRAW_INTERVAL
        } else {
            LINE_INTERVAL
        }
    }

    fn show(&self, metrics: &Metrics) {
        let text = self.text(metrics);
        match &self.bar {
            Some(bar) => {
                if let Some((done, all)) = metrics.share_done() {
                    bar.set_length(all);
                    bar.set_position(done);
                }
                bar.set_message(text);
            }
            None => {
                let share = metrics.share_done().map(|share| format!("{:.1}%  ", percent(share)));
                eprintln!("{}: {}{text}", self.title, share.unwrap_or_default());
            }
        }
    }

    fn finish(&self, metrics: &Metrics, done: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if done {
            let seconds = self.start.elapsed().as_secs_f64();
            let (rows, bytes) = (metrics.rows_in.get(), metrics.bytes_in.get());
            let mut text = format!("{} rows, {} in {seconds:.1} s", HumanCount(rows), HumanBytes(bytes));
            let repaired = metrics.rows_repaired.get();
            if repaired > 0 {
                text.push_str(&format!(
                    "; {repaired} rows were not UTF-8 and were repaired with U+FFFD"
                ));
            }
            eprintln!("{}: {text}", self.title);
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
        let mut text = format!(
            "{} rows  {rows_rate} rows/s  {}/s",
            HumanCount(rows),
            HumanBytes(rate(bytes))
        );
        if let Some((done, all)) = metrics.share_done().filter(|&(done, all)| 0 < done && done < all) {
            let left = seconds / done as f64 * (all - done) as f64;
            text.push_str(&format!("  {} left", HumanDuration(Duration::from_secs_f64(left))));
        }
        text
    }
}

#[expect(clippy::cast_precision_loss, reason = "for the eye")]
fn percent((done, all): (u64, u64)) -> f64 {
    if all == 0 {
        100.0
    } else {
        done as f64 / all as f64 * 100.0
    }
}
