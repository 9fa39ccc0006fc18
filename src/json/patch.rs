//! Replaces spans of a JSON text and keeps every other byte.

use super::{Member, Span, Value};

/// Replacements over one document.
#[derive(Debug, Default)]
pub struct Patch {
    edits: Vec<(Span, Vec<u8>)>,
}

impl Patch {
    /// Replaces the bytes of `span` by `with`.
    pub fn replace(&mut self, span: Span, with: impl Into<Vec<u8>>) {
        self.edits.push((span, with.into()));
    }

    /// Replaces a number, unless it is the same.
    pub fn number(&mut self, value: Value<'_>, with: u64) {
        if value.as_u64() != Some(with) {
            self.replace(value.span(), with.to_string());
        }
    }

    /// Removes those members of `object` for which `remove` says so, with their commas.
    pub fn remove_members(&mut self, object: Value<'_>, remove: impl Fn(&Member<'_>) -> bool) {
        let members: Vec<_> = object.members().map(|member| (member.span, remove(&member))).collect();
        self.remove_runs(&members);
    }

    /// Removes those items of `array` for which `remove`, given the position, says so, with their commas.
    pub fn remove_items(&mut self, array: Value<'_>, remove: impl Fn(usize) -> bool) {
        let items: Vec<_> = array.items().enumerate().map(|(at, item)| (item.span(), remove(at))).collect();
        self.remove_runs(&items);
    }

    /// Adds text before the closing bracket of `container`, with a comma where one is needed.
    ///
    /// `emptied` says that everything in it is being removed.
    pub fn append(&mut self, container: Value<'_>, emptied: bool, text: &[u8]) {
        let end = container.span().end - 1;
        let empty = emptied || (container.members().next().is_none() && container.items().next().is_none());
        let mut with = if empty { Vec::new() } else { vec![b','] };
        with.extend_from_slice(text);
        self.replace(Span { start: end, end }, with);
    }

    /// Applies everything to `document`. An edit inside a span that another edit replaces is gone with it, and what is removed
    /// is not replaced.
    pub fn apply(mut self, document: &[u8]) -> Vec<u8> {
        self.edits.sort_by_key(|(span, with)| (span.start, std::cmp::Reverse(span.end), !with.is_empty()));
        let grown: usize = self.edits.iter().map(|(_, with)| with.len()).sum();
        let mut out = Vec::with_capacity(document.len() + grown);
        let mut at = 0;
        for (span, with) in &self.edits {
            if span.start < at {
                continue;
            }
            out.extend_from_slice(document.get(at..span.start).unwrap_or_default());
            out.extend_from_slice(with);
            at = span.end;
        }
        out.extend_from_slice(document.get(at..).unwrap_or_default());
        out
    }

    /// Whether nothing is to be replaced.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// Removes runs of neighbours. A run takes the comma before it with it; one at the front takes the comma behind it.
    fn remove_runs(&mut self, parts: &[(Span, bool)]) {
        let mut parts = parts.iter().peekable();
        let mut kept_end = None;
        while let Some(&(first, removed)) = parts.next() {
            if !removed {
                kept_end = Some(first.end);
                continue;
            }
            let mut end = first.end;
            while let Some((span, _)) = parts.next_if(|(_, removed)| *removed) {
                end = span.end;
            }
            let run = match (kept_end, parts.peek()) {
                (Some(start), _) => Span { start, end },
                (None, Some((next, _))) => Span { start: first.start, end: next.start },
                (None, None) => Span { start: first.start, end },
            };
            self.replace(run, "");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn without(text: &str, gone: &[&str]) -> String {
        let mut patch = Patch::default();
        patch.remove_members(Value::parse(text.as_bytes()).unwrap(), |member| gone.contains(&&*member.key));
        String::from_utf8(patch.apply(text.as_bytes())).unwrap()
    }

    #[test]
    fn removes_members_with_their_commas() {
        let text = r#"{ "a":1, "b" : 2,"c":3 }"#;
        assert_eq!(without(text, &["a"]), r#"{ "b" : 2,"c":3 }"#);
        assert_eq!(without(text, &["b"]), r#"{ "a":1,"c":3 }"#);
        assert_eq!(without(text, &["c"]), r#"{ "a":1, "b" : 2 }"#);
        assert_eq!(without(text, &["a", "c"]), r#"{ "b" : 2 }"#);
        assert_eq!(without(text, &["a", "b", "c"]), r"{  }");
        assert_eq!(without(text, &[]), text);
    }

    #[test]
    fn every_subset_of_items_can_be_removed_and_appended_to() {
        let text = b"[0,1, 2 ,3]";
        let array = Value::parse(text).unwrap();
        for gone in 0_u8..16 {
            let mut patch = Patch::default();
            patch.remove_items(array, |at| gone & (1 << at) != 0);
            patch.append(array, gone == 15, b"9");
            let out = patch.apply(text);
            let left: Vec<u64> = serde_json::from_slice(&out).unwrap();
            let mut expected: Vec<u64> = (0..4).filter(|at| gone & (1 << at) == 0).collect();
            expected.push(9);
            assert_eq!(left, expected, "{}", String::from_utf8_lossy(&out));
        }
    }

    #[test]
    fn an_edit_inside_a_removed_member_goes_with_it() {
        let text = br#"{"a":{"x":1},"b":2}"#;
        let value = Value::parse(text).unwrap();
        let mut patch = Patch::default();
        patch.number(value.get("a").unwrap().get("x").unwrap(), 7);
        patch.number(value.get("b").unwrap(), 3);
        patch.remove_members(value, |member| member.key == "a");
        assert_eq!(patch.apply(text), br#"{"b":3}"#);
    }

    #[test]
    fn what_is_removed_is_not_replaced() {
        let text = b"[1]";
        let value = Value::parse(text).unwrap();
        let mut patch = Patch::default();
        patch.replace(value.items().next().unwrap().span(), "2");
        patch.remove_items(value, |_| true);
        patch.append(value, true, b"3");
        assert_eq!(patch.apply(text), b"[3]");
    }
}
