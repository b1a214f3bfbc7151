//! Owns where a row ends that does not become JSON: it is too deep or too large, or has a value that makes no sense. Leaves
//! what it means to `value`.
//!
//! What it consists of is kept on a list and not on the stack, so that no row is too deep.

use std::slice::Iter;

use super::input::{Fault, Input};
use super::shape::{At, Extent, Shape, Shapes};

/// Values that may be within each other. Twice as many would take as much memory as the largest block.
const DEPTH_MAX: usize = 1 << 20;

/// A value with parts, of which some are left.
enum Frame<'a> {
    Record(Iter<'a, (String, At)>),
    /// Parts of an array, or of a map before each of which a name stands.
    Parts {
        left: u64,
        values: At,
        are_named: bool,
    },
}

/// How many bytes a row has. `None` where nothing tells, or where it takes more steps than are left: parts may have no bytes.
pub(super) fn walk(shapes: &Shapes, bytes: &[u8], steps: &mut usize) -> Option<usize> {
    let mut walk = Walk { shapes, input: Input::new(bytes), frames: Vec::new() };
    walk.enter(shapes.root)?;
    while !walk.frames.is_empty() {
        *steps = steps.checked_sub(1)?;
        match walk.next_part().ok()? {
            Some(part) => walk.enter(part)?,
            None => _ = walk.frames.pop(),
        }
    }
    Some(bytes.len() - walk.input.rest().len())
}

struct Walk<'a> {
    shapes: &'a Shapes,
    input: Input<'a>,
    frames: Vec<Frame<'a>>,
}

impl Walk<'_> {
    /// The next part of the innermost value.
    fn next_part(&mut self) -> Result<Option<At>, Fault> {
        match self.frames.last_mut() {
            None => Ok(None),
            Some(Frame::Record(fields)) => Ok(fields.next().map(|(_, value)| *value)),
            Some(Frame::Parts { left, values, are_named }) => {
                if *left == 0 {
                    *left = self.input.count()?;
                }
                let Some(rest) = left.checked_sub(1) else { return Ok(None) };
                *left = rest;
                if *are_named {
                    pass_prefixed(&mut self.input)?;
                }
                Ok(Some(*values))
            }
        }
    }

    /// Passes over a value, or begins one that has parts.
    fn enter(&mut self, mut at: At) -> Option<()> {
        let shapes = self.shapes;
        if let Shape::Union(variants) = shapes.get(at) {
            at = *variants.get(usize::try_from(self.input.long().ok()?).ok()?)?;
        }
        let frame = match shapes.get(at) {
            Shape::Null => return Some(()),
            Shape::Leaf(leaf) => return pass(&mut self.input, leaf.extent).ok(),
            Shape::Array(values) => Frame::Parts { left: 0, values: *values, are_named: false },
            Shape::Map(values) => Frame::Parts { left: 0, values: *values, are_named: true },
            Shape::Record(fields) => Frame::Record(fields.iter()),
            // None is in another.
            Shape::Union(_) => return None,
        };
        self.frames.push(frame);
        (self.frames.len() <= DEPTH_MAX).then_some(())
    }
}

/// Passes over a value without parts.
fn pass(input: &mut Input<'_>, extent: Extent) -> Result<(), Fault> {
    match extent {
        Extent::Number => _ = input.long()?,
        Extent::Fixed(size) => _ = input.take(size)?,
        Extent::Prefixed | Extent::PrefixedTwice => pass_prefixed(input)?,
    }
    Ok(())
}

fn pass_prefixed(input: &mut Input<'_>) -> Result<(), Fault> {
    let length = usize::try_from(input.long()?).map_err(|_| Fault::Short)?;
    input.take(length).map(drop)
}
