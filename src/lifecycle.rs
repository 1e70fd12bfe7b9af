//! Start and end of everything that runs beside requests: signals, shutdown tokens, tasks.
//!
//! A shutdown has two steps. The *soft* token says that one was asked for: listeners stop
//! accepting, syncs that wait answer at once, tasks finish what they hold. The *hard* token
//! ends what is left: after the time that [`Lifecycle::drain`] was given, or at the second
//! signal.

use std::{
    future::Future,
    io,
    panic::AssertUnwindSafe,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::watch,
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long the program waits for tasks by habit, once a shutdown was asked for.
pub const GRACE: Duration = Duration::from_secs(30);

/// How long tasks that were cut off may take to notice.
const AFTER_ABORT: Duration = Duration::from_secs(5);

/// Whether the server can go on without a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Weight {
    Critical,
    Optional,
}

/// How the tasks ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All finished by themselves.
    Finished,
    /// Some were cut off.
    Aborted,
    /// So many did not even end then, because they block a thread.
    Stuck(usize),
}

/// Runs tasks and ends them. Clones share everything.
#[derive(Clone, Debug)]
pub struct Lifecycle {
    soft: CancellationToken,
    hard: CancellationToken,
    tasks: TaskTracker,
    reloads: watch::Sender<u64>,
    failed: Arc<AtomicBool>,
}

impl Default for Lifecycle {
    fn default() -> Self {
        Self::new()
    }
}

impl Lifecycle {
    /// A life that has just begun. Signals are not listened to yet.
    pub fn new() -> Self {
        Self {
            soft: CancellationToken::new(),
            hard: CancellationToken::new(),
            tasks: TaskTracker::new(),
            reloads: watch::Sender::new(0),
            failed: Arc::default(),
        }
    }

    /// Listens to SIGTERM and SIGINT (the first asks for a shutdown, the second cuts off) and to
    /// SIGHUP (read the configuration again).
    ///
    /// # Errors
    ///
    /// The system refuses.
    pub fn listen_to_signals(&self) -> io::Result<()> {
        let terminate = signal(SignalKind::terminate())?;
        let interrupt = signal(SignalKind::interrupt())?;
        let hangup = signal(SignalKind::hangup())?;
        // Not among the tasks: it listens until they have ended.
        run(self.clone().follow_signals(terminate, interrupt, hangup));
        Ok(())
    }

