//! `supernode`: parse, call, print the error once.

use std::process::ExitCode;

use clap::Parser;
use supernode_bench::cli::{self, Cli};

fn main() -> ExitCode {
    match cli::run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if !error.is_told() {
                anstream::eprintln!("error: {}", error.shown());
            }
            error.exit_code()
        }
    }
}
