//! Owns `s3-connector completions` and `s3-connector man`: what shells and `man` know of the command. Leaves what there is to say to the
//! arguments themselves.

use std::path::PathBuf;

use clap::{Args, Command, CommandFactory as _};
use clap_complete::Shell;
use clap_mangen::Man;

use super::terminal::{Terminal, print_data};
use super::{Arguments, Failure};

/// Prints what makes a shell complete commands and options
#[derive(Debug, Args)]
#[command(after_long_help = COMPLETIONS_HELP)]
pub(super) struct CompletionsArguments {
    /// The shell
    #[arg(value_enum, value_name = "SHELL")]
    shell: Shell,
}

const COMPLETIONS_HELP: &str = "\
Examples:
  s3-connector completions bash \\
      > ~/.local/share/bash-completion/completions/s3-connector
  s3-connector completions zsh > ~/.zfunc/_s3-connector
  s3-connector completions fish \\
      > ~/.config/fish/completions/s3-connector.fish

In zsh the folder must be in fpath before compinit runs.

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Prints the manual page, or writes the pages of all commands into a folder
#[derive(Debug, Args)]
#[command(after_long_help = MAN_HELP)]
pub(super) struct ManArguments {
    /// Folder for `s3-connector.1` and a page per command; made if it is not there
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

const MAN_HELP: &str = "\
Examples:
  s3-connector man > s3-connector.1
  s3-connector man ./man

Exit codes: 0 done, 1 failed, 2 wrong usage.";

/// Runs `completions`.
pub(super) fn completions(arguments: &CompletionsArguments) -> Result<(), Failure> {
    let mut command = shown();
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "s3-connector", &mut script);
    print_data(&String::from_utf8_lossy(&script))
}

/// Runs `man`.
pub(super) fn man(arguments: &ManArguments, terminal: &Terminal) -> Result<(), Failure> {
    let Some(folder) = &arguments.folder else {
        return print_data(&String::from_utf8_lossy(&page(shown())?));
    };
    let fail = |error| Failure::Failed(format!("cannot write manual pages; folder={}: {error}", folder.display()));
    std::fs::create_dir_all(folder).map_err(fail)?;
    // A command that is built knows the options that all have: who reads its page has not read the others.
    let mut all = shown().disable_help_subcommand(true);
    all.build();
    let pages: Vec<Command> = all.get_subcommands().cloned().chain([all.clone()]).collect();
    for command in &pages {
        let name = Man::new(command.clone()).get_filename();
        std::fs::write(folder.join(name), page(command.clone())?).map_err(fail)?;
    }
    terminal.say(&format!("{} manual pages were written", pages.len()));
    Ok(())
}

/// The command without what its help does not show: shells would suggest that.
fn shown() -> Command {
    let all = Arguments::command();
    let commands: Vec<Command> = all.get_subcommands().filter(|command| !command.is_hide_set()).cloned().collect();
    let mut shown = Command::new("s3-connector").version(env!("CARGO_PKG_VERSION")).args(all.get_arguments());
    shown = shown.subcommand_required(true).arg_required_else_help(true).subcommands(commands);
    if let (Some(about), Some(long)) = (all.get_about(), all.get_long_about()) {
        shown = shown.about(about.clone()).long_about(long.clone());
    }
    if let Some(after) = all.get_after_long_help() {
        shown = shown.after_long_help(after.clone());
    }
    shown
}

/// A manual page.
fn page(command: Command) -> Result<Vec<u8>, Failure> {
    let mut page = Vec::new();
    // The pages of a version are the same whenever they are made, so they have no date.
    let source = concat!("s3-connector ", env!("CARGO_PKG_VERSION"));
    let made = Man::new(command.disable_help_subcommand(true)).source(source).manual("s3-connector").render(&mut page);
    made.map_err(|error| Failure::Failed(format!("cannot make a manual page: {error}")))?;
    Ok(String::from_utf8_lossy(&page).replace("\n.SH EXTRA\n", "\n.SH NOTES\n").into_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_the_options_and_the_examples() {
        let page = String::from_utf8(page(shown()).expect("a page")).expect("it is text");
        for part in [".TH s3-connector 1", ".SH NOTES", "Examples:", "Exit codes", "s3\\-connector\\-source(1)"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
