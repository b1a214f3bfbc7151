//! Owns tests of the arguments as they are typed. Leaves what commands do to the process tests.

use clap::CommandFactory as _;

use super::*;

#[test]
fn the_arguments_are_consistent() {
    Arguments::command().debug_assert();
}

#[test]
fn every_command_says_how_it_is_used_and_how_it_ends() {
    for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
        let help = command.clone().render_long_help().to_string();
        assert!(help.contains("Examples:\n  s3-connector "), "{help}");
        // These two never talk to a store.
        let is_about_command = ["completions", "man"].contains(&command.get_name());
        assert!(is_about_command || help.contains("AWS_"), "{help}");
        assert!(help.contains("Exit codes: 0"), "{help}");
    }
}

#[test]
fn wrong_settings_are_wrong_usage_and_a_missing_bucket_is_not() {
    let error = Error::new(ErrorKind::Invalid, "x");
    assert_eq!(Failure::configuring(&error), Failure::Usage("x".to_owned()));
    assert_eq!(Failure::running(&error), Failure::Failed("x".to_owned()));
}
