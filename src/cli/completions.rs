//! `millstream completions`: what makes a shell complete verbs and options.

use clap::Args;
use clap_complete::Shell;
use engine::Result;

use super::Exit;
use super::launch::Output;

const EXAMPLES: &str = "\
Examples:
  millstream completions bash > /etc/bash_completion.d/millstream
  millstream completions zsh > ~/.zfunc/_millstream
  millstream completions fish > ~/.config/fish/completions/millstream.fish";

/// Write a script that makes a shell complete verbs and options
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// The shell
    #[arg(value_name = "SHELL")]
    shell: Shell,
}

impl Completions {
    /// Writes the script to the standard output.
    pub(super) fn run(self, _: Output) -> Result<Exit> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut super::command(), "millstream", &mut script);
        super::print(&script)?;
        Ok(Exit::Done)
    }
}
