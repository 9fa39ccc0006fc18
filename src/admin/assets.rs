//! Style sheets and scripts. They are part of the program; their addresses change with their content, so that browsers keep
//! them for as long as they are current.

use std::{fmt::Write as _, sync::LazyLock};

use axum::{
    extract::{Path, Query},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use sha2::{Digest, Sha256};

use super::reply;

/// A file that pages refer to.
struct Asset {
    name: &'static str,
    media_type: &'static str,
    text: &'static str,
}

const CSS: &str = "text/css; charset=utf-8";
const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// Every file, each with where it stands.
static ASSETS: LazyLock<Vec<(Asset, String)>> = LazyLock::new(|| {
    [
        Asset { name: "base.css", media_type: CSS, text: include_str!("assets/base.css") },
        Asset { name: "components.css", media_type: CSS, text: include_str!("assets/components.css") },
        Asset { name: "events.css", media_type: CSS, text: include_str!("assets/events.css") },
        Asset { name: "calls.css", media_type: CSS, text: include_str!("assets/calls.css") },
        Asset { name: "talk.css", media_type: CSS, text: include_str!("assets/talk.css") },
        Asset { name: "app.js", media_type: JAVASCRIPT, text: include_str!("assets/app.js") },
        Asset { name: "monitor.js", media_type: JAVASCRIPT, text: include_str!("assets/monitor.js") },
        Asset { name: "describe.js", media_type: JAVASCRIPT, text: include_str!("assets/describe.js") },
        Asset { name: "rows.js", media_type: JAVASCRIPT, text: include_str!("assets/rows.js") },
        Asset { name: "calls.js", media_type: JAVASCRIPT, text: include_str!("assets/calls.js") },
        Asset { name: "icon.svg", media_type: "image/svg+xml", text: include_str!("assets/icon.svg") },
    ]
    .into_iter()
    .map(|asset| {
        let version = version(asset.text);
        (asset, version)
    })
    .collect()
});

/// The address of a file, for templates: `{{ crate::admin::assets::url("base.css") }}`.
pub(super) fn url(name: &str) -> String {
    // A name without a file is a mistake of ours, which a test finds.
    let version = ASSETS.iter().find(|(asset, _)| asset.name == name).map_or("", |(_, version)| version);
    format!("/assets/{name}?v={version}")
}

pub(super) async fn serve(
    Path(name): Path<String>,
    Query(query): Query<Vec<(String, String)>>,
    headers: HeaderMap,
) -> Response {
    let Some((asset, version)) = ASSETS.iter().find(|(asset, _)| asset.name == name) else {
        return reply::error(&headers, StatusCode::NOT_FOUND, "there is no such file");
    };
    let is_current = query.iter().any(|(key, value)| key == "v" && value == version);
    let cache = if is_current { "public, max-age=31536000, immutable" } else { "no-cache" };
    let etag = format!("\"{version}\"");
    let known = headers.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let head = [(header::CACHE_CONTROL, cache.to_owned()), (header::ETAG, etag)];
    if known {
        return (StatusCode::NOT_MODIFIED, head).into_response();
    }
    (head, [(header::CONTENT_TYPE, asset.media_type)], asset.text).into_response()
}

fn version(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).fold(String::new(), |mut digits, byte| {
        // Writing to a string cannot fail.
        let _ = write!(digits, "{byte:02x}");
        digits
    })
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn templates_refer_to_files_that_exist_and_hold_no_scripts_and_styles() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/templates");
        for entry in fs::read_dir(folder).expect("the templates") {
            let path = entry.expect("a template").path();
            let text = fs::read_to_string(&path).expect("a template");
            for (at, _) in text.match_indices("assets::url(\"") {
                let name = text[at + 13..].split('"').next().unwrap_or_default();
                assert!(ASSETS.iter().any(|(asset, _)| asset.name == name), "{}: {name}", path.display());
            }
            // The content security policy forbids them; so does the template that hopes otherwise.
            for forbidden in [" style=", "<style", " onclick=", "<script>", "|safe", "javascript:"] {
                assert!(!text.contains(forbidden), "{}: {forbidden}", path.display());
            }
        }
    }

    #[test]
    fn an_address_changes_with_the_content() {
        assert_ne!(version("a"), version("b"));
        assert!(url("base.css").starts_with("/assets/base.css?v=") && url("base.css").len() > 29);
    }
}
