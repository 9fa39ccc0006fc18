//! How long a call took for what.

use super::timeline::Moment;
use crate::admin::pages::text::span;

/// How long a call took for what, as lengths on a bar.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Bar {
    pub(super) parts: Vec<Part>,
}

/// A part of the bar.
#[derive(Debug, PartialEq)]
pub(super) struct Part {
    pub(super) name: &'static str,
    pub(super) about: &'static str,
    pub(super) span: String,
    /// Where it begins and how long it is, in thousandths.
    pub(super) x: u32,
    pub(super) width: u32,
}

impl Bar {
    /// Of what is known of it.
    pub(super) fn of(moments: &[Moment], first_byte: Option<f64>, total: Option<f64>) -> Self {
        let sent = moments.iter().find(|moment| moment.kind == "request.sent").and_then(|moment| moment.at);
        let (Some(total), Some(sent)) = (total.filter(|total| *total > 0.0), sent) else { return Self::default() };
        let sent = sent.min(total);
        let began = first_byte.map_or(total, |first| (sent + first).min(total));
        let spans = [
            ("request", "Until the request was with the provider", 0.0, sent),
            ("waiting", "Until the provider's first byte", sent, began),
            ("answer", "Until the answer was with the client", began, total),
        ];
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "from 0 to 1000")]
        let thousandths = |at: f64| (at / total * 1000.0).round().clamp(0.0, 1000.0) as u32;
        let part = |(name, about, from, to): (_, _, f64, f64)| Part {
            name,
            about,
            span: span(to - from),
            x: thousandths(from),
            width: thousandths(to) - thousandths(from),
        };
        Self { parts: spans.into_iter().filter(|(_, _, from, to)| to > from).map(part).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_has_the_lengths_that_are_known() {
        let moment = |kind: &str, at| Moment { kind: kind.to_owned(), at: Some(at), ..Moment::default() };
        let moments = [moment("call.opened", 0.0), moment("request.sent", 10.0)];
        let bar = Bar::of(&moments, Some(490.0), Some(2000.0));
        let parts: Vec<_> = bar.parts.iter().map(|part| (part.name, part.x, part.width)).collect();
        assert_eq!(parts, [("request", 0, 5), ("waiting", 5, 245), ("answer", 250, 750)]);
        assert_eq!(Bar::of(&moments, None, None), Bar::default());
        assert_eq!(Bar::of(&moments, Some(1e12), Some(1.0)).parts.len(), 1);
    }
}
