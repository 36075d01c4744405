//! Each case in a process of its own: a crash or a hang of one does not lose the rest.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use serde::Serialize;

use crate::case::Case;
use crate::duel::Progress;

/// How a case ended.
#[derive(Debug, Serialize)]
pub struct Ended {
    /// The case.
    #[serde(flatten)]
    pub case: Case,
    /// `None` when it went through.
    pub problem: Option<String>,
    /// What is known of it.
    #[serde(flatten)]
    pub progress: Progress,
}

/// Runs this program again for one case, for `limit` at most.
pub fn run(case: Case, arguments: &[String], limit: Duration) -> Result<Ended> {
    // burn keeps tuning results; a first call is only one in a folder and with a cache that nobody used.
    let folder = tempfile::tempdir().context("a folder for the child")?;
    let mut child = Command::new(std::env::current_exe().context("the path of this program")?)
        .args(["--child", case.name])
        .args(arguments)
        .current_dir(&folder)
        .env("CUBECL_AUTOTUNE_CACHE", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting a child")?;
    let stdout = child.stdout.take().ok_or_else(|| anyhow!("a child without output"))?;
    let mut stderr = child.stderr.take().ok_or_else(|| anyhow!("a child without errors"))?;
    let (sender, lines) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            // Others in the process may print as well.
            if let Ok(progress) = serde_json::from_str::<Progress>(&line) {
                if sender.send(progress).is_err() {
                    return;
                }
            }
        }
    });
    let complaints = thread::spawn(move || {
        let mut text = Vec::new();
        // What cannot be read is missing from a message, no more.
        let _ = stderr.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    });
    let deadline = Instant::now() + limit;
    let mut progress = Progress::default();
    let timed_out = loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(now) => {
                progress = now;
                if progress.doing == "done" {
                    // Threads of a driver may take their time to end; nobody waits for them.
                    break false;
                }
            }
            Err(RecvTimeoutError::Timeout) => break true,
            Err(RecvTimeoutError::Disconnected) => break false,
        }
    };
    if timed_out || progress.doing == "done" {
        // Fails only where the child has ended by itself.
        let _ = child.kill();
    }
    let status = child.wait().context("waiting for a child")?;
    let doing = &progress.doing;
    let problem = if progress.doing == "done" {
        None
    } else if timed_out {
        Some(format!("{doing}: no end within {} s", limit.as_secs()))
    } else {
        let complaints = complaints.join().unwrap_or_default();
        let last = complaints.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("no message").to_owned();
        Some(format!("{doing}: {status}: {last}"))
    };
    Ok(Ended { case, problem, progress })
}
