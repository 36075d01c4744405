//! `supernode completions`: made from the same description of the flags that parses them.

use clap_complete::Shell;

use crate::cli::error::Error;
use crate::cli::output::print;

const EXAMPLES: &str = "\
Examples:
  supernode completions bash > ~/.local/share/bash-completion/completions/supernode
  supernode completions zsh > ~/.zfunc/_supernode              (with ~/.zfunc in fpath)
  supernode completions fish > ~/.config/fish/completions/supernode.fish
  supernode completions powershell >> $PROFILE";

/// Print a script that completes commands and flags in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script for the whole `command`.
pub(super) fn run(args: &Args, mut command: clap::Command) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut command, "supernode", &mut script);
    print(&String::from_utf8_lossy(&script))
}
