//! Owns where an element of a JSON list ends that can't be read, by its brackets and quotes alone. Leaves what can be read to
//! `json`.

/// Brackets that may be open at once. What has more of them has no end that is looked for.
const OPEN_MAX: usize = 1 << 20;

/// Finds the end of an element, and looks at each byte once.
#[derive(Default)]
pub(super) struct Extent {
    /// Bytes of the text that were looked at.
    scanned: usize,
    /// Brackets that are open.
    open: Vec<u8>,
    is_in_text: bool,
    is_escaped: bool,
}

/// Where an element ends.
pub(super) enum Edge {
    /// Before this byte, a `,` or the list's `]`.
    At(usize),
    /// Not in this text.
    More,
    /// Nobody knows: its brackets contradict each other.
    Unknown,
}

impl Extent {
    /// Looks for the end in a text that begins as the one before did.
    pub(super) fn find(&mut self, text: &[u8]) -> Edge {
        while let Some(&byte) = text.get(self.scanned) {
            if self.is_in_text {
                self.is_in_text = self.is_escaped || byte != b'"';
                self.is_escaped = !self.is_escaped && byte == b'\\';
            } else {
                match (byte, self.open.last()) {
                    (b'"', _) => self.is_in_text = true,
                    (b',' | b']', None) => return Edge::At(self.scanned),
                    (b'[' | b'{', _) if self.open.len() < OPEN_MAX => self.open.push(byte),
                    (b']', Some(b'[')) | (b'}', Some(b'{')) => {
                        self.open.pop();
                    }
                    (b'[' | b'{' | b']' | b'}', _) => return Edge::Unknown,
                    _ => {}
                }
            }
            self.scanned += 1;
        }
        Edge::More
    }

    /// The next text begins after the one before.
    pub(super) fn forget(&mut self) {
        self.scanned = 0;
    }
}
