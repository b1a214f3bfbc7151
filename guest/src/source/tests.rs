//! Owns the tests of a source on odd stores and hosts, over a store in memory and in virtual time. Leaves its promises
//! to the conformance cases.
