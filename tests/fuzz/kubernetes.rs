//! `LuthienPolicy` objects, as the API server lists them and as they were kept.

use luthien::{
    config::{
        document::Document,
        kubernetes::object::{self, Written},
    },
    policy::Target,
};

use super::{
    input::Input,
    rules::{assert_compiles_or_helps, assert_helps},
};

/// A byte that chooses the form, and the object as somebody wrote it, or a list of those that ran last.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let form = input.byte();
    let Some(text) = input.text() else { return };
    if form.is_multiple_of(4) {
        let Ok(kept) = serde_json::from_str::<Vec<Written>>(text) else { return };
        let again = serde_json::to_string(&kept).expect("what was read can be kept");
        assert_eq!(serde_json::from_str::<Vec<Written>>(&again).expect("what was kept can be read"), kept);
        for written in &kept {
            check(&written.document(), None);
        }
        return;
    }
    match Document::parse("object.yaml", text) {
        Ok(document) => check(&document, Some(text)),
        Err(report) => assert_helps(&report, Some(text)),
    }
}

fn check(document: &Document, text: Option<&str>) {
    let _ = object::is_object(document);
    let bounds = object::out_of_bounds(document);
    if !bounds.is_empty() {
        assert_helps(&bounds, text);
    }
    match object::read(document) {
        Ok(wanted) => {
            let route = Target::HttpRoute { namespace: "n".to_owned(), name: "r".to_owned() };
            assert_compiles_or_helps(&wanted.document, Some(&[route]), text);
        }
        Err(report) => assert_helps(&report, text),
    }
}
