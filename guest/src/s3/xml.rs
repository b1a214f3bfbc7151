//! Owns the walk over an XML document, node by node, without building a tree. Leaves names and meanings to `document`.
//!
//! S3's documents are shallow: containers hold leaves, leaves hold text.

use std::borrow::Cow;

use quick_xml::Reader;
use quick_xml::events::Event;

/// Why a document cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// It is no XML, or breaks off.
    #[error("not well-formed: {0}")]
    Syntax(String),
    /// A value is not what it should be, or a page not what it should be.
    #[error("{0}")]
    Shape(&'static str),
    /// A listing contradicts itself, or goes in a circle: the same question would bring the same answer.
    #[error("{0}")]
    Contradiction(&'static str),
    /// A key is not text.
    #[error("the key `{0}` is not UTF-8, as keys of S3 are: rename the object, or set `prefix` to what leaves it out")]
    Key(String),
}

const OTHER: Error = Error::Shape("the document is not the requested one");

/// Elements nested in each other at most; S3 nests four deep.
const DEPTH_MAX: usize = 16;

/// What is visited of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node<'a> {
    /// The text of an element that holds no other.
    Leaf(Cow<'a, str>),
    /// The end of an element that holds others.
    End,
}

/// Calls `visit` with the path, from below the root, and the node of every element, in the order of their ends.
///
/// # Errors
///
/// What `visit` returns; [`Error::Shape`] where the root has another name, before any call.
pub fn visit(
    text: &str,
    root: &str,
    mut visit: impl FnMut(&[&str], Node<'_>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut reader = Reader::from_str(text);
    let mut path: Vec<&str> = Vec::new();
    let mut awaited = Some(root);
    let mut is_leaf = false;
    let mut content: Cow<'_, str> = Cow::Borrowed("");
    loop {
        match reader.read_event().map_err(|e| Error::Syntax(e.to_string()))? {
            Event::Start(start) => {
                let name = local_name(text, start.name().as_ref())?;
                if path.len() == DEPTH_MAX {
                    return Err(Error::Shape("the document is nested too deep"));
                }
                enter(&mut path, name, &mut awaited)?;
                is_leaf = true;
                content = Cow::Borrowed("");
            }
            Event::Empty(empty) => {
                enter(&mut path, local_name(text, empty.name().as_ref())?, &mut awaited)?;
                visit(&path[1..], Node::Leaf(Cow::Borrowed("")))?;
                path.pop();
                is_leaf = false;
            }
            Event::Text(more) if is_leaf => append(&mut content, more.xml10_content()),
            Event::CData(more) if is_leaf => append(&mut content, more.xml10_content()),
            Event::GeneralRef(reference) if is_leaf => {
                match reference.resolve_char_ref().map_err(|e| Error::Syntax(e.to_string()))? {
                    Some(character) => content.to_mut().push(character),
                    None => {
                        let character = quick_xml::escape::resolve_predefined_entity(reference.as_ref())
                            .ok_or(Error::Shape("the document has an unknown entity"))?;
                        append(&mut content, Cow::Borrowed(character));
                    }
                }
            }
            Event::End(_) => {
                visit(&path[1..], if is_leaf { Node::Leaf(std::mem::take(&mut content)) } else { Node::End })?;
                path.pop();
                is_leaf = false;
            }
            Event::Eof if awaited.is_some() => return Err(OTHER),
            Event::Eof if path.is_empty() => return Ok(()),
            Event::Eof => return Err(Error::Shape("the document breaks off")),
            _ => {}
        }
    }
}

/// Enters an element. The first must be the awaited root, and the only one that is in no other.
fn enter<'t>(path: &mut Vec<&'t str>, name: &'t str, awaited: &mut Option<&str>) -> Result<(), Error> {
    if path.is_empty() && awaited.take() != Some(name) {
        return Err(OTHER);
    }
    path.push(name);
    Ok(())
}

/// Whether the first element of the document is called `name`.
pub fn is_root(text: &str, name: &str) -> bool {
    let mut reader = Reader::from_str(text);
    loop {
        match reader.read_event() {
            Ok(Event::Start(start) | Event::Empty(start)) => {
                return start.local_name().as_ref() == name;
            }
            Ok(Event::Decl(_) | Event::Comment(_) | Event::Text(_)) => {}
            _ => return false,
        }
    }
}

/// The name without its namespace, as a part of the document so that it outlives the event.
fn local_name<'a>(document: &'a str, name: &str) -> Result<&'a str, Error> {
    let offset = name.as_ptr() as usize - document.as_ptr() as usize;
    let name = document.get(offset..offset + name.len()).ok_or(Error::Shape("a name is not UTF-8"))?;
    // Nearly no name has one, and a search backwards by characters takes longer than all else here.
    Ok(if name.as_bytes().contains(&b':') { name.rsplit_once(':').map_or(name, |(_, local)| local) } else { name })
}

/// Adds to a text, which is a part of the document as long as it is one piece.
fn append<'a>(content: &mut Cow<'a, str>, more: Cow<'a, str>) {
    if content.is_empty() {
        *content = more;
    } else {
        content.to_mut().push_str(&more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path and text of every leaf, path and nothing of every container.
    fn collect(document: &str) -> Result<Vec<(String, Option<String>)>, Error> {
        let mut found = Vec::new();
        visit(document, "a", |path, node| {
            let text = match node {
                Node::Leaf(text) => Some(text.into_owned()),
                Node::End => None,
            };
            found.push((path.join("/"), text));
            Ok(())
        })?;
        Ok(found)
    }

    #[test]
    fn leaves_come_with_their_paths_and_containers_end() {
        let found = collect("<?xml version=\"1.0\"?><a xmlns=\"x\"><b>1 &amp; &#50;</b><s:c/><d><e>x</e></d></a>");
        let expected = [("b", Some("1 & 2")), ("c", Some("")), ("d/e", Some("x")), ("d", None), ("", None)];
        let expected: Vec<_> = expected.map(|(p, t)| (p.to_owned(), t.map(str::to_owned))).into();
        assert_eq!(found.expect("reads"), expected);
    }

    #[test]
    fn broken_documents_are_errors() {
        for document in
            ["<a><b>1</b>", "<a></b>", "<a>&unknown;</a>", "<a", "<a>\u{1}<b></a>", "<a/><a/>", "<b><a/></b>", "", "a"]
        {
            assert!(collect(document).is_err(), "{document}");
        }
    }

    #[test]
    fn marked_up_text_is_text() {
        let found = collect("<a><b>1 <![CDATA[<&amp;>]]> 2</b></a>").expect("reads");
        assert_eq!(found[0], ("b".to_owned(), Some("1 <&amp;> 2".to_owned())));
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth| format!("{}{}", "<a>".repeat(depth), "</a>".repeat(depth));
        assert!(collect(&nested(DEPTH_MAX)).is_ok());
        let error = collect(&nested(DEPTH_MAX + 1)).expect_err("too deep");
        assert!(error.to_string().contains("nested too deep"), "{error}");
    }

    #[test]
    fn the_root_is_found_after_a_declaration() {
        assert!(is_root("<?xml version=\"1.0\"?>\n<Error><Code/></Error>", "Error"));
        assert!(!is_root("<ListBucketResult/>", "Error"));
        assert!(is_root("<ListBucketResult/>", "ListBucketResult"));
        assert!(!is_root("", "Error"));
    }
}
