//! `millstream man`: the manual pages.

use std::path::PathBuf;

use clap::Args;
use clap_mangen::Man as Page;
use engine::{Error, Result};

use super::Exit;
use super::launch::Output;

const EXAMPLES: &str = "\
Examples:
  millstream man | man -l -
  millstream man --out /usr/local/share/man/man1";

/// Write the manual page: of the program, or into a folder one of each verb too
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Man {
    /// Folder for millstream.1, millstream-run.1 and so on
    #[arg(long, short, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl Man {
    /// Writes the pages.
    pub(super) fn run(self, _: Output) -> Result<Exit> {
        let command = super::command().name("millstream");
        match &self.out {
            Some(dir) => clap_mangen::generate_to(command, dir).map_err(Error::io("write manual pages to", dir))?,
            None => {
                let mut page = Vec::new();
                let rendered = Page::new(command).render(&mut page);
                rendered.map_err(Error::io("write to", "<standard output>"))?;
                super::print(&page)?;
            }
        }
        Ok(Exit::Done)
    }
}
