//! Owns the entry of libFuzzer into the target `rows`. Leaves what must hold to the target.
#![no_main]

s3_connector_libfuzzer::entry!("rows");
