//! Runs workers on a device until every pipeline has a row, and begins again after a driver that hangs or dies.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::row::{Document, Row};
use crate::vulkan::Facts;
use crate::worker::{Line, jobs};

/// Compiles all jobs on a device of `run.sh`; one that takes longer than `limit` gets no figures.
pub fn document(script: &Path, device: &str, limit: Duration, list: Option<&Path>) -> Result<Document> {
    let jobs = jobs(list)?;
    let mut rows: Vec<Row> = Vec::with_capacity(jobs.len());
    let mut facts: Option<Facts> = None;
    while rows.len() < jobs.len() {
        let first = rows.len();
        let (mut child, lines) = spawn(script, device, first, list)?;
        let mut begun = None;
        let why = loop {
            match lines.recv_timeout(limit) {
                Ok(Line::Device(found)) => facts = Some(found),
                Ok(Line::Begun(index)) => begun = Some(index),
                Ok(Line::Done(index, row)) if index == rows.len() => rows.push(*row),
                Ok(Line::Done(..)) => bail!("{device}: rows out of order"),
                Err(RecvTimeoutError::Timeout) => break format!("not compiled within {} s", limit.as_secs()),
                Err(RecvTimeoutError::Disconnected) => break "the compiler died".to_owned(),
            }
        };
        child.kill().ok();
        child.wait()?;
        if begun.is_none() {
            bail!("{device}: the driver does not open the device");
        }
        if rows.len() < jobs.len() {
            let job = &jobs[rows.len()];
            eprintln!("{device}: {}: {why}", job.name());
            rows.push(Row { key: job.key(), name: job.name(), figures: None, why: Some(why) });
        }
    }
    Ok(Document { device: facts.context("no worker said what the device is")?, pipelines: rows })
}

fn spawn(script: &Path, device: &str, first: usize, list: Option<&Path>) -> Result<(Child, Receiver<Line>)> {
    let mut child = Command::new("sh")
        .arg(script)
        .arg(device)
        .arg(std::env::current_exe()?)
        .args(["worker", "--first", &first.to_string()])
        .args(list.iter().flat_map(|list| [OsStr::new("--list"), list.as_os_str()]))
        .env("MESA_SHADER_CACHE_DISABLE", "true")
        // Honeykrisp shows its assembly in no other way.
        .env("AGX_MESA_DEBUG", "shaders")
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .context("sh")?;
    let stderr = child.stderr.take().context("no standard error")?;
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stderr).lines().map_while(Result::ok) {
            // Drivers print there too.
            if let Ok(line) = serde_json::from_str(&line)
                && send.send(line).is_err()
            {
                break;
            }
        }
    });
    Ok((child, receive))
}
