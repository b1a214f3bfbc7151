//! Owns what tests are told of the pages that a source uses: of those that it lists at the same time, it may use a part or
//! nothing. Leaves what the pages hold to the tests' stores.
//!
//! One list per thread. Without the feature `testing` nothing of this is compiled.

use std::cell::RefCell;

/// A page that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsedPage {
    /// The key and the version that were sent; or a token, and `token`.
    pub place: (Option<String>, String),
    /// The last key of which entries are used, where the page has later ones.
    pub to: Option<String>,
}

thread_local! {
    static USED: RefCell<Vec<UsedPage>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn note(place: (Option<String>, String), to: Option<&str>) {
    USED.with_borrow_mut(|used| used.push(UsedPage { place, to: to.map(str::to_owned) }));
}

/// The pages that were used on this thread since it was asked last, in their order.
pub fn used() -> Vec<UsedPage> {
    USED.take()
}
