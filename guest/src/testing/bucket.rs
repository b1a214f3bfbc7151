//! Owns a small bucket for tests: objects, conditional writes, and uploads in parts. Leaves faults to the tests, which
//! replace its answers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;
use percent_encoding::percent_decode_str;

use super::Reply;
use crate::ports::{Method, Request};
use crate::s3::xml;

/// A bucket that keeps objects and honours `If-None-Match: *`. Clones are the same one.
///
/// Knows PutObject, GetObject, HeadObject, HeadBucket and the operations on uploads in parts, addressed by path.
#[derive(Clone, Default)]
pub struct Bucket(Rc<RefCell<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Stored>,
    uploads: BTreeMap<String, Upload>,
    uploads_begun: u32,
}

/// An object in a [`Bucket`].
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The bytes.
    pub body: Bytes,
    /// Every header that was sent, but for the condition.
    pub headers: Vec<(String, String)>,
}

/// An upload in progress in a [`Bucket`].
#[derive(Clone, Debug, Default)]
pub struct Upload {
    /// The key of its object.
    pub key: String,
    /// Every header that it was begun with.
    pub headers: Vec<(String, String)>,
    /// Its parts by number.
    pub parts: BTreeMap<u32, Bytes>,
}

impl Bucket {
    /// Every object by key.
    pub fn objects(&self) -> BTreeMap<String, Stored> {
        self.0.borrow().objects.clone()
    }

    /// Every upload in progress by its name.
    pub fn uploads(&self) -> BTreeMap<String, Upload> {
        self.0.borrow().uploads.clone()
    }

    /// Puts an object there, as another writer would.
    pub fn insert(&self, key: &str, stored: Stored) {
        self.0.borrow_mut().objects.insert(key.to_owned(), stored);
    }

    /// Begins an upload, as another writer would; gives its name.
    pub fn begin(&self, key: &str) -> String {
        self.0.borrow_mut().begin(Upload { key: key.to_owned(), ..Upload::default() })
    }

    /// Removes every object.
    pub fn clear(&self) {
        self.0.borrow_mut().objects.clear();
    }

    /// Drops every upload, as a lifecycle rule does.
    pub fn drop_uploads(&self) {
        self.0.borrow_mut().uploads.clear();
    }

    /// Answers as S3 does.
    pub fn answer(&self, request: &Request) -> Reply {
        let (path, query) = request.path_with_query.split_once('?').unwrap_or((&request.path_with_query, ""));
        let path = percent_decode_str(path).decode_utf8_lossy();
        let Some((_, key)) = path[1..].split_once('/') else {
            return Reply::status(200);
        };
        let parameter = |name: &str| {
            let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
            let (_, value) = pairs.find(|(known, _)| *known == name)?;
            Some(percent_decode_str(value).decode_utf8_lossy().into_owned())
        };
        let mut bucket = self.0.borrow_mut();
        match (request.method, parameter("uploadId"), parameter("partNumber")) {
            (Method::Put, Some(id), Some(number)) => bucket.put_part(&id, number.parse().expect("a number"), request),
            (Method::Put, ..) => bucket.put(key, request),
            (Method::Post, Some(id), _) => bucket.complete(key, &id, request),
            (Method::Post, None, _) => {
                let id = bucket.begin(Upload { key: key.to_owned(), headers: headers(request), ..Upload::default() });
                let document =
                    format!("<InitiateMultipartUploadResult><UploadId>{id}</UploadId></InitiateMultipartUploadResult>");
                Reply::status(200).body(&[document.as_bytes()])
            }
            (Method::Get | Method::Head, ..) => bucket.get(key, request.method),
            (Method::Delete, Some(id), _) => match bucket.uploads.remove(&id) {
                Some(_) => Reply::status(204),
                None => no_such_upload(),
            },
            (Method::Delete, ..) => {
                bucket.objects.remove(key);
                Reply::status(204)
            }
        }
    }
}

impl Inner {
    fn begin(&mut self, upload: Upload) -> String {
        self.uploads_begun += 1;
        let id = format!("upload+{}", self.uploads_begun);
        self.uploads.insert(id.clone(), upload);
        id
    }

    fn is_taken(&self, key: &str, request: &Request) -> bool {
        request.headers.iter().any(|(name, _)| *name == "if-none-match") && self.objects.contains_key(key)
    }

    fn put(&mut self, key: &str, request: &Request) -> Reply {
        if self.is_taken(key, request) {
            return taken();
        }
        let stored = Stored { body: request.body.clone().into_bytes(), headers: headers(request) };
        self.objects.insert(key.to_owned(), stored);
        Reply::status(200).header("etag", "\"e\"")
    }

    fn put_part(&mut self, id: &str, number: u32, request: &Request) -> Reply {
        let Some(upload) = self.uploads.get_mut(id) else {
            return no_such_upload();
        };
        upload.parts.insert(number, request.body.clone().into_bytes());
        Reply::status(200).header("etag", &format!("\"part-{number}\""))
    }

    fn complete(&mut self, key: &str, id: &str, request: &Request) -> Reply {
        let Some(upload) = self.uploads.get(id).filter(|upload| upload.key == key) else {
            return no_such_upload();
        };
        if self.is_taken(key, request) {
            return taken();
        }
        let (mut body, mut last) = (Vec::new(), 0);
        let sent = request.body.clone().into_bytes();
        let sent = std::str::from_utf8(&sent).expect("is UTF-8");
        let listed = xml::visit(sent, "CompleteMultipartUpload", |path, node| {
            if let (["Part", "PartNumber"], xml::Node::Leaf(number)) = (path, node) {
                let number = number.parse().expect("a number");
                assert!(number > last, "parts are in order");
                last = number;
                // A test may have answered in its place.
                body.extend_from_slice(upload.parts.get(&number).map_or(&[], |part| part));
            }
            Ok(())
        });
        listed.expect("a list of parts");
        let stored = Stored { body: body.into(), headers: upload.headers.clone() };
        self.uploads.remove(id);
        self.objects.insert(key.to_owned(), stored);
        let document = b"<CompleteMultipartUploadResult><ETag>\"e-1\"</ETag></CompleteMultipartUploadResult>";
        Reply::status(200).body(&[document])
    }

    fn get(&self, key: &str, method: Method) -> Reply {
        let Some(found) = self.objects.get(key) else {
            return Reply::error(404, "NoSuchKey", "Gone.");
        };
        let mut reply = Reply::status(200).header("content-length", &found.body.len().to_string());
        for (name, value) in &found.headers {
            reply = reply.header(name, value);
        }
        // Two pieces, so that a reader has to put them together.
        let (head, tail) = found.body.split_at(found.body.len() / 2);
        if method == Method::Get { reply.body(&[head, tail]) } else { reply }
    }
}

fn headers(request: &Request) -> Vec<(String, String)> {
    let headers = request.headers.iter().filter(|(name, _)| *name != "if-none-match");
    headers.map(|(name, value)| ((*name).to_owned(), value.clone())).chain(request.extra_headers.clone()).collect()
}

fn taken() -> Reply {
    Reply::error(412, "PreconditionFailed", "The condition does not hold.")
}

fn no_such_upload() -> Reply {
    Reply::error(404, "NoSuchUpload", "There is no such upload.")
}
