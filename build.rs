//! Tells the program which commit it was built from.

use std::process::Command;

fn main() {
    // Without these, cargo would run this script on every change of any file.
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/index");
    if let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) {
        let dirty = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|status| !status.is_empty());
        println!("cargo::rustc-env=SUPERNODE_GIT_COMMIT={commit}{}", if dirty { "-dirty" } else { "" });
    }
}

/// Output of a git command; `None` outside a checkout or without git.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
