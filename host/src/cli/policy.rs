//! Owns `s3-connector policy`: prints the least IAM policy for a role and its settings. Leaves what is in it to the library's
//! `iam`.

use clap::{Args, ValueEnum};
use s3_connector::config::{self, BucketConfig, Writes};
use s3_connector_host::environment::{self, Environment};
use s3_connector_host::{Role, iam, printable};

use super::Failure;
use super::place::PlaceArguments;
use super::terminal::print_data;

/// Prints the least IAM policy with which a source or destination works
///
/// It allows what the connector sends, on the bucket and under the prefix that the settings name, and nothing else. With
/// aws.roleArn it is the role's; who assumes the role needs sts:AssumeRole on it.
/// Objects encrypted with a KMS key that the setting `sse.kmsKeyId` does not name also need permissions on that key: kms:Decrypt to
/// read them, kms:GenerateDataKey to write them.
#[derive(Debug, Args)]
#[command(after_long_help = AFTER_HELP)]
pub(super) struct PolicyArguments {
    /// The side that the policy is for
    #[arg(long, value_enum, value_name = "ROLE")]
    role: Side,
    #[command(flatten)]
    place: PlaceArguments,
    /// Also allow what only `s3-connector check` does
    ///
    /// For a source, that is to ask whether the bucket keeps versions; for a destination, to remove the one object that the
    /// check has stored. Without these permissions `check` reports a warning.
    #[arg(long)]
    check: bool,
}

const AFTER_HELP: &str = "\
Examples:
  s3-connector policy --role source s3://photos
  s3-connector policy --role destination s3://lake/photos/ --check

The region determines the AWS partition (aws, aws-cn, aws-us-gov …). It comes from the setting aws.region, from AWS_REGION, or from any \
other place where the AWS CLI finds it.

Exit codes: 0 done, 1 failed, 2 wrong usage or settings.";

/// A side of a pipeline, as an argument.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Side {
    /// It reads the bucket.
    Source,
    /// It writes to the bucket.
    Destination,
}

/// Runs the command.
pub(super) async fn run(arguments: &PolicyArguments) -> Result<(), Failure> {
    let mut settings = arguments.place.settings()?;
    // A policy has no endpoint, so none that is asked for in vain concerns it.
    if let Err(error) = environment::fill(&mut settings, &Environment::process()).await
        && error.is_about_profile()
    {
        return Err(Failure::Usage(error.to_string()));
    }
    let invalid = |error: s3_connector::error::Error| Failure::Usage(error.message);
    let role = match arguments.role {
        Side::Source => {
            config::check_names(&settings, config::source_parameters()).map_err(invalid)?;
            Role::Source
        }
        Side::Destination => {
            config::check_names(&settings, config::destination_parameters()).map_err(invalid)?;
            Role::Destination
        }
    };
    let bucket = BucketConfig::parse(&settings).map_err(invalid)?;
    if bucket.access.anonymous {
        let message = "setting `aws.anonymous` is true: requests are nobody's then, and what the bucket's own policy allows to \
                       everybody counts";
        return Err(Failure::Usage(message.to_owned()));
    }
    let policy = iam::policy(role, &bucket, Writes::of(&settings), arguments.check);
    print_data(&printable::json(&format!("{policy}\n")))
}
