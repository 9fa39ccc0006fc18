//! An answer as the client's dialect would say it, before policies see it.
//!
//! A provider may know a tool by a shorter name, or as a function whose one argument is the free text that the client's tool
//! takes. Policies and the client see the client's form. What a provider explains beside its answer is said in it.

use std::collections::HashMap;

use crate::{
    dialect::ConvertedTools,
    json::{Decoder, Text, Value},
    model::{BlockHead, BlockId, BlockKind, Event, Extra, Slot, Stop},
    pipeline::stage::BlockIds,
};

/// Gives an answer the client's names and form.
pub(in crate::pipeline) struct Incoming {
    tools: ConvertedTools,
    converts: bool,
    /// A refusal has been explained.
    explained: bool,
    /// The arguments of calls whose free text was wrapped, as far as they have come.
    wrapped: HashMap<BlockId, (String, Decoder)>,
}

impl Incoming {
    pub(in crate::pipeline) fn new(tools: ConvertedTools, converts: bool) -> Self {
        Self { tools, converts, explained: false, wrapped: HashMap::new() }
    }

    /// Bytes that wait for the end of their call.
    pub(in crate::pipeline) fn held(&self) -> usize {
        self.wrapped.values().map(|(whole, _)| whole.len()).sum()
    }

    /// Changes the events of one frame.
    pub(in crate::pipeline) fn take(&mut self, events: &mut Vec<(Event, Slot)>, made: &mut BlockIds) {
        if !self.converts {
            return;
        }
        *events = std::mem::take(events).into_iter().flat_map(|(event, slot)| self.event(event, slot, made)).collect();
    }

    /// The end, behind what the provider explains.
    fn stop(&mut self, stop: Stop, slot: Slot, made: &mut BlockIds) -> Vec<(Event, Slot)> {
        let mut out = Vec::new();
        if let Some(text) = stop.explanation.clone().filter(|_| !std::mem::replace(&mut self.explained, true)) {
            let (id, head) = (made.next(), BlockHead { kind: BlockKind::Refusal, choice: stop.choice, index: None });
            out.extend(
                [Event::Open(id, head.into()), Event::Delta(id, text), Event::Close(id)].map(|event| (event, slot)),
            );
        }
        out.push((Event::Stop(stop.into()), slot));
        out
    }

    fn event(&mut self, event: Event, slot: Slot, made: &mut BlockIds) -> Vec<(Event, Slot)> {
        match event {
            Event::Open(id, mut head) => {
                let space = match &mut head.kind {
                    BlockKind::ToolCall { name, .. } => self.name(id, name),
                    BlockKind::Text
                    | BlockKind::Thinking
                    | BlockKind::Refusal
                    | BlockKind::ServerTool { .. }
                    | BlockKind::ServerResult { .. }
                    | BlockKind::Other(_) => None,
                };
                [Some(Event::Open(id, head)), space].into_iter().flatten().map(|event| (event, slot)).collect()
            }
            Event::Name(id, mut name) => {
                let space = self.name(id, &mut name);
                [Some(Event::Name(id, name)), space].into_iter().flatten().map(|event| (event, slot)).collect()
            }
            Event::Delta(id, text) => match self.wrapped.get_mut(&id) {
                Some((whole, decoder)) => {
                    decoder.push(&text, whole);
                    vec![(Event::Opaque, slot)]
                }
                None => vec![(Event::Delta(id, text), slot)],
            },
            Event::Close(id) => match self.wrapped.remove(&id) {
                Some((whole, _)) => vec![(Event::Delta(id, unwrapped(&whole)), slot), (Event::Close(id), slot)],
                None => vec![(Event::Close(id), slot)],
            },
            Event::Stop(stop) => self.stop(*stop, slot, made),
            event @ (Event::Start(_)
            | Event::Extra(..)
            | Event::Usage(_)
            | Event::Error(_)
            | Event::End
            | Event::Ping
            | Event::Opaque
            | Event::Eof) => vec![(event, slot)],
        }
    }

    /// Gives a call the client's name of its tool. Returns what says the tool's namespace, if it has one.
    fn name(&mut self, id: BlockId, name: &mut String) -> Option<Event> {
        if self.tools.is_wrapped(name) {
            self.wrapped.entry(id).or_default();
        }
        let (namespace, client) = self.tools.client_name(name);
        let (namespace, client) = (namespace.map(str::to_owned), client.to_owned());
        *name = client;
        namespace.map(|namespace| Event::Extra(id, Extra::Namespace(namespace)))
    }
}

/// The free text in the arguments of a function. What is not in that form is given as it is.
fn unwrapped(arguments: &str) -> Text {
    let input = Value::parse(arguments.as_bytes()).ok().and_then(|value| value.str_at("input"));
    Text::new(&input.unwrap_or(arguments.into()))
}
