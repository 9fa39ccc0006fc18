//! Each file in `cases` is a request and what becomes of it in the other dialects. `UPDATE=1` writes them anew.

use std::{fs, path::PathBuf};

use luthien::model::{Dialect, conversation::Lossy};
use serde_json::{Map, Value, json};

use super::support::{convert, dialect, model, text};

#[test]
fn requests_become_what_they_should() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/it/convert/cases");
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mut case: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let becomes = becomes(&case);
        seen += 1;
        if case["becomes"] == becomes {
            continue;
        }
        if std::env::var_os("UPDATE").is_some() {
            case["becomes"] = becomes;
            fs::write(&path, serde_json::to_string_pretty(&case).unwrap() + "\n").unwrap();
        } else {
            wrong.push(format!("{}: {becomes:#}", path.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(seen > 25, "only {seen} cases");
}

fn becomes(case: &Value) -> Value {
    let from = dialect(case["from"].as_str().unwrap());
    let lossy = match case.get("lossy").map(|lossy| lossy.as_str().unwrap()) {
        None => None,
        Some("drop") => Some(Lossy::Drop),
        Some("refuse") => Some(Lossy::Refuse),
        Some(other) => panic!("no mode `{other}`"),
    };
    let mut out = Map::new();
    for to in Dialect::ALL.into_iter().filter(|to| *to != from) {
        let model = case["models"][to.name()].as_str().unwrap_or(model(to));
        let result = match convert(from, to, &case["request"].to_string(), model, lossy) {
            Ok(converted) => {
                let body: Value = serde_json::from_str(&text(&converted.body)).unwrap();
                json!({ "dropped": converted.dropped, "body": body })
            }
            Err(error) => json!({ "refused": error.to_string() }),
        };
        out.insert(to.name().to_owned(), result);
    }
    Value::Object(out)
}