    /// Runs a task that the server can do without. If it panics, that is logged.
    ///
    /// The task is cut off at the hard token; it should end by itself at the soft one.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        self.run_task(name, Weight::Optional, task);
    }

    /// Runs a task that the server cannot do without. If it panics, or ends before a shutdown
    /// was asked for, that is logged and asks for one.
    pub fn spawn_critical(
        &self,
        name: &'static str,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        self.run_task(name, Weight::Critical, task);
    }

    /// Asks for a shutdown. Asking twice is asking once.
    pub fn request_shutdown(&self, reason: &str) {
        if !self.soft.is_cancelled() {
            tracing::info!(reason, "shutting down");
            self.soft.cancel();
        }
    }

    /// Whether a critical task asked for the shutdown, by its end.
    pub fn has_failed(&self) -> bool {
        self.failed.load(Ordering::SeqCst)
    }

    /// Cuts off what is still running.
    pub fn abort(&self) {
        self.soft.cancel();
        self.hard.cancel();
    }

    /// Waits until a shutdown is asked for.
    pub async fn shutdown_requested(&self) {
        self.soft.cancelled().await;
    }

    /// The token that says that a shutdown was asked for, for what waits long.
    pub fn soft(&self) -> CancellationToken {
        self.soft.clone()
    }

    /// The token that says that what still runs is cut off.
    pub fn hard(&self) -> CancellationToken {
        self.hard.clone()
    }

    /// Changes each time somebody asks that the configuration is read again. The number counts
    /// how often.
    pub fn reloads(&self) -> watch::Receiver<u64> {
        self.reloads.subscribe()
    }

    /// Asks that the configuration is read again.
    pub fn request_reload(&self) {
        self.reloads
            .send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Waits until a shutdown is asked for and the tasks have ended, which they have `grace` for
    /// (see [`GRACE`]).
    pub async fn drain(&self, grace: Duration) -> Drained {
        self.shutdown_requested().await;
        self.tasks.close();
        let in_time = tokio::select! {
            ended = timeout(grace, self.tasks.wait()) => ended.is_ok(),
            () = self.hard.cancelled() => false,
        };
        if in_time && !self.hard.is_cancelled() {
            return Drained::Finished;
        }
        tracing::warn!(
            tasks = self.tasks.len(),
            "cutting off the tasks that still run"
        );
        self.hard.cancel();
        match timeout(AFTER_ABORT, self.tasks.wait()).await {
            Ok(()) => Drained::Aborted,
            Err(_) => Drained::Stuck(self.tasks.len()),
        }
    }

    fn run_task(
        &self,
        name: &'static str,
        weight: Weight,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        let life = self.clone();
        run(self.tasks.track_future(async move {
            let ended = tokio::select! {
                ended = AssertUnwindSafe(task).catch_unwind() => ended,
                () = life.hard.cancelled() => return,
            };
            // What it panicked with was logged by the panic hook, where it happened.
            match ended {
                Err(_) => tracing::error!(task = name, "a task panicked"),
                Ok(()) if weight == Weight::Critical && !life.soft.is_cancelled() => {
                    tracing::error!(task = name, "a task ended that should not have");
                }
                Ok(()) => return,
            }
            if weight == Weight::Critical {
                life.failed.store(true, Ordering::SeqCst);
                life.request_shutdown(name);
            }
        }));
    }

    async fn follow_signals(
        self,
        mut terminate: Signal,
        mut interrupt: Signal,
        mut hangup: Signal,
    ) {
        loop {
            let name = tokio::select! {
                // `None` means that the runtime ends.
                Some(()) = terminate.recv() => "SIGTERM",
                Some(()) = interrupt.recv() => "SIGINT",
                Some(()) = hangup.recv() => {
                    self.request_reload();
                    continue;
                }
                else => return,
            };
            if self.soft.is_cancelled() {
                tracing::warn!(signal = name, "a second signal");
                self.hard.cancel();
                return;
            }
            self.request_shutdown(name);
        }
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where tasks are spawned"
)]
fn run(task: impl Future<Output = ()> + Send + 'static) {
    drop(tokio::spawn(task));
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use rustix::process::{Signal, getpid, kill_process};

    use super::*;

    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn tasks_that_heed_the_soft_token_finish() {
        let life = Lifecycle::new();
        let soft = life.soft();
        life.spawn("waiter", async move { soft.cancelled().await });
        life.request_shutdown("test");
        assert_eq!(life.drain(LONG).await, Drained::Finished);
    }

    #[tokio::test]
    async fn tasks_that_do_not_are_cut_off_after_their_time() {
        let life = Lifecycle::new();
        life.spawn("sleeper", pending());
        life.request_shutdown("test");
        assert_eq!(life.drain(Duration::ZERO).await, Drained::Aborted);
    }

    #[tokio::test]
    async fn a_panic_in_a_critical_task_asks_for_a_shutdown() {
        let life = Lifecycle::new();
        life.spawn_critical("bad", async { panic!("on purpose") });
        life.shutdown_requested().await;
        assert!(life.has_failed());
        assert_eq!(life.drain(LONG).await, Drained::Finished);
    }

    #[tokio::test]
    async fn a_critical_task_that_ends_early_asks_for_a_shutdown() {
        let life = Lifecycle::new();
        life.spawn_critical("short", async {});
        life.shutdown_requested().await;
    }

    #[tokio::test]
    async fn a_panic_in_another_task_does_not() {
        let life = Lifecycle::new();
        life.spawn("bad", async { panic!("on purpose") });
        life.tasks.close();
        life.tasks.wait().await;
        assert!(!life.soft().is_cancelled());
    }

    #[tokio::test]
    async fn signals_reload_then_drain_then_cut_off() {
        let life = Lifecycle::new();
        let mut reloads = life.reloads();
        life.spawn("sleeper", pending());
        life.listen_to_signals().unwrap();

        kill_process(getpid(), Signal::HUP).unwrap();
        reloads.changed().await.unwrap();
        assert_eq!(*reloads.borrow(), 1);
        assert!(!life.soft().is_cancelled());

        kill_process(getpid(), Signal::TERM).unwrap();
        life.shutdown_requested().await;
        assert!(!life.hard().is_cancelled());

        kill_process(getpid(), Signal::INT).unwrap();
        assert_eq!(life.drain(LONG).await, Drained::Aborted);
    }
}
