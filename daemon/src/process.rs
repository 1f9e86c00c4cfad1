//! Metrics of the process itself: CPU, memory, threads, files, and the async
//! runtime's work. Read from `/proc` whenever metrics are read.

use std::sync::OnceLock;
use std::time::Instant;

use tokio::runtime::Handle;

use crate::metric::{Instrument, Label, Observable};

/// In the order of `docs/METRICS.md`.
pub static METRICS: &[&'static dyn Instrument] =
    &[&CPU, &MEMORY, &VIRTUAL, &THREADS, &FILES, &UPTIME, &TASKS, &QUEUE];

static CPU: Observable = Observable::counter(
    "process.cpu.time",
    "s",
    "CPU seconds of this process",
    &[Label { name: "cpu.mode", values: &["user", "system"] }],
);
static MEMORY: Observable = Observable::gauge("process.memory.usage", "By", "resident memory", &[]);
static VIRTUAL: Observable = Observable::gauge("process.memory.virtual", "By", "virtual memory", &[]);
static THREADS: Observable = Observable::gauge("process.threads", "{thread}", "threads", &[]);
static FILES: Observable =
    Observable::gauge("process.open_fds", "{file_descriptor}", "open file descriptors", &[]);
static UPTIME: Observable = Observable::gauge("process.uptime", "s", "since the process began", &[]);
static TASKS: Observable = Observable::gauge(
    "switchboard.runtime.tasks",
    "{task}",
    "tasks of the async runtime that are alive",
    &[],
);
static QUEUE: Observable = Observable::gauge(
    "switchboard.runtime.queue.depth",
    "{task}",
    "tasks that wait in the runtime's shared queue",
    &[],
);

/// Clock ticks per second in `/proc`: 100 on every Linux (`getconf CLK_TCK`).
const TICKS_A_SECOND: f64 = 100.0;
/// Fields of `/proc/self/stat` after the program's name (proc_pid_stat(5)).
const USER_TICKS: usize = 11;
const SYSTEM_TICKS: usize = 12;

/// Starts to report. A second call in a process has the same start time.
pub(crate) fn observe(runtime: &Handle) {
    static BEGUN: OnceLock<Instant> = OnceLock::new();
    let begun = *BEGUN.get_or_init(Instant::now);
    CPU.observe(&["user"], || stat(USER_TICKS).map(|ticks| ticks / TICKS_A_SECOND));
    CPU.observe(&["system"], || stat(SYSTEM_TICKS).map(|ticks| ticks / TICKS_A_SECOND));
    MEMORY.observe(&[], || status("VmRSS:").map(|kib| kib * 1024.0));
    VIRTUAL.observe(&[], || status("VmSize:").map(|kib| kib * 1024.0));
    THREADS.observe(&[], || status("Threads:"));
    FILES.observe(&[], || {
        // Without the descriptor that reads the folder.
        Some((std::fs::read_dir("/proc/self/fd").ok()?.count() as f64 - 1.0).max(0.0))
    });
    UPTIME.observe(&[], move || Some(begun.elapsed().as_secs_f64()));
    let of = runtime.metrics();
    TASKS.observe(&[], move || Some(of.num_alive_tasks() as f64));
    let of = runtime.metrics();
    QUEUE.observe(&[], move || Some(of.global_queue_depth() as f64));
}

fn stat(field: usize) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The program's name may contain blanks and brackets; the last bracket ends
    // it.
    let (_, fields) = text.rsplit_once(')')?;
    fields.split_ascii_whitespace().nth(field)?.parse().ok()
}

fn status(name: &str) -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_cpu_time() {
        assert!(status("VmRSS:").unwrap() > 500.0);
        assert!(status("Threads:").unwrap() >= 1.0);
        assert!(stat(USER_TICKS).is_some() && stat(SYSTEM_TICKS).is_some());
    }
}
