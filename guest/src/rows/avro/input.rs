//! Owns reading bytes and numbers as Avro writes them, of data that may break off anywhere. Leaves what they mean to others.

/// Why something can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The bytes end before it does.
    Short,
    /// A number has more than 64 bits.
    Overlong,
}

/// Bytes, of which some were read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// What was not read.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    pub(super) fn take(&mut self, length: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Fault::Short)?;
        self.rest = rest;
        Ok(taken)
    }

    /// A number: seven bits per byte, the lowest first, its sign in the lowest of all.
    pub(super) fn long(&mut self) -> Result<i64, Fault> {
        let mut number = 0_u64;
        let mut bytes = self.rest.iter();
        for shift in (0..64).step_by(7) {
            let byte = *bytes.next().ok_or(Fault::Short)?;
            if shift == 63 && byte > 1 {
                break;
            }
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                self.rest = bytes.as_slice();
                return Ok((number >> 1) as i64 ^ -((number & 1) as i64));
            }
        }
        Err(Fault::Overlong)
    }

    /// How many parts of an array or a map follow before another such number; none at the end.
    pub(super) fn count(&mut self) -> Result<u64, Fault> {
        let count = self.long()?;
        if count < 0 {
            // How many bytes they have.
            self.long()?;
        }
        Ok(count.unsigned_abs())
    }
}
