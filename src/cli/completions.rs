//! `errata completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use super::{Cli, Exit, terminal};

/// Print the completion script of a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  errata completions bash > ~/.local/share/bash-completion/completions/errata
  errata completions zsh > \"${fpath[1]}/_errata\"
  errata completions fish > ~/.config/fish/completions/errata.fish")]
pub struct Args {
    shell: Shell,
}

pub fn run(args: &Args) -> anyhow::Result<Exit> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "errata", &mut script);
    terminal::print_bytes(&script)?;
    Ok(Exit::Done)
}
