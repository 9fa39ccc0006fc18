//! Settings documents.

use std::{io::Write as _, path::Path};

use luthien::config::{environment::Environment, load};

use super::{input::Input, rules::assert_helps};

/// A byte that chooses the environment, and a document.
pub fn run(data: &[u8]) {
    let mut input = Input::new(data);
    let variables: &[(&str, &str)] = match input.byte() % 4 {
        0 => &[],
        1 => &[("ANTHROPIC_API_KEY", "fake"), ("OPENAI_API_KEY", "fake")],
        2 => &[("LUTHIEN_TIMEOUTS__STALL", "x"), ("LUTHIEN_UPSTREAMS__0__URL", "http://[")],
        _ => &[("LUTHIEN_ADMIN__LISTEN", "127.0.0.1:0"), ("LUTHIEN_NOTHING", "1")],
    };
    let environment: Environment = variables.iter().copied().collect();
    // It is read as a file is, and the places that it names are looked for beside it.
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(input.rest()).expect("a disk with room");
    let path: &Path = file.path();
    match load::draft(path, &[], &environment) {
        Err(report) => assert_helps(&report, None),
        Ok(draft) => {
            let text = draft.document.text.to_string();
            let _ = draft.rules();
            match draft.finish(&environment) {
                Ok(loaded) => assert!(!format!("{:?}", loaded.settings).contains("fake"), "a key is shown"),
                Err(report) => assert_helps(&report, Some(&text)),
            }
        }
    }
}
