//! `supernode completions` and `supernode man`: made from the same description of the flags that parses them.

use std::path::PathBuf;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Error, print};
use crate::record;

const EXAMPLES: &str = "\
Examples:
  supernode completions bash > ~/.local/share/bash-completion/completions/supernode
  supernode completions zsh > ~/.zfunc/_supernode              (with ~/.zfunc in fpath)
  supernode completions fish > ~/.config/fish/completions/supernode.fish
  supernode completions powershell >> $PROFILE";

/// Print a script that completes commands and flags in a shell
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CompletionsArgs {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Print the man page, or write one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supernode man | man -l -\n  supernode man -o ~/.local/share/man/man1")]
pub(super) struct ManArgs {
    /// Write supernode.1 and one page a command into this folder
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

pub(super) fn completions(args: &CompletionsArgs) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "supernode", &mut script);
    print(&String::from_utf8_lossy(&script))
}

pub(super) fn man(args: &ManArgs) -> Result<(), Error> {
    let Some(folder) = &args.output else {
        return print(&String::from_utf8_lossy(&page(Cli::command())?));
    };
    let told = |error: std::io::Error| Error::Input(format!("{}: cannot be created ({error})", folder.display()));
    std::fs::create_dir_all(folder).map_err(told)?;
    let mut root = Cli::command();
    root.build();
    let pages = root.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    // Built commands carry their page's name, as in git-commit(1).
    let pages =
        pages.map(|command| (command.get_display_name().unwrap_or(command.get_name()).to_owned(), command.clone()));
    let pages: Vec<(String, clap::Command)> = pages.collect();
    for (name, command) in std::iter::once(("supernode".to_owned(), root.clone())).chain(pages) {
        let path = folder.join(format!("{name}.1"));
        record::write_atomically(&path, &page(command)?).map_err(|error| Error::Input(error.to_string()))?;
    }
    Ok(())
}

fn page(command: clap::Command) -> Result<Vec<u8>, Error> {
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|error| Error::Input(error.to_string()))?;
    Ok(page)
}
