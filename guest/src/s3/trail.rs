//! Owns the trail of a listing: notices pages that go in a circle, which would otherwise be followed forever. Leaves
//! the contradictions within a page to `s3`.
//!
//! Markers may be opaque and tokens may differ each time, so both are compared: where a listing goes on, and whether it
//! gets to greater keys.

use super::{Error, Page, Result, xml};
use crate::limits;

/// Follows one listing from page to page.
#[derive(Debug)]
pub struct Trail<M> {
    /// The greatest key so far.
    greatest: Option<String>,
    /// Pages since one that brought a greater key.
    idle: u64,
    /// Where the listing went on after one of those pages. It is replaced at each page that is a power of two,
    /// so that a circle of any length meets it ([Brent's algorithm](https://en.wikipedia.org/wiki/Cycle_detection)).
    remembered: Option<M>,
    /// How often it came back there.
    returns: u32,
}

impl<M> Default for Trail<M> {
    fn default() -> Self {
        Self { greatest: None, idle: 0, remembered: None, returns: 0 }
    }
}

impl<M: PartialEq + Clone> Trail<M> {
    /// Takes note of a page of an operation. `keys_repeat` is whether its entries may share a key.
    ///
    /// # Errors
    ///
    /// Where the pages go in a circle, or bring nothing for longer than any listing does.
    pub fn follow<T>(&mut self, operation: &'static str, keys_repeat: bool, page: &Page<T, M>) -> Result<()> {
        let circle = |why| Err(Error::malformed(operation, xml::Error::Contradiction(why)));
        let (greatest, next) = (page.greatest.as_deref(), page.next.as_ref());
        if greatest > self.greatest.as_deref() {
            *self = Self { greatest: page.greatest.clone(), idle: 0, remembered: page.next.clone(), returns: 0 };
            return Ok(());
        }
        if greatest.is_some() && (!keys_repeat || greatest < self.greatest.as_deref()) {
            return circle("the pages go in a circle: one lists keys that came before");
        }
        self.idle += 1;
        if next.is_some() && next == self.remembered.as_ref() {
            self.returns += 1;
            if greatest.is_none() || self.returns > limits::LISTING_RETURNS_MAX {
                return circle("the pages go in a circle: one leads to where another led");
            }
        }
        if greatest.is_none() && self.idle > limits::EMPTY_PAGES_MAX {
            return circle("too many empty pages in a row claim that there is more");
        }
        if self.idle.is_power_of_two() {
            self.remembered = page.next.clone();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Timestamp;

    /// How many pages are followed, of such keys and markers, before one is refused.
    fn followed<'a>(pages: impl Iterator<Item = (&'a [&'a str], u64)>) -> Option<usize> {
        let mut trail = Trail::default();
        let mut follow = |(keys, next): (&[&str], u64)| {
            let page = Page::<(), u64> {
                entries: Vec::new(),
                next: Some(next),
                date: Timestamp::default(),
                greatest: keys.iter().max().map(|key| (*key).to_owned()),
            };
            trail.follow("List", true, &page)
        };
        pages.into_iter().position(|page| follow(page).is_err())
    }

    #[test]
    fn a_key_that_can_be_listed_once_is_not_listed_again() {
        let page = |next| Page::<(), u64> {
            entries: Vec::new(),
            next: Some(next),
            date: Timestamp::default(),
            greatest: Some("k".to_owned()),
        };
        let mut trail = Trail::default();
        trail.follow("List", false, &page(1)).expect("gets on");
        assert!(trail.follow("List", false, &page(2)).is_err());
    }

    #[test]
    fn a_listing_that_gets_on_is_followed() {
        let pages: [(&[&str], u64); 6] = [
            (&["a", "b"], 1),
            (&[], 2),
            (&[], 3),
            // The versions of a key may take any number of pages.
            (&["c"], 4),
            (&["c", "c"], 5),
            (&["c", "d"], 6),
        ];
        assert_eq!(followed(pages.into_iter()), None);
        let many = (0..1_000_000).map(|n| (&["c"][..], n));
        assert_eq!(followed(many), None);
    }

    #[test]
    fn a_circle_of_any_length_ends() {
        let two: [(&[&str], u64); 2] = [(&["a"], 1), (&["b"], 2)];
        assert_eq!(followed(two.into_iter().cycle()), Some(2));
        for length in [1, 2, 3, 7, 100] {
            let circle = (0..length).map(|n| (&["k"][..], n)).cycle();
            let end = followed(circle).expect("it ends");
            let returns = u64::from(limits::LISTING_RETURNS_MAX);
            assert!(end as u64 <= (4 + returns) * length + 2, "{length}: {end}");
            let empty = (0..length).map(|n| (&[][..], n)).cycle();
            assert!(followed(empty).is_some_and(|end| end as u64 <= 4 * length + 2));
        }
    }

    #[test]
    fn a_key_that_is_listed_anew_since_its_marker_is_gone_is_followed() {
        // The store comes back to the same version a few times, and then gets on.
        let anew = [1, 2].into_iter().cycle().take(2 * limits::LISTING_RETURNS_MAX as usize);
        let pages = anew.map(|next| (&["k"][..], next)).chain([(&["l"][..], 3)]);
        assert_eq!(followed(pages), None);
    }

    #[test]
    fn pages_without_anything_end_though_their_tokens_differ() {
        let empty = (0..).map(|n| (&[][..], n));
        let most = limits::EMPTY_PAGES_MAX as usize;
        assert_eq!(followed(empty), Some(most));
    }
}
