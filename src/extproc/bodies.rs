//! Which bodies come to Luthien: what Envoy sends by itself, what it is asked for, and what lets a request go on without.
//!
//! Envoy says in its first message in which modes it was configured. Either every body comes in full duplex, or none does until the
//! call asks for its own. A request leaves only with one of two proofs: [`Bodies`], which nobody gets without asking, or a [`Pass`].

use envoy_types::pb::envoy::{
    extensions::filters::http::ext_proc::v3::{
        ProcessingMode,
        processing_mode::{BodySendMode, HeaderSendMode},
    },
    service::ext_proc::v3::ProtocolConfiguration,
};

use super::replies::{self, Outbox};

/// What Envoy sends by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Base {
    /// Both bodies, in full duplex.
    #[default]
    Bodies,
    /// Headers only, until it is asked for bodies.
    Headers,
}

/// Modes in which bodies could pass before they are decided on.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "Envoy's ext_proc filter is configured with request_body_mode {request} and response_body_mode {response}{waits}; set both to \
     FULL_DUPLEX_STREAMED, or both to NONE with `allow_mode_override: true`, and leave \
     `send_body_without_waiting_for_header_response` out; `luthien doctor` says more"
)]
pub(super) struct Unusable {
    request: &'static str,
    response: &'static str,
    waits: &'static str,
}

/// A mode of an Envoy that is newer than what is known here.
const UNKNOWN: &str = "UNKNOWN";

impl Base {
    /// What the first message of a call says. An older Envoy says nothing of it, and cannot be asked for anything else.
    pub(super) fn of(config: Option<&ProtocolConfiguration>) -> Result<Self, Unusable> {
        let Some(config) = config else { return Ok(Self::Bodies) };
        let without_waiting = config.send_body_without_waiting_for_header_response;
        let modes = [config.request_body_mode, config.response_body_mode].map(BodySendMode::try_from);
        match modes {
            [Ok(BodySendMode::FullDuplexStreamed), Ok(BodySendMode::FullDuplexStreamed)] => Ok(Self::Bodies),
            // Envoy would not hear what it is asked for where it does not wait.
            [Ok(BodySendMode::None), Ok(BodySendMode::None)] if !without_waiting => Ok(Self::Headers),
            [request, response] => Err(Unusable {
                request: request.map_or(UNKNOWN, |mode| mode.as_str_name()),
                response: response.map_or(UNKNOWN, |mode| mode.as_str_name()),
                waits: if without_waiting { ", and does not wait for answers to headers" } else { "" },
            }),
        }
    }

    /// Has both bodies of a call come, before its request's headers are answered.
    pub(super) fn bodies(self, outbox: &mut Outbox) -> Bodies {
        if self == Self::Headers {
            outbox.push(replies::mode(full_duplex()));
        }
        Bodies { were_asked_for: self == Self::Headers }
    }

    /// The bodies of a call that a setting lets pass, if they come all the same.
    pub(super) fn unread(self, _: &Pass) -> Option<Bodies> {
        (self == Self::Bodies).then_some(Bodies { were_asked_for: false })
    }
}

/// Both bodies of a call come, and go on only as Luthien sends them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bodies {
    were_asked_for: bool,
}

impl Bodies {
    /// Headers that no longer fit: Envoy takes the length away itself only where its own configuration has bodies go through here.
    /// With the old one a shorter body hangs, and what a longer one has more is taken for the next message.
    pub(super) fn outdated(self) -> Option<&'static str> {
        self.were_asked_for.then_some("content-length")
    }
}

/// A setting lets a call pass unread.
#[derive(Debug)]
pub(super) struct Pass(());

impl Pass {
    /// Leave to pass, where a setting gives it.
    pub(super) fn by(setting: bool) -> Option<Self> {
        setting.then_some(Self(()))
    }
}

/// What lets a request's headers go on.
#[derive(Debug)]
pub(super) enum Leave {
    /// Its bodies were read, or can be.
    Read(Bodies),
    /// They need not be, come here or not.
    Unread(Pass, Option<Bodies>),
}

impl Leave {
    /// The bodies that come here.
    pub(super) fn bodies(&self) -> Option<Bodies> {
        match self {
            Self::Read(bodies) => Some(*bodies),
            Self::Unread(_, bodies) => *bodies,
        }
    }
}

fn full_duplex() -> ProcessingMode {
    let (body, send) = (BodySendMode::FullDuplexStreamed.into(), HeaderSendMode::Send.into());
    ProcessingMode {
        response_header_mode: send,
        request_body_mode: body,
        response_body_mode: body,
        // Envoy takes full duplex only with trailers.
        request_trailer_mode: send,
        response_trailer_mode: send,
        ..ProcessingMode::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_pairs_of_modes_can_be_used() {
        use BodySendMode::{Buffered, BufferedPartial, FullDuplexStreamed, Grpc, None, Streamed};
        let all = [None, Streamed, Buffered, BufferedPartial, FullDuplexStreamed, Grpc];
        for (request, response) in all.into_iter().flat_map(|request| all.map(|response| (request, response))) {
            for without_waiting in [false, true] {
                let config = ProtocolConfiguration {
                    request_body_mode: request.into(),
                    response_body_mode: response.into(),
                    send_body_without_waiting_for_header_response: without_waiting,
                };
                let expected = match (request, response, without_waiting) {
                    (FullDuplexStreamed, FullDuplexStreamed, _) => Some(Base::Bodies),
                    (None, None, false) => Some(Base::Headers),
                    _ => Option::None,
                };
                assert_eq!(Base::of(Some(&config)).ok(), expected, "{config:?}");
            }
        }
        assert_eq!(Base::of(Option::None), Ok(Base::Bodies));
        let unknown =
            ProtocolConfiguration { request_body_mode: 99, response_body_mode: 99, ..ProtocolConfiguration::default() };
        assert!(Base::of(Some(&unknown)).is_err());
        let streamed = ProtocolConfiguration { request_body_mode: Streamed.into(), ..ProtocolConfiguration::default() };
        let said = Base::of(Some(&streamed)).unwrap_err().to_string();
        assert!(said.contains("request_body_mode STREAMED and response_body_mode NONE; set both to FULL"), "{said}");
    }

    #[test]
    fn nobody_gets_bodies_without_asking_where_none_come() {
        let mut outbox = Outbox::default();
        let bodies = Base::Headers.bodies(&mut outbox);
        let asked = outbox.pop().and_then(|reply| reply.mode_override);
        let (full, send) = (BodySendMode::FullDuplexStreamed, HeaderSendMode::Send);
        let mode = asked.expect("it asks");
        assert_eq!((mode.request_body_mode(), mode.response_body_mode()), (full, full));
        assert_eq!((mode.request_trailer_mode(), mode.response_trailer_mode()), (send, send));
        assert_eq!(bodies.outdated(), Some("content-length"));

        assert_eq!(Base::Bodies.bodies(&mut outbox).outdated(), None);
        assert!(outbox.pop().is_none(), "it asks for what comes anyway");
    }
}
