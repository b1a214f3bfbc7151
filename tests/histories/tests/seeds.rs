//! Owns the tests of the generator and of a run. Leaves what a source does in them to the command `histories`.

use s3_connector_histories::{Profile, history, run};

#[test]
fn everything_follows_from_the_seed() {
    for seed in 0..20 {
        let transcripts = [0, 1].map(|_| run(&history(seed, None), true, &[]).transcript);
        assert!(!transcripts[0].is_empty());
        assert_eq!(transcripts[0], transcripts[1], "seed {seed}");
    }
}

#[test]
fn seeds_give_histories_of_all_kinds() {
    let mut found: Vec<_> = (0..500).map(|seed| history(seed, None).profile).collect();
    found.sort();
    found.dedup();
    assert_eq!(found, Profile::ALL);
}
