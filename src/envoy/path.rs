//! What Envoy makes of a path before anything else reads it, by the options of our connection manager (`normalize_path`,
//! `merge_slashes`, `path_with_escaped_slashes_action`). As observed with 1.40; knows no dialect.

/// `path` as Envoy passes it on. `None`: Envoy answers 400. The query stays as it is.
pub fn read_path(path: &str) -> Option<String> {
    let (path, query) = path.split_once('?').map_or((path, None), |(path, query)| (path, Some(query)));
    let lower = path.to_ascii_lowercase();
    if !path.starts_with('/')
        || path.contains('#')
        || ["%2f", "%5c", "%00"].iter().any(|refused| lower.contains(refused))
    {
        return None;
    }
    let plain = unreserved(path);
    let mut segments: Vec<&str> = Vec::new();
    // With a slash at its end, a path stays one with a slash at its end.
    let mut open = true;
    for segment in plain.split(['/', '\\']) {
        open = true;
        match segment.split(';').next() {
            Some("..") => drop(segments.pop()),
            Some(".") => {}
            _ if segment.is_empty() => {}
            _ => {
                segments.push(segment);
                open = false;
            }
        }
    }
    let end = if open && !segments.is_empty() { "/" } else { "" };
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    Some(format!("/{}{end}{query}", segments.join("/")))
}

/// `path` without escapes of characters that need none (RFC 3986, 2.3).
fn unreserved(path: &str) -> String {
    let mut rest = path;
    let mut plain = String::with_capacity(path.len());
    while let Some((before, after)) = rest.split_once('%') {
        plain.push_str(before);
        let code = after.get(..2).and_then(|code| u8::from_str_radix(code, 16).ok()).map(char::from);
        if let Some(char) = code.filter(|char| char.is_ascii_alphanumeric() || matches!(char, '-' | '.' | '_' | '~')) {
            plain.push(char);
            rest = after.get(2..).unwrap_or_default();
        } else {
            plain.push('%');
            rest = after;
        }
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_in_one_way() {
        for (sent, read) in [
            ("/v1/messages", "/v1/messages"),
            ("/v1/messages?x=/../a//b", "/v1/messages?x=/../a//b"),
            ("//v1///messages", "/v1/messages"),
            ("/v1/messages//", "/v1/messages/"),
            ("/v1/./x/..//messages", "/v1/messages"),
            ("/v1/x/%2E%2e/messages", "/v1/messages"),
            ("/v1/models/..;/messages", "/v1/messages"),
            ("/v1\\messages", "/v1/messages"),
            ("/%76%31/%6Dessages%3b", "/v1/messages%3b"),
            ("/v1/%256dessages%zz%", "/v1/%256dessages%zz%"),
            ("/../..", "/"),
            ("/v1/a/..", "/v1/"),
            ("/", "/"),
        ] {
            assert_eq!(read_path(sent).as_deref(), Some(read), "{sent}");
        }
        for refused in ["/v1%2fmessages", "/v1%5Cmessages", "/v1/messages%00", "/v1/messages#x", "v1/messages", "*", ""]
        {
            assert_eq!(read_path(refused), None, "{refused}");
        }
    }
}
