//! Owns which requests a fault, a hook or a denial is meant for. Leaves what happens to those requests to them.

use super::operation::S3Operation;

/// Requests by operation and key; the default matches all.
///
/// The key of a listing is the prefix it asks for.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    operations: Vec<S3Operation>,
    key: Option<String>,
    key_prefix: Option<String>,
}

impl Filter {
    /// Matches every request.
    pub fn any() -> Self {
        Self::default()
    }

    /// Matches this operation too; without any, all operations match.
    #[must_use]
    pub fn operation(mut self, operation: S3Operation) -> Self {
        self.operations.push(operation);
        self
    }

    /// Narrows to one key.
    #[must_use]
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// Narrows to keys that start so.
    #[must_use]
    pub fn key_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.key_prefix = Some(prefix.into());
        self
    }

    pub(crate) fn matches(&self, operation: S3Operation, subject: &str) -> bool {
        (self.operations.is_empty() || self.operations.contains(&operation))
            && self.key.as_deref().is_none_or(|key| key == subject)
            && self.key_prefix.as_deref().is_none_or(|prefix| subject.starts_with(prefix))
    }
}

impl From<S3Operation> for Filter {
    fn from(operation: S3Operation) -> Self {
        Self::any().operation(operation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_narrows_by_operation_key_and_prefix() {
        let filter = Filter::from(S3Operation::GetObject).key_prefix("a/");
        assert!(filter.matches(S3Operation::GetObject, "a/b"));
        assert!(!filter.matches(S3Operation::GetObject, "b"));
        assert!(!filter.matches(S3Operation::PutObject, "a/b"));
        assert!(Filter::any().matches(S3Operation::Other, ""));
        assert!(!Filter::any().key("a").matches(S3Operation::Other, "a/b"));
    }
}
