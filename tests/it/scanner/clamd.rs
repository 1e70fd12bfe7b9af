//! A stand-in for `ClamAV`, which speaks its `INSTREAM` and finds one virus.

use std::{
    io::{self, Read, Write},
    os::unix::net::{UnixListener, UnixStream},
    sync::{Arc, Mutex},
    thread,
};

use tempfile::TempDir;

/// The file that all engines take for a virus, for tests; in two pieces, so that none takes this file
/// for one.
pub(super) const EICAR: &[u8] = concat!(
    r"X5O!P%@AP[4\PZX54(P^)7CC)7}$EICAR",
    r"-STANDARD-ANTIVIRUS-TEST-FILE!$H+H*"
)
.as_bytes();

/// The stand-in. It ends with this value.
pub(super) struct Clamd {
    folder: TempDir,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// What was sent, one after the other.
    files: Vec<Vec<u8>>,
    /// What it answers, whatever it is sent.
    answer: Option<&'static str>,
}

impl Clamd {
    pub(super) fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let listener = UnixListener::bind(folder.path().join("clamd")).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { folder, state }
    }

    pub(super) fn path(&self) -> String {
        self.folder.path().join("clamd").display().to_string()
    }

    /// Nobody can reach it any more.
    pub(super) fn stop(&self) {
        std::fs::remove_file(self.path()).unwrap();
    }

    /// Answers this from now on.
    pub(super) fn answer(&self, answer: &'static str) {
        self.state.lock().unwrap().answer = Some(answer);
    }

    /// Answers by what it is sent from now on.
    pub(super) fn answer_by_content(&self) {
        self.state.lock().unwrap().answer = None;
    }

    /// How many files it has seen.
    pub(super) fn scans(&self) -> usize {
        self.state.lock().unwrap().files.len()
    }

    /// Whether it has seen this.
    pub(super) fn saw(&self, bytes: &[u8]) -> bool {
        self.state
            .lock()
            .unwrap()
            .files
            .iter()
            .any(|file| file == bytes)
    }
}

fn serve(mut stream: UnixStream, state: &Mutex<State>) {
    let Ok(file) = read(&mut stream) else { return };
    let found = file.windows(EICAR.len()).any(|window| window == EICAR);
    let answer = {
        let mut state = state.lock().unwrap();
        state.files.push(file);
        state.answer
    };
    let said = match answer {
        Some("hangs") => {
            // Until the other side gives up.
            let _ = stream.read(&mut [0; 1]);
            return;
        }
        Some(answer) => answer.to_owned(),
        None if found => "stream: Eicar-Signature FOUND\0".to_owned(),
        None => "stream: OK\0".to_owned(),
    };
    let _ = stream.write_all(said.as_bytes());
}

fn read(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut command = [0; 10];
    stream.read_exact(&mut command)?;
    assert_eq!(&command, b"zINSTREAM\0");
    let mut file = Vec::new();
    loop {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length);
        if length == 0 {
            return Ok(file);
        }
        let mut piece = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut piece)?;
        file.extend_from_slice(&piece);
    }
}
