//! Owns decimal numbers as text. Leaves how their digits are stored to the formats.

/// A whole number, by its digits, with so many of them after the point: `-5` with two is `-0.05`.
pub(super) fn with_point(digits: &str, scale: usize) -> String {
    if scale == 0 {
        return digits.to_owned();
    }
    let (sign, digits) = digits.strip_prefix('-').map_or(("", digits), |digits| ("-", digits));
    // At least one digit stands before the point.
    let padded = format!("{digits:0>width$}", width = scale + 1);
    let (whole, fraction) = padded.split_at(padded.len() - scale);
    format!("{sign}{whole}.{fraction}")
}
