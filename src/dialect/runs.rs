//! What the encoders share: the pieces of a changed frame, in runs.

use crate::model::{Body, Event, Origin, Piece};

/// Neighbouring events of one frame, those that were taken out among them.
pub(super) type Run<'a> = [(Origin, &'a Body)];

/// Walks the pieces of a frame: events of the frame in runs (`Ok`), and between them what policies put there (`Err`).
pub(super) fn encode_runs(pieces: &[Piece], mut write: impl FnMut(Result<&Run<'_>, &Event>)) {
    let mut run = Vec::new();
    for piece in pieces {
        match (piece.origin, &piece.body) {
            (Some(origin), body) => run.push((origin, body)),
            (None, Body::Gone(_)) => {}
            (None, Body::Kept(event) | Body::Edited(event)) => {
                if !run.is_empty() {
                    write(Ok(&run));
                    run.clear();
                }
                write(Err(event));
            }
        }
    }
    if !run.is_empty() {
        write(Ok(&run));
    }
}

/// Whether anything of a run is still there.
pub(super) fn is_left(run: &Run<'_>) -> bool {
    run.iter().any(|(_, body)| event_of(body).is_some())
}

/// The event of a body that is still there, and whether it was edited.
pub(super) fn event_of(body: &Body) -> Option<(&Event, bool)> {
    match body {
        Body::Kept(event) => Some((event, false)),
        Body::Edited(event) => Some((event, true)),
        Body::Gone(_) => None,
    }
}
