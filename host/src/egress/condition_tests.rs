//! Conditions that are none, through an egress. Which answers refuse them is tried in `tests`.

use http::HeaderValue;

use super::tests::{Script, egress, overwrite};
use crate::role::Role;

#[tokio::test]
async fn a_condition_that_lets_something_be_written_over_is_none() {
    let script = Script::of([]);
    let egress = egress(Role::Destination, &script);
    for value in ["\"e\"", "", "*, \"e\""] {
        let mut request = overwrite();
        let value = HeaderValue::from_str(value).unwrap();
        request.headers_mut().insert("if-none-match", value);
        assert!(egress.send(request).await.is_err());
    }
    assert!(script.seen().is_empty());
}
