//! `supernode man`: made from the same description of the flags that parses them.

use std::path::PathBuf;

use crate::cli::error::Error;
use crate::cli::output::print;
use crate::record;

/// Print the man page, or write one for each command
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  supernode man | man -l -\n  supernode man -o ~/.local/share/man/man1")]
pub(super) struct Args {
    /// Write supernode.1 and one page per command into this folder
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

/// Prints the page of the whole `command`, or writes one for each of its subcommands.
pub(super) fn run(args: &Args, mut command: clap::Command) -> Result<(), Error> {
    let Some(folder) = &args.output else {
        return print(&String::from_utf8_lossy(&page(command)?));
    };
    let failed = |error: std::io::Error| Error::Input(format!("{}: cannot be created ({error})", folder.display()));
    std::fs::create_dir_all(folder).map_err(failed)?;
    command.build();
    let pages = command.get_subcommands().filter(|command| !command.is_hide_set() && command.get_name() != "help");
    // Built commands carry their page's name, as in git-commit(1).
    let pages =
        pages.map(|command| (command.get_display_name().unwrap_or(command.get_name()).to_owned(), command.clone()));
    let pages: Vec<(String, clap::Command)> = pages.collect();
    for (name, command) in std::iter::once(("supernode".to_owned(), command.clone())).chain(pages) {
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
