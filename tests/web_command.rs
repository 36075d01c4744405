//! `supernode web --serve`: what it serves, to whom, and how it ends.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

const WASM: &[u8] = b"\0asm\x01\0\0\0";

fn supernode(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_supernode"));
    command.arg("web").args(arguments);
    command
}

/// A folder with a page, next to a file that is nobody's business.
fn desk() -> tempfile::TempDir {
    let desk = tempfile::tempdir().unwrap();
    let page = desk.path().join("page");
    fs::create_dir_all(page.join("records")).unwrap();
    fs::write(desk.path().join("secret.json"), "{}").unwrap();
    fs::write(page.join("index.html"), "<!doctype html>").unwrap();
    fs::write(page.join("app.js"), "1;").unwrap();
    fs::write(page.join("model_bg.wasm"), WASM).unwrap();
    fs::write(page.join("records/a.json"), "{\"a\": 1}").unwrap();
    fs::write(page.join(".hidden"), "x").unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink(desk.path().join("secret.json"), page.join("link.json")).unwrap();
    desk
}

/// A running server, which ends with the test.
struct Served {
    child: Child,
    address: String,
}

impl Served {
    fn start(folder: &Path) -> Self {
        let arguments = ["--serve", folder.to_str().unwrap(), "--port", "0"];
        let mut child = supernode(&arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let (_, rest) = line.split_once("http://").unwrap();
        Self { child, address: rest.split_once('/').unwrap().0.to_owned() }
    }

    /// Head and body of an answer.
    fn ask(&self, method: &str, target: &str) -> (String, Vec<u8>) {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        write!(stream, "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.address).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
        (String::from_utf8(answer[..end].to_vec()).unwrap(), answer[end + 4..].to_vec())
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

#[test]
fn the_page_is_served_on_loopback_with_types_and_a_policy() {
    let desk = desk();
    let served = Served::start(&desk.path().join("page"));
    assert!(served.address.starts_with("127.0.0.1:"), "{}", served.address);
    for (target, kind) in [
        ("/", "text/html; charset=utf-8"),
        ("/index.html#project", "text/html; charset=utf-8"),
        ("/app.js?1", "text/javascript; charset=utf-8"),
        ("/model_bg.wasm", "application/wasm"),
        ("/records/a.json", "application/json"),
    ] {
        let (head, body) = served.ask("GET", target);
        assert!(head.starts_with("HTTP/1.1 200"), "{target}: {head}");
        assert!(head.contains(&format!("Content-Type: {kind}\r\n")), "{target}: {head}");
        for name in ["Content-Security-Policy", "X-Content-Type-Options", "Cross-Origin-Embedder-Policy"] {
            assert!(head.contains(name), "{target}: {head}");
        }
        assert!(!body.is_empty());
    }
    assert_eq!(served.ask("GET", "/model_bg.wasm").1, WASM);
    let (head, body) = served.ask("HEAD", "/model_bg.wasm");
    assert!(head.contains("Content-Length: 8"), "{head}");
    assert!(body.is_empty());
    assert!(served.ask("GET", "/app.js").0.contains("default-src 'none'"));
}

#[test]
fn hostile_paths_and_other_methods_are_refused_in_a_line() {
    let desk = desk();
    let served = Served::start(&desk.path().join("page"));
    let long = format!("/{}", "a".repeat(4000));
    for target in [
        "/../secret.json",
        "/records/../../secret.json",
        "/%2e%2e/secret.json",
        "/..%2fsecret.json",
        "/..\\secret.json",
        "//secret.json",
        "/records//a.json",
        "/./index.html",
        "/.hidden",
        "/records",
        "/records/",
        "/link.json",
        "/index.html/",
        "/C:/secret.json",
        "/\u{0}",
        "/etc/passwd",
        "http://example.com/index.html",
        "index.html",
        &long,
    ] {
        let (head, body) = served.ask("GET", target);
        assert!(!head.starts_with("HTTP/1.1 200"), "{target}: {head}");
        assert!(body.iter().filter(|byte| **byte == b'\n').count() <= 1, "{target}: {body:?}");
        assert!(body.len() < 100, "{target}");
    }
    assert_eq!(served.ask("GET", "/nothing.js").1, b"there is no such file\n");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let (head, _) = served.ask(method, "/");
        assert!(head.starts_with("HTTP/1.1 405") && head.contains("Allow: GET, HEAD"), "{method}: {head}");
    }
    assert!(served.ask("GET", "/").0.starts_with("HTTP/1.1 200"), "it no longer answers");
}

#[test]
fn a_folder_without_the_page_and_a_busy_port_are_one_line() {
    let desk = desk();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let page = desk.path().join("page");
    for (arguments, expected) in [
        (vec!["--serve", desk.path().to_str().unwrap()], "make web"),
        (vec!["--serve", "/no/such/folder"], "make web"),
        (vec!["--serve", page.to_str().unwrap(), "--port", &port], "--port 0"),
    ] {
        let output = supernode(&arguments).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.lines().count() == 1 && text.contains(expected), "{text}");
    }
    // Without a folder it is that of `make web`.
    let output = supernode(&["--serve"]).current_dir(desk.path()).output().unwrap();
    assert!(String::from_utf8(output.stderr).unwrap().contains("out/web"));
}

#[cfg(unix)]
#[test]
fn an_interrupt_ends_it_with_success() {
    let desk = desk();
    let mut served = Served::start(&desk.path().join("page"));
    let id = served.child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(served.child.wait().unwrap().code(), Some(0));
    let mut said = String::new();
    served.child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}
