//! `supernode web`: serves the page that `make web` builds, to this computer only.

use std::fs::File;
use std::io::Cursor;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use tiny_http::{Header, Method, Request, Response, Server};

use crate::cli::error::Error;
use crate::cli::interrupt::interrupt_flag;
use crate::cli::output::print;

const EXAMPLES: &str = "\
Examples:
  supernode web --serve                 the page in out/web, which `make web` builds
  supernode web --serve page --port 0   another folder, at any free port

Only this computer reaches it. Ctrl-C ends it. Any other static host will do as well: see docs/BROWSER.md.";

/// How often Ctrl-C is looked for.
const PATIENCE: Duration = Duration::from_millis(100);
/// The page brings a policy of its own, which cannot forbid frames.
const POLICY_OF_PAGES: &str = "frame-ancestors 'none'";
/// Workers take theirs from here: scripts, modules and data of the folder, and nothing from anywhere else.
const POLICY_OF_FILES: &str =
    "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; connect-src 'self'; frame-ancestors 'none'";

/// Serve the tool as a web page, to this computer only
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES, arg_required_else_help = true)]
pub(super) struct Args {
    /// Serve the page in this folder [default: out/web]
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = "out/web", required = true)]
    serve: PathBuf,
    /// The port on 127.0.0.1; 0 takes any that is free
    #[arg(long, value_name = "N", default_value_t = 8384)]
    port: u16,
}

/// Serves until Ctrl-C.
///
/// # Errors
/// [`Error::Input`] for a folder without the page, and for a port that cannot be had.
pub(super) fn run(args: &Args) -> Result<(), Error> {
    let name = args.serve.display();
    let no_page = || {
        Error::Input(format!(
            "{name}: there is no page in this folder; build it with `make web`, or name another folder"
        ))
    };
    let folder = args.serve.canonicalize().map_err(|_| no_page())?;
    if !folder.join("index.html").is_file() {
        return Err(no_page());
    }
    let busy = |error: &dyn std::fmt::Display| {
        Error::Input(format!("port {}: cannot be had ({error}); give another, or --port 0 for any", args.port))
    };
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).map_err(|error| busy(&error))?;
    let address = listener.local_addr().map_err(|error| busy(&error))?;
    let server = Server::from_listener(listener, None).map_err(|error| busy(&error))?;
    let interrupted = interrupt_flag()?;
    print(&format!("{name} is at http://{address}/ for this computer; Ctrl-C ends it\n"))?;
    while !interrupted.load(Ordering::SeqCst) {
        let request = server.recv_timeout(PATIENCE).map_err(|error| Error::Input(format!("{address}: {error}")))?;
        if let Some(request) = request {
            let folder = folder.clone();
            // A slow reader holds up nobody else. One that goes away is no error.
            std::thread::spawn(move || answer(&folder, request).ok());
        }
    }
    Ok(())
}

fn answer(folder: &Path, request: Request) -> std::io::Result<()> {
    if !matches!(request.method(), Method::Get | Method::Head) {
        return request
            .respond(line(405, "only GET and HEAD are answered\n").with_header(header("Allow", "GET, HEAD")));
    }
    let Some((path, file)) = find(folder, request.url()) else {
        return request.respond(line(404, "there is no such file\n"));
    };
    let kind = content_type(&path);
    let policy = if kind.starts_with("text/html") { POLICY_OF_PAGES } else { POLICY_OF_FILES };
    let headers = [
        ("Content-Type", kind),
        ("Content-Security-Policy", policy),
        ("X-Content-Type-Options", "nosniff"),
        ("Referrer-Policy", "no-referrer"),
        ("Cache-Control", "no-cache"),
        // These two give finer clocks.
        ("Cross-Origin-Opener-Policy", "same-origin"),
        ("Cross-Origin-Embedder-Policy", "require-corp"),
    ];
    let response = headers
        .into_iter()
        .fold(Response::from_file(file), |response, (name, value)| response.with_header(header(name, value)));
    request.respond(response)
}

/// The file that a URL names. All names in the folder are plain, so whatever else a URL has, such as `..` or `%2e`, names
/// nothing. Neither do links that lead out of the folder.
fn find(folder: &Path, url: &str) -> Option<(PathBuf, File)> {
    let path = url.split(['?', '#']).next()?.strip_prefix('/')?;
    let path = if path.is_empty() { "index.html" } else { path };
    let is_plain = |part: &str| {
        let is_known = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        !part.is_empty() && !part.starts_with('.') && part.chars().all(is_known)
    };
    if !path.split('/').all(is_plain) {
        return None;
    }
    let path = folder.join(path).canonicalize().ok()?;
    let file = (path.starts_with(folder) && path.is_file()).then(|| File::open(&path))?.ok()?;
    Some((path, file))
}

fn content_type(path: &Path) -> &'static str {
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        _ => "application/octet-stream",
    }
}

fn line(status: u16, text: &str) -> Response<Cursor<Vec<u8>>> {
    Response::from_string(text).with_status_code(status)
}

/// Our names and values are ASCII, which is all that a header must be.
#[expect(clippy::unwrap_used, reason = "the arguments are constants, and tests send each of them")]
fn header(name: &str, value: &str) -> Header {
    Header::from_bytes(name, value).unwrap()
}
