//! The server's main process: started by us, or left behind by a process that was killed.

use std::{
    fs::{self, File},
    io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::process::Child;

use super::{ClusterError, binaries::Chosen, failed, place::Place};

/// All that it takes to start the server.
#[derive(Debug)]
pub(super) struct Launch {
    binaries: Chosen,
    pub(super) place: Place,
}

/// The server's main process. Dropped, it is asked to stop, unless it was let go.
#[derive(Debug)]
pub(super) struct Process {
    kind: Kind,
    /// Where its data are: a process id alone may be another process by now.
    data: PathBuf,
    is_left: bool,
}

#[derive(Debug)]
enum Kind {
    Child(Child),
    Adopted(Pid),
}

impl Launch {
    pub(super) fn new(binaries: Chosen, place: Place) -> Self {
        Self { binaries, place }
    }

    /// Starts the server.
    pub(super) fn spawn(&self) -> Result<Process, ClusterError> {
        let path = self.place.startup_log();
        let log = File::create(&path).map_err(failed("write", &path))?;
        let copy = log.try_clone().map_err(failed("write", &path))?;
        let program = self.binaries.program("postgres");
        let mut setting = std::ffi::OsString::from("config_file=");
        setting.push(self.place.settings_file());
        self.place.make_private(self.place.socket())?;
        let child = self
            .binaries
            .command("postgres", self.place.account())
            .arg("-D")
            .arg(self.place.data())
            .arg("-c")
            .arg(setting)
            .stdout(Stdio::from(copy))
            .stderr(Stdio::from(log))
            .spawn()
            .map_err(failed("run", program))?;
        Ok(Process {
            kind: Kind::Child(child),
            data: self.place.data(),
            is_left: false,
        })
    }

    /// The server that an earlier process left in the data folder, and whether it runs our binary.
    ///
    /// A pid file that names a process of somebody else is removed: PostgreSQL would take that
    /// process for its own, and not start. One that names no process it replaces by itself.
    pub(super) fn left_behind(&self) -> Result<Option<(Process, bool)>, ClusterError> {
        let data = self.place.data();
        let file = data.join("postmaster.pid");
        let Some(pid) = read_pid(&file) else {
            return Ok(None);
        };
        if is_server_of(pid, &data) {
            let running = Path::new("/proc").join(pid.to_string()).join("exe");
            let same_binary = is_same_file(&running, &self.binaries.program("postgres"));
            let process = Process {
                kind: Kind::Adopted(pid),
                data,
                is_left: false,
            };
            return Ok(Some((process, same_binary)));
        }
        if test_kill_process(pid).is_ok() {
            tracing::warn!("a pid file names a process that is not PostgreSQL: it is removed");
            fs::remove_file(&file).map_err(failed("remove", &file))?;
        }
        Ok(None)
    }

    /// Why the server did not start, in its own words.
    pub(super) fn start_error(&self) -> ClusterError {
        let said = fs::read(self.place.startup_log()).unwrap_or_default();
        let said = String::from_utf8_lossy(&said);
        let reasons: Vec<&str> = said
            .lines()
            .filter(|line| !line.contains("HINT:") && !line.contains("DETAIL:"))
            .filter_map(|line| line.split_once(":  "))
            .map(|(_, reason)| reason.trim())
            .collect();
        let start = reasons.len().saturating_sub(2);
        ClusterError::Start {
            reason: reasons.get(start..).unwrap_or_default().join("; "),
            log: self.place.data().join("log"),
        }
    }
}

impl Process {
    /// Whether it is gone.
    pub(super) fn has_exited(&mut self) -> bool {
        match &mut self.kind {
            Kind::Child(child) => !matches!(child.try_wait(), Ok(None)),
            Kind::Adopted(pid) => !is_server_of(*pid, &self.data),
        }
    }

    /// Sends a signal, unless it is gone.
    pub(super) fn signal(&mut self, signal: Signal) {
        if self.has_exited() {
            return;
        }
        let pid = match &self.kind {
            Kind::Child(child) => child.id().and_then(to_pid),
            Kind::Adopted(pid) => Some(*pid),
        };
        if let Some(pid) = pid
            && let Err(error) = kill_process(pid, signal)
        {
            tracing::warn!(%error, ?signal, "PostgreSQL cannot be sent a signal");
        }
    }

    /// Lets it run on after us.
    pub(super) fn leave(&mut self) {
        self.is_left = true;
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_left {
            self.signal(Signal::INT);
        }
    }
}

/// The process id in the first line of a pid file.
fn read_pid(file: &Path) -> Option<Pid> {
    let text = fs::read_to_string(file).ok()?;
    to_pid(text.lines().next()?.trim().parse().ok()?)
}

fn to_pid(number: u32) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// Whether a process is a server of these data: PostgreSQL works in its data folder.
fn is_server_of(pid: Pid, data: &Path) -> bool {
    if !Path::new("/proc/self").exists() {
        // Systems that do not tell: the one who may signal it has to be trusted.
        return test_kill_process(pid).is_ok();
    }
    is_same_file(&Path::new("/proc").join(pid.to_string()).join("cwd"), data)
}

/// Whether two paths lead to one file.
fn is_same_file(one: &Path, other: &Path) -> bool {
    let id = |path: &Path| -> io::Result<(u64, u64)> {
        let metadata = fs::metadata(path)?;
        Ok((metadata.dev(), metadata.ino()))
    };
    matches!((id(one), id(other)), (Ok(one), Ok(other)) if one == other)
}
